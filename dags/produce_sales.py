"""Demo sales: sends events of four sellers to `sales-usd`, live, as long as it is not paused.

Each run works until shortly before the next one begins. Rate and share of bad events are params: trigger a run with
others, or change their defaults in `include/producers/airflow.py`. Its tasks have a pool of their own, `producers`,
so that they never take the slots that pipelines need.
"""

from producers.airflow import producer_dag
from producers.registry import PRODUCERS

dag = producer_dag(PRODUCERS["sales"], __doc__)
