"""The adapter to Airflow: a pipeline becomes a DAG of two tasks. The engine itself knows nothing of Airflow.

What a task needs of the engine is imported when it runs, so that parsing a DAG file stays cheap.
"""

import logging
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final, NoReturn

import msgspec
from airflow.sdk import DAG, CronDataIntervalTimetable, XComArg, get_current_context, task
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.exceptions import AirflowFailException

from microbatch.airflow_assets import announce, published_assets, topic_asset
from microbatch.airflow_connections import connections
from microbatch.airflow_docs import documentation
from microbatch.airflow_params import run_of, run_params
from microbatch.clock import Clock
from microbatch.errors import ShardsFailedError, TerminalError
from microbatch.metrics import Sample, of_consume, of_publish
from microbatch.pipeline import Pipeline
from microbatch.runs import ConsumeSummary, Run

log: Final = logging.getLogger("microbatch")

TAG: Final = "microbatch"
# Fixed, or each parse would change the DAG; early, because Airflow runs nothing before it, backfills neither.
START_DATE: Final = datetime(2020, 1, 1, tzinfo=UTC)

# A returned dict is one XCom, not one (and one request to the API server) for each of its keys; and the log need
# not repeat it, for our own last line says it.
_QUIET: Final[dict[str, Any]] = {"multiple_outputs": False, "show_return_value_in_logs": False}

# What Airflow shows instead of a shard's number: its partitions, once the task knows them.
_SHARD_NAME: Final = "{{ partitions | default('shard ' ~ task.op_kwargs['shard']) }}"
_NAMED_PARTITIONS: Final = 8

every_minute: Final = CronDataIntervalTimetable("* * * * *", timezone="UTC")
"""A run for each minute, with that minute as its data interval; a plain cron string would give an empty one."""


def as_dag(pipeline: Pipeline, schedule: BaseTimetable) -> DAG:
    """The DAG that runs a pipeline: `consume`, mapped over its shards, then `publish`.

    Its page in the UI begins with the docstring of the file that calls this.
    """
    docstring = sys._getframe(1).f_globals.get("__doc__")
    # Nothing else ends a task that is stopped (SIGSTOP): its supervisor's heartbeats go on.
    # docs/decisions/0002-dagrun-timeout.md has what it does to long runs.
    timeout = pipeline.run_budget + timedelta(minutes=5)
    with DAG(
        pipeline.name,
        description=pipeline.description or None,
        doc_md=documentation(pipeline, docstring, timeout),
        tags=[TAG],
        params=run_params(),
        schedule=schedule,
        start_date=START_DATE,
        # Any run catches up with the topic, so the intervals of a pause need no runs of their own.
        catchup=False,
        # A second run could only wait for the locks of the first.
        max_active_runs=1,
        dagrun_timeout=timeout,
        default_args={
            # The next run goes on in any case; a few quick tries are for a lost worker or a restarted broker.
            "retries": 3,
            "retry_delay": timedelta(seconds=2),
        },
    ) as dag:
        _consume(pipeline) >> _publish(pipeline)
    return dag


def _consume(pipeline: Pipeline) -> XComArg:
    @task(task_id="consume", inlets=[topic_asset(pipeline.source.name)], map_index_template=_SHARD_NAME, **_QUIET)
    def consume_shard(shard: int) -> dict[str, Any]:
        from microbatch.airflow_traces import trace_consume  # noqa: PLC0415
        from microbatch.consume import consume  # noqa: PLC0415

        with task_manners():
            there = connections(with_registry=pipeline.source.values is not None)
            summary = consume(pipeline, shard, current_run(), there)
        name_after_partitions(summary)
        log.info(summary.describe())
        emit(of_consume(summary), pipeline)
        trace_consume(pipeline.name, summary)
        return {
            "batches": len(summary.batches),
            "messages": summary.messages,
            "rejected": summary.rejected,
            "behind": summary.behind,
        }

    return consume_shard.expand(shard=list(range(pipeline.shards)))


