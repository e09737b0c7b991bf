"""Fold: batches that nobody can redo any more become archives, which cover the same offsets and give the same totals.

An archive stands for neighbours among the batches of its pipeline: adjacent ranges are one, contributions one for each
window and key. What names the old batches (history, rows, pairs, messages) goes on naming them; `batch_ids` says where
they are. One transaction an archive:

    lock    the definition, which says what the tables are; other folds of the pipeline; the rows of the batches, but
            those that somebody else holds
    look    again which of them may be folded, in a statement of its own: what others had committed is seen by now
    fold    contributions, late data, rejects, ranges, batches

A merge may be between taking its touched rows and summing. Until it commits, others see these rows, so the batches
that it sums are not foldable.
"""

import logging
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from microbatch.columntypes import ColumnType, quoted
from microbatch.crash import crash_point
from microbatch.measures import AnyMeasure
from microbatch.postgres import Connection, acquire, one_row
from microbatch.sql import queries
from microbatch.tables import names_of

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_FOLDING: Final = queries("folding")
# How partial values are put together does not depend on their type.
_ANY: Final = ColumnType("BIGINT")


class Folded(msgspec.Struct, frozen=True):
    """How many batches (archives among them) became how many archives."""

    batches: int
    archives: int


def fold(connection: Connection, pipeline_id: int, before: datetime) -> Folded:
    """Fold the batches of a pipeline that were read before a time; what cannot be folded yet stays as it is.

    Killed anywhere, it leaves whole archives and batches, and can be called again.
    """
    facts = {"pipeline_id": pipeline_id, "before": before}
    planned = connection.execute(_FOLDING["foldable"], {**facts, "first": 0, "last": None, "free": None}).fetchall()
    batches = archives = 0
    for number, (first, last) in enumerate(planned, 1):
        with connection.transaction():
            made = _fold_span(connection, {**facts, "first": first, "last": last})
            crash_point("fold.before_commit")
        crash_point("fold.after_commit")
        batches, archives = batches + sum(made), archives + len(made)
        log.info("archive %d of %d: batches %d to %d, %d folded", number, len(planned), first, last, sum(made))
    return Folded(batches, archives)


def _fold_span(connection: Connection, facts: dict[str, Any]) -> list[int]:
    """Fold what may be folded from one batch to another; the number of batches in each archive that it makes."""
    pipeline_id = facts["pipeline_id"]
    acquire(connection, _LEDGER["lock_definition_shared"], facts, pipeline_id)
    acquire(connection, _FOLDING["lock_folding"], facts, pipeline_id)
    free = sorted(batch_id for (batch_id,) in connection.execute(_FOLDING["lock_batches"], facts).fetchall())
    crash_point("fold.after_lock")
    (definition,) = one_row(connection, _LEDGER["definition"], facts)
    groups = connection.execute(_FOLDING["foldable"], {**facts, "free": free}).fetchall()
    made = []
    for first, last in groups:
        group = [batch_id for batch_id in free if first <= batch_id <= last]
        _fold_group(connection, pipeline_id, definition, group)
        made.append(len(group))
    return made


def _fold_group(connection: Connection, pipeline_id: int, definition: dict[str, Any], group: list[int]) -> None:
    """Make one archive of neighbours whose rows are locked."""
    facts = {"pipeline_id": pipeline_id, "batches": group, "archive": group[0]}
    for output in definition["outputs"]:
        if output["kind"] == "tumbling_window":
            connection.execute(_fold_contributions(output), facts)
    crash_point("fold.after_contributions")
    connection.execute(_FOLDING["fold_late"], facts)
    connection.execute(_FOLDING["fold_rejects"], facts)
    connection.execute(_FOLDING["fold_ranges"], facts)
    with connection.cursor(row_factory=dict_row) as cursor:
        whole = cursor.execute(_FOLDING["whole"], facts).fetchone() or {}
    connection.execute(_FOLDING["delete_folded"], facts)
    connection.execute(_FOLDING["make_archive"], {**facts, **whole})


def _fold_contributions(output: dict[str, Any]) -> sql.Composed:
    """The statement for a window output, as its definition says it."""
    partials = _partials(output["measures"])
    merged: Any = ", ".join(partials.values())
    return sql.SQL(_FOLDING["fold_contributions"]).format(
        contribution=sql.Identifier(output["schema"], f"{output['table']}_contribution"),
        key=names_of(["window_start", *(name for name, _ in output["by"])]),
        partials=names_of(partials),
        merged=sql.SQL(merged),
    )


def _partials(measures: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The columns of partial values, each with PostgreSQL's expression for that of several batches."""
    declared = {name: msgspec.convert(plain, AnyMeasure) for name, plain in measures.items()}
    return {
        name + partial.suffix: partial.folded(quoted(name + partial.suffix))
        for name, measure in declared.items()
        for partial in measure.partials("", _ANY)
    }
