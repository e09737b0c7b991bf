"""Fill gaps: looks each night for messages that lie between those that were read, and has them read.

An interval that was read by hand, or a backfill that was cut off, can leave a gap below a pipeline's beginning, which
no scheduled run reads. `find` asks the ledger and Kafka, `fill` triggers a run of each pipeline that has one and waits
for it. What Kafka has deleted is named in the log of `find`. A DAG that is paused is not run: `fill` fails and says so.
"""

from airflow.sdk import CronTriggerTimetable

from microbatch.airflow_upkeep import as_gaps_dag

dag = as_gaps_dag(CronTriggerTimetable("20 2 * * *", timezone="UTC"))