def _publish(pipeline: Pipeline) -> XComArg:
    # all_done: a shard that failed does not keep the others' results back.
    @task(task_id="publish", trigger_rule="all_done", outlets=published_assets(pipeline), **_QUIET)
    def publish_results() -> dict[str, Any]:
        from microbatch.airflow_traces import trace_publish  # noqa: PLC0415
        from microbatch.publish import publish  # noqa: PLC0415

        with task_manners():
            summary = publish(pipeline, current_run(), connections())
            log.info(summary.describe())
            emit(of_publish(summary, Clock().now()), pipeline)
            trace_publish(pipeline.name, summary)
            if failed := failed_shards():
                raise ShardsFailedError(failed=", ".join(failed))
            announce(pipeline, summary, connections())
        plain: dict[str, Any] = msgspec.to_builtins(summary)
        return plain

    return publish_results()


# -- what Airflow shows ------------------------------------------------------------------------------------


def name_after_partitions(summary: ConsumeSummary) -> None:
    """Give this mapped task instance the name that `_SHARD_NAME` shows."""
    context: Any = get_current_context()
    context["partitions"] = partitions_name(summary.partitions)


def partitions_name(partitions: Sequence[int]) -> str:
    """Such as `partitions 0, 2`, short enough for Airflow's column and for a screen."""
    if not partitions:
        return "no partition"
    if len(partitions) == 1:
        return f"partition {partitions[0]}"
    if len(partitions) <= _NAMED_PARTITIONS:
        return f"partitions {', '.join(map(str, partitions))}"
    return f"{len(partitions)} partitions: {', '.join(map(str, partitions[:3]))} … {partitions[-1]}"


def emit(samples: Iterable[Sample], pipeline: Pipeline) -> None:
    """Send samples where Airflow's own metrics go; nowhere, if it has none configured."""
    from airflow.sdk.observability import stats  # noqa: PLC0415

    tags = {"pipeline": pipeline.name}
    for metric, value in samples:
        match metric.kind:
            case "counter":
                stats.incr(metric.name, int(value), tags=tags)
            case "gauge":
                stats.gauge(metric.name, value, tags=tags)
            case "timer":
                stats.timing(metric.name, timedelta(seconds=value), tags=tags)


# -- what a task asks Airflow ------------------------------------------------------------------------------


def current_run() -> Run:
    """What the DAG run that this task belongs to is to do.

    Raises:
        RunParamsError: what its params ask for cannot be meant.
    """
    context = get_current_context()
    return run_of(context["dag_run"], context["params"], Clock().now())


def failed_shards() -> list[str]:
    """The instances of this run's `consume` that failed, such as `consume_1`."""
    context = get_current_context()
    dag_id, run_id = context["dag_run"].dag_id, context["dag_run"].run_id
    states = context["ti"].get_task_states(dag_id=dag_id, task_ids=["consume"], run_ids=[run_id])
    return failed_in(states.get(run_id, {}))


def failed_in(states: Mapping[str, str | None]) -> list[str]:
    """Names of those task instances whose state says that they failed, sorted."""
    return sorted(name for name, state in states.items() if state in ("failed", "upstream_failed"))


@contextmanager
def task_manners() -> Iterator[None]:
    """What every task does: end when told to, and not try again what only a person can mend.

    Raises:
        AirflowFailException: for a TerminalError. Any other error may pass, and Airflow retries.
        SystemExit: the task was told to end (SIGTERM); Airflow retries it.
    """
    with _ended_by_sigterm():
        try:
            yield
        except TerminalError as error:
            log.error("%s", error)  # noqa: TRY400 - one clear line; Airflow logs the traceback
            raise AirflowFailException(str(error)) from error


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    # Airflow's own handler only calls the operator's on_kill, and a Python task works on until it is killed.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit("told to end by SIGTERM")
