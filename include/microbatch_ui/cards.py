"""What the list of pipelines shows of each: its state, its rates of the last hour, and a small chart."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from psycopg import sql

from microbatch.postgres import Connection
from microbatch.states import State, judge
from microbatch_ui.access import Viewer
from microbatch_ui.database import queries, rows
from microbatch_ui.flow import size_of
from microbatch_ui.pipelines import Registered
from microbatch_ui.standing import Standing, standings
from microbatch_ui.window_outputs import WindowOutput, window_outputs
from microbatch_ui.windows import Span, newest_closed, windows_in

_STATES: Final = queries("states")
_RESULTS: Final = queries("results")
_POINTS: Final = 60
_KEYS: Final = 1000
_REVISIONS: Final = 100_000


class Sparkline(msgspec.Struct, frozen=True):
    """A small chart, and what its values are; None: there is none."""

    label: str
    values: list[float | None]


class Card(msgspec.Struct, frozen=True):
    """A pipeline at a glance.

    Attributes:
        name: its name.
        dag_id: the DAG that runs it.
        description: of that; None: it has none.
        is_paused: whether Airflow has paused the DAG; None: Airflow has no such DAG.
        source_topic: what it reads.
        state: see `microbatch.states`.
        reason: why; None: it is healthy.
        remedy: what a person can do.
        lag: offsets that the last look saw and that are not covered; None: no run has looked.
        complete_until: windows that end at or before it are closed.
        delay_s: from then to now.
        messages_per_minute: read in the last hour, or since it was registered.
        rejects_per_minute: of these.
        corrections: revisions of the last hour of what was final; None: too many results were published to count them.
        sparkline: see `_sparkline`.
        may_trigger: whether the person may start runs of the DAG.
    """

    name: str
    dag_id: str
    description: str | None
    is_paused: bool | None
    source_topic: str
    state: State
    reason: str | None
    remedy: str | None
    lag: int | None
    complete_until: datetime | None
    delay_s: float | None
    messages_per_minute: float
    rejects_per_minute: float
    corrections: int | None
    sparkline: Sparkline
    may_trigger: bool


def cards(connection: Connection, viewer: Viewer, pipelines: Sequence[Registered]) -> list[Card]:
    """A card for each of these pipelines, in their order."""
    standing = standings(connection, pipelines)
    return [_card(connection, viewer, pipeline, standing[pipeline.name]) for pipeline in pipelines]


def _card(connection: Connection, viewer: Viewer, pipeline: Registered, standing: Standing) -> Card:
    facts, dag = standing.facts, standing.dag
    verdict = judge(facts)
    outputs = window_outputs(connection, pipeline)
    activity = rows(connection, _STATES["activity"], {"pipeline_id": pipeline.pipeline_id})
    age_min = (facts.now - standing.registered_at) / timedelta(minutes=1)
    minutes = max(1.0, min(60.0, age_min))
    return Card(
        name=pipeline.name,
        dag_id=pipeline.dag_id,
        description=dag.description if dag else None,
        is_paused=facts.is_paused,
        source_topic=pipeline.source_topic,
        state=verdict.state,
        reason=verdict.reason,
        remedy=verdict.remedy,
        lag=facts.lag,
        complete_until=facts.complete_until,
        delay_s=standing.delay_s,
        messages_per_minute=sum(row["messages"] for row in activity) / minutes,
        rejects_per_minute=sum(row["rejected"] for row in activity) / minutes,
        corrections=_corrections(connection, pipeline, outputs),
        sparkline=_sparkline(connection, outputs, facts.complete_until, activity),
        may_trigger=viewer.may_trigger(pipeline.dag_id),
    )


def _corrections(connection: Connection, pipeline: Registered, outputs: Sequence[WindowOutput]) -> int | None:
    found = 0
    facts = {"pipeline_id": pipeline.pipeline_id, "limit": _REVISIONS}
    for output in outputs:
        (counted,) = rows(connection, output.compose(_RESULTS["corrections_of_hour"]), facts)
        if counted["revisions"] == _REVISIONS:
            return None
        found += counted["corrections"]
    return found


def _sparkline(
    connection: Connection,
    outputs: Sequence[WindowOutput],
    closed_until: datetime | None,
    activity: list[dict[str, Any]],
) -> Sparkline:
    """The total of the first sum or count over the last 60 closed windows; of many keys, or of none, what was read."""
    for output in outputs:
        newest = newest_closed(connection, output, closed_until)
        if output.summed and newest and closed_until and not _has_many_keys(connection, output, newest):
            windows = windows_in(connection, output, Span(None, newest + timedelta(microseconds=1)), _POINTS).starts
            return _totals(connection, output, output.summed, _closed_since(output, windows, closed_until))
    read = {row["minutes_ago"]: row["messages"] for row in activity}
    return Sparkline("messages read a minute", [read.get(ago, 0) for ago in reversed(range(_POINTS))])


def _closed_since(output: WindowOutput, windows: list[datetime], closed_until: datetime) -> list[datetime]:
    """These windows and those that have closed since without a result, the last 60 of them."""
    if output.timezone != "UTC":
        return windows
    size = timedelta(seconds=output.size_s)
    empty = min(_POINTS, (closed_until - windows[-1]) // size - 1)
    return [*windows, *(windows[-1] + number * size for number in range(1, empty + 1))][-_POINTS:]


def _totals(connection: Connection, output: WindowOutput, measure: str, windows: list[datetime]) -> Sparkline:
    query = output.compose(_RESULTS["totals"], measure=sql.Identifier("r", measure))
    values = [row["value"] for row in rows(connection, query, {"windows": windows})]
    return Sparkline(f"{measure} of {output.table}, windows of {size_of(output.size_s)}", values)


def _has_many_keys(connection: Connection, output: WindowOutput, window: datetime) -> bool:
    (found,) = rows(connection, output.compose(_RESULTS["has_more_keys"]), {"window": window, "limit": _KEYS})
    return bool(found["has_more"])
