"""DAGs for the nights: one fills gaps, one folds and prunes what pipelines, and Airflow, need no more."""

import inspect
import logging
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, conf, task
from airflow.sdk.bases.timetable import BaseTimetable

from microbatch.airflow import TAG, task_manners
from microbatch.airflow_connections import connections
from microbatch.clock import Clock

log: Final = logging.getLogger("microbatch")

UPKEEP_TAG: Final = "upkeep"
GAPS: Final = "fill_gaps"
MAINTENANCE: Final = "maintenance"
# Pipelines are first.
PRIORITY: Final = 0
_NOTE: Final = "Fills gaps that intervals have left; started by the DAG fill_gaps."


def as_gaps_dag(schedule: BaseTimetable) -> DAG:
    """`fill_gaps`: looks for gaps of all registered pipelines, runs the DAGs that can fill theirs, and waits for them.

    Its page in the UI is the docstring of the file that calls this.
    """
    with _upkeep_dag(GAPS, schedule, "Looks for gaps of all pipelines and runs their DAGs to fill them.") as dag:
        # A pipeline's DAG has its name. One that is paused would let its run wait, and this one with it.
        TriggerDagRunOperator.partial(
            task_id="fill",
            note=_NOTE,
            wait_for_completion=True,
            poke_interval=5,
            fail_when_dag_is_paused=True,
            openlineage_inject_parent_info=False,
            map_index_template="{{ task.trigger_dag_id }}",
        ).expand_kwargs(_find_gaps())
    return dag


def as_maintenance_dag(schedule: BaseTimetable, *, keep_runs: timedelta, airflow_command: str) -> DAG:
    """`maintenance`: maintains each registered pipeline, and deletes old runs and logs of Airflow.

    Its page in the UI is the docstring of the file that calls this.

    Args:
        schedule: of its runs.
        keep_runs: how long runs and their logs are kept; longer, if a pipeline can be redone for longer.
        airflow_command: runs Airflow's command line with access to Airflow's database, which a task has not; empty:
            there is none, and old runs stay.
    """
    with _upkeep_dag(MAINTENANCE, schedule, "Folds, prunes and vacuums; deletes old runs and logs of Airflow.") as dag:
        _maintain.expand(pipeline=_registered())
        _clean(keep_runs, airflow_command)
    return dag


def _upkeep_dag(dag_id: str, schedule: BaseTimetable, description: str) -> DAG:
    docstring = sys._getframe(2).f_globals.get("__doc__")
    return DAG(
        dag_id,
        description=description,
        doc_md=inspect.cleandoc(docstring) if docstring else None,
        tags=[TAG, UPKEEP_TAG],
        schedule=schedule,
        # No start_date: with one in the past, the first run would come at once, while everything else starts.
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=55),
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1), "priority_weight": PRIORITY},
    )


# -- gaps --------------------------------------------------------------------------------------------------


@task(task_id="find")
def _find_gaps() -> list[dict[str, Any]]:
    """What the trigger operator is to be given, a run each."""
    from microbatch.gaps import gaps  # noqa: PLC0415

    with task_manners():
        found = gaps(connections(), Clock().now())
    for run in found:
        log.info("%s has gaps: to be run with %s", run.pipeline, run.conf)
    return [{"trigger_dag_id": run.pipeline, "conf": run.conf} for run in found]


# -- maintenance -------------------------------------------------------------------------------------------


@task(task_id="pipelines")
def _registered() -> list[str]:
    from microbatch.maintaining import registered  # noqa: PLC0415

    with task_manners():
        return registered(connections())


@task(task_id="maintain", map_index_template="{{ task.op_kwargs['pipeline'] }}")
def _maintain(pipeline: str) -> None:
    from microbatch.maintaining import maintain  # noqa: PLC0415

    with task_manners():
        log.info(maintain(pipeline, connections(), Clock().now()).describe())


@task(task_id="clean_airflow")
def _clean(keep_runs: timedelta, airflow_command: str) -> None:
    from microbatch.maintaining import longest_redo, registered  # noqa: PLC0415

    with task_manners():
        ours = None
        before = Clock().now() - max(keep_runs, longest_redo(connections()))
        if airflow_command:
            clean = ["db", "clean", "--clean-before-timestamp", before.isoformat(), "--skip-archive", "--yes"]
            run_command([*shlex.split(airflow_command), *clean])
        else:
            log.info("no command reaches Airflow's database: runs from before %s stay in it", before)
            # Other DAGs are somebody else's, and so are their logs.
            ours = {*registered(connections()), GAPS, MAINTENANCE}
        deleted = delete_logs(Path(conf.get_mandatory_value("logging", "base_log_folder")), before, ours)
    log.info("%d logs of tasks from before %s deleted", deleted, before)


def run_command(command: Sequence[str]) -> None:
    """Run a command to its end; what it prints goes into the task's log.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in done.stdout.splitlines():
        log.info("%s", line)
    done.check_returncode()


def delete_logs(folder: Path, before: datetime, dag_ids: Collection[str] | None) -> int:
    """Delete log files of tasks that were last written before a time, and folders that are empty then.

    Args:
        folder: Airflow's folder of logs.
        before: the time, aware.
        dag_ids: the DAGs whose logs these are; None: all.

    Returns:
        How many files were deleted.
    """
    deleted = 0
    # The deepest first, so that folders are empty when their turn comes.
    for path in sorted(folder.glob("dag_id=*/**/*"), reverse=True):
        dag_id = path.relative_to(folder).parts[0].removeprefix("dag_id=")
        if dag_ids is not None and dag_id not in dag_ids:
            continue
        if path.is_dir():
            if not any(path.iterdir()) and path.stat().st_mtime < before.timestamp():
                path.rmdir()
        elif path.stat().st_mtime < before.timestamp():
            path.unlink()
            deleted += 1
    return deleted
