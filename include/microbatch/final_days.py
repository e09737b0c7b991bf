"""Final days: which days of results have become final, or were corrected since, and who has still to hear of it.

A merge notes them in its own transaction. A note stays until it is known that the asset event that tells it has
arrived: a day may be told twice, after a crash, but none is lost.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from microbatch.outputs import WEEK_S, TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, connect
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.view import view
from microbatch.window_tables import WindowTables

_FINAL_DAYS: Final = queries("final_days")
MOST_DAYS: Final = 100
"""What is told at a time: each day is an event in Airflow's database, and perhaps a run."""


class Told(msgspec.Struct, frozen=True):
    """A telling of which nobody knows yet whether it has arrived, and the table of results whose days it told."""

    output: str
    told: UUID
    since: datetime


def note_final_days(
    connection: Connection, pipeline: Pipeline, output: TumblingWindow, facts: Mapping[str, Any]
) -> None:
    """Note the days that a merge has made final or, if they were, has changed; inside its transaction.

    Windows of a week count as the day on which they begin.

    Args:
        connection: of the merge.
        pipeline: whose results they are.
        output: the window.
        facts: of the merge: its id, how far windows are closed and complete, and how far they were.
    """
    if facts["closed_until"] is None:
        return
    days = {
        "output": ".".join(pipeline.state(output)),
        "unit": "week" if output.size_s == WEEK_S else "day",
        "timezone": output.timezone,
    }
    tables = WindowTables(pipeline, output, view(pipeline))
    connection.execute(tables.compose("note_final_days"), {**facts, **days})


def told_before(pipeline: str, connections: Connections) -> list[Told]:
    """The tellings that may not have arrived, with the time of the oldest of each."""
    with connect(connections.postgres, f"{pipeline} final days") as connection:
        cursor = connection.cursor(row_factory=class_row(Told))
        facts = {"pipeline": pipeline, "deployment": connections.deployment}
        return cursor.execute(_FINAL_DAYS["told_before"], facts).fetchall()


def tell(pipeline: str, connections: Connections, heard: Collection[UUID], telling: UUID) -> dict[str, list[date]]:
    """Forget the days of which Airflow has heard, and mark those that it is to be told now.

    Args:
        pipeline: its name.
        connections: to the ledger.
        heard: the tellings whose events have arrived.
        telling: a new one, by which a later call finds out whether its events have arrived.

    Returns:
        Days by table of results: the oldest ones, MOST_DAYS at the most.
    """
    facts = {"pipeline": pipeline, "deployment": connections.deployment}
    days: dict[str, list[date]] = {}
    with connect(connections.postgres, f"{pipeline} final days") as connection, connection.transaction():
        connection.execute(_FINAL_DAYS["forget_final_days"], {"heard": list(heard)})
        marked = {**facts, "telling": telling, "most": MOST_DAYS}
        for output, day in sorted(connection.execute(_FINAL_DAYS["tell_final_days"], marked).fetchall()):
            days.setdefault(output, []).append(day)
    return days
