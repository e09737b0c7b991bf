"""Maintenance: folds and prunes each night what is older than pipelines keep it, and deletes old runs of Airflow.

`maintain` has an instance for each pipeline of the ledger. It folds batches that are older than `keep.contributions`
into archives, deletes revisions and rows that are older than `keep.history` and `keep.rows`, and vacuums. It works
beside the pipeline's runs, and can be cleared at any time.

`clean_airflow` deletes Airflow's own records of runs that are older than 90 days, and the logs of their tasks. It keeps
them for as long as a pipeline's batches can be redone, because a run that is deleted cannot be cleared. Tasks have no
access to Airflow's database: the setting MICROBATCH_AIRFLOW_COMMAND names a command that has; the embedded stack sets
it. Where there is none, run `airflow db clean` beside the scheduler, with the same age; then only the logs of pipelines
and of the two DAGs of upkeep are deleted.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

from microbatch import setting
from microbatch.airflow_upkeep import as_maintenance_dag

dag = as_maintenance_dag(
    CronTriggerTimetable("40 2 * * *", timezone="UTC"),
    keep_runs=timedelta(days=90),
    airflow_command=setting("MICROBATCH_AIRFLOW_COMMAND", ""),
)
