"""Demo numbers: sends numbers from 0 to 12 to `raw-topic`, live, as long as it is not paused.

A number has no time of its own, so none is late. The setting NUMBER_PAIRS_RAW_TOPIC names another topic.

Each run works until shortly before the next one begins. Rate and shares of bad and duplicate events are params:
trigger a run with others. A backfill sends the events of its runs' intervals instead, of the same seed always the
same. The task has a pool of its own, `producers`, so that it never takes the slots that pipelines need.
"""

from producers.airflow import producer_dag
from producers.registry import PRODUCERS

dag = producer_dag(PRODUCERS["number_pairs"], __doc__)
