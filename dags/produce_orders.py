"""Demo orders: replays a file of orders to `orders`, live, as long as it is not paused.

The file is the one that the setting ORDERS_FILE names, `include/data/orders.json` if it names none; each run begins at
another place of it, which depends on the seed, and adds `ordered_at`, the time of the replay. A bad line of the file
is named in the task's log and skipped.

Each run works until shortly before the next one begins. Rate and shares of bad, late and duplicate events are params:
trigger a run with others. A backfill sends the events of its runs' intervals instead, of the same seed always the
same. The task has a pool of its own, `producers`, so that it never takes the slots that pipelines need.
"""

from producers.airflow import producer_dag
from producers.registry import PRODUCERS

dag = producer_dag(PRODUCERS["orders"], __doc__)
