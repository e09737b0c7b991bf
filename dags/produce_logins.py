"""Demo logins: sends logins of a few hundred users to `user-login`, live, as long as it is not paused.

Times are sometimes texts, sometimes numbers, as apps send them.

Each run works until shortly before the next one begins. Rate and shares of bad, late and duplicate events are params:
trigger a run with others. A backfill sends the events of its runs' intervals instead, of the same seed always the
same. The task has a pool of its own, `producers`, so that it never takes the slots that pipelines need.
"""

from producers.airflow import producer_dag
from producers.registry import PRODUCERS

dag = producer_dag(PRODUCERS["logins"], __doc__)
