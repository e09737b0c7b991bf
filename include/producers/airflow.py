"""A demo producer becomes a DAG that sends events live, for a minute in each of its runs.

Only a backfill sends events of the past: those of its data interval.
"""

import inspect
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, get_current_context, task
from airflow.sdk.types import DagRunProtocol

from microbatch.airflow import START_DATE, TAG, task_manners
from microbatch.airflow_assets import topic_asset
from microbatch.airflow_connections import kafka_settings
from microbatch.clock import Clock
from microbatch.errors import RunParamsError
from producers.base import Producer, Shares, messages, of_interval, usual_shares
from producers.pacing import live

log: Final = logging.getLogger("producers")

# Half a minute away from pipelines: at the full minute, when results are due, no producer has to be started.
half_past_the_minute: Final = CronDataIntervalTimetable("* * * * * 30", timezone="UTC")

POOL: Final = "producers"
# A pipeline's task weighs 1 and as much as the tasks after it. What weighs less starts later in each scheduling loop:
# at the full minute, pipelines are first.
PRIORITY: Final = 0
_SEED: Final = (
    "Makes the same choices again. Live events are of other times then; without a seed, each run has choices of its "
    "own. A backfill sends the very same events again: of an interval, a seed, a rate and shares, always the same."
)


def producer_dag(producer: Producer, doc: str | None) -> DAG:
    """The DAG of a producer; `doc` is its page in Airflow's UI."""
    with DAG(
        f"produce_{producer.name}",
        description=f"Demo events, sent live to topic {producer.topic}.",
        doc_md=inspect.cleandoc(doc) if doc else None,
        tags=[TAG, "producer"],
        schedule=half_past_the_minute,
        start_date=START_DATE,
        # Live events belong to the present; there is nothing to make up for.
        catchup=False,
        max_active_runs=1,
        params=producer_params(producer),
        # A run takes at most two minutes; this ends one that was stopped.
        dagrun_timeout=timedelta(minutes=3),
        # No retry: it would send other events (a backfill: those that had arrived once more), not the lost ones. The
        # next minute's run goes on.
        default_args={"retries": 0, "pool": POOL, "priority_weight": PRIORITY},
    ) as dag:
        _send(producer)
    return dag


def producer_params(producer: Producer) -> dict[str, Param]:
    """What the trigger form asks for."""
    usual = usual_shares(producer)
    kinds = ", ".join(kind.__name__.replace("_", " ") for kind in producer.bad)
    params = {
        "rate_per_second": Param(
            producer.rate_per_second,
            type="number",
            minimum=0.1,
            maximum=5000,
            title="Rate",
            description="Events a second.",
        ),
        "bad_share": _share(usual.bad, "bad events", f"each of one kind by chance: {kinds}"),
        "late_share": _share(usual.late, "late events", "which happened seconds to three minutes before they are sent"),
        "duplicate_share": _share(usual.duplicate, "duplicates", "events that are sent twice, in the very same way"),
        "seed": Param(None, type=["integer", "null"], title="Seed", description=_SEED),
    }
    if not producer.has_event_time:
        del params["late_share"]
    return params


def _share(usual: float, of: str, meaning: str) -> Param:
    title = f"Share of {of}"
    return Param(usual, type="number", minimum=0, maximum=1, title=title, description=f"From 0 to 1: {meaning}.")


def _send(producer: Producer) -> None:
    @task(task_id="send", outlets=[topic_asset(producer.topic)], show_return_value_in_logs=False)
    def send_events() -> int:
        context = get_current_context()
        send = _send_past if context["dag_run"].run_type == "backfill" else _send_live
        with task_manners():
            _refuse_unknown(producer, context["params"])
            sent = send(producer, context["dag_run"], context["params"])
        log.info("%s messages sent", f"{sent:,}")
        return sent

    send_events()


def _send_live(producer: Producer, dag_run: DagRunProtocol, params: Mapping[str, Any]) -> int:
    from producers.sending import send  # noqa: PLC0415

    clock = Clock()
    pace = live(params["rate_per_second"], clock.now())
    log.info("sending %s events to topic %s at %g a second", f"{pace.total:,}", producer.topic, pace.rate_per_second)
    seed = dag_run.run_id if params["seed"] is None else params["seed"]
    events = messages(producer, shares_of(params), iter(clock.now, None), seed)
    return send(producer.topic, kafka_settings(), events, pace, clock=clock)


def _send_past(producer: Producer, dag_run: DagRunProtocol, params: Mapping[str, Any]) -> int:
    from producers.sending import send_at_once  # noqa: PLC0415

    interval = _data_interval(dag_run)
    log.info("sending the events from %s until %s to topic %s", *interval, producer.topic)
    events = of_interval(producer, shares_of(params), params["rate_per_second"], interval, params["seed"])
    return send_at_once(producer.topic, kafka_settings(), events)


def _refuse_unknown(producer: Producer, params: Mapping[str, Any]) -> None:
    """Airflow's API lets any param pass; one that a producer does not have would be ignored in silence."""
    known = producer_params(producer)
    for name in sorted(params.keys() - known.keys()):
        raise RunParamsError(param=name, value=params[name], remedy=f"there are only {', '.join(known)}")


def shares_of(params: Mapping[str, Any]) -> Shares:
    """The shares that the params of a run ask for."""
    return Shares(bad=params["bad_share"], late=params.get("late_share", 0), duplicate=params["duplicate_share"])


def _data_interval(dag_run: DagRunProtocol) -> tuple[datetime, datetime]:
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    # The schedule has intervals, so each of its backfill runs has one.
    assert start is not None  # noqa: S101
    assert end is not None  # noqa: S101
    return start, end
