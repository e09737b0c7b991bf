"""Daily report: what each seller sold on a day, as a table (Parquet) and as a picture (PNG).

It runs once for each day that has become final, and again for a day that a correction has changed: it waits for the
asset `day of aggregated_sales`, whose partition key is the day. *Trigger* it by hand with a day to see how that day
stands so far. The files are in the folder that the setting REPORTS_FOLDER names.
"""

import logging
from datetime import date, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, PartitionedAssetTimetable, get_current_context, task

from microbatch import setting
from microbatch.airflow import TAG, task_manners
from microbatch.airflow_assets import day_asset
from microbatch.airflow_connections import connections
from microbatch.airflow_upkeep import PRIORITY, UPKEEP_TAG
from microbatch.errors import RunParamsError

log = logging.getLogger("reports")
FOLDER = Path(setting("REPORTS_FOLDER", "reports"))

with DAG(
    "daily_report",
    description="What each seller sold on a day, as Parquet and PNG.",
    doc_md=__doc__,
    tags=[TAG, UPKEEP_TAG],
    schedule=PartitionedAssetTimetable(assets=day_asset("aggregated_sales")),
    catchup=False,
    max_active_runs=1,
    params={"day": Param(None, type=["string", "null"], format="date", title="Day", description="A day of UTC.")},
    dagrun_timeout=timedelta(minutes=10),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10), "priority_weight": PRIORITY},
) as dag:

    @task(task_id="report", show_return_value_in_logs=False)
    def write_report() -> str:
        """Write the report of the run's day."""
        from reports.daily_sales import make_report  # noqa: PLC0415

        context = get_current_context()
        day = context["params"]["day"] or context["dag_run"].partition_key
        with task_manners():
            if day is None:
                raise RunParamsError(param="day", value=day, remedy="give a day such as 2026-11-21")
            report = make_report(date.fromisoformat(day), connections().postgres, FOLDER)
        log.info("%s", report.describe())
        return str(report.picture)

    write_report()
