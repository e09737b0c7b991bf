"""A published number as data: what `microbatch explain` prints, and whether its parts sum up to it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from microbatch.columntypes import ColumnType, quoted
from microbatch.explaining import Batch, Explanation, Revision
from microbatch.kafka import Broker
from microbatch.measures import AnyMeasure
from microbatch_ui.database import queries
from microbatch_ui.window_outputs import WindowOutput

_NUMBERS: Final = queries("numbers")
# What contributions are called and how they are summed does not depend on the type of the column.
_SOME_TYPE: Final = ColumnType("BIGINT")


class Range(msgspec.Struct, frozen=True):
    """Offsets of a partition that a batch has read, the end excluded; the topic's id is that of then."""

    batch_id: int
    shard: int
    topic_id: UUID
    partition: int
    start: int
    end: int


class KeptRange(msgspec.Struct, frozen=True):
    """A range, and from where on Kafka has it still; `kept_from` is `end` if it has nothing of it any more."""

    batch_id: int
    partition: int
    start: int
    end: int
    kept_from: int


class Published(msgspec.Struct, frozen=True):
    """A revision, and what is new in it.

    Attributes:
        revision: its number.
        valid_from: since when it holds.
        valid_to: until when it held; None: it holds.
        is_final: as it was published.
        is_retracted: the result vanished.
        is_correction: the revision before it was final.
        numbers: by measure.
        summed: how many batches.
        new_batches: that the revision before has not summed.
        gone_batches: that only the revision before has summed.
        dag_id: of the run that merged it.
        run_id: likewise.
    """

    revision: int
    valid_from: datetime
    valid_to: datetime | None
    is_final: bool
    is_retracted: bool
    is_correction: bool
    numbers: dict[str, Any]
    summed: int
    new_batches: list[int]
    gone_batches: list[int]
    dag_id: str | None
    run_id: str | None


class Check(msgspec.Struct, frozen=True):
    """Whether what batches contribute now gives the number that holds.

    Attributes:
        agrees: it does.
        totals: what it gives, by measure; empty: nothing contributes.
        waiting: batches that the number does not have: the next run merges them.
        redone: batches that were redone since the number was merged.
    """

    agrees: bool
    totals: dict[str, Any]
    waiting: list[int]
    redone: list[int]


def published(revisions: list[Revision]) -> Iterator[Published]:
    """Revisions, each beside the one before it."""
    before: frozenset[int] = frozenset()
    was_final = False
    for each in revisions:
        batches = frozenset(each.batches)
        yield Published(
            revision=each.revision,
            valid_from=each.valid_from,
            valid_to=each.valid_to,
            is_final=each.is_final,
            is_retracted=each.retracted,
            is_correction=was_final,
            numbers=each.numbers,
            summed=len(batches),
            new_batches=sorted(batches - before),
            gone_batches=sorted(before - batches),
            dag_id=each.dag_id,
            run_id=each.run_id,
        )
        before, was_final = batches, each.is_final


def summed(found: Explanation, ranges: list[Range]) -> Iterator[dict[str, Any]]:
    """Each batch as it is explained, with its ranges one by one.

    Beside them: `contribution` (what it adds now; None: nothing), `revisions` (those that sum it), `map_index` (its
    shard, of the mapped task of its run; None: no run of Airflow has read it).
    """
    of_revisions = [(each.revision, frozenset(each.batches)) for each in found.revisions]
    of_batches = {batch_id: list(own) for batch_id, own in groupby(ranges, key=lambda each: each.batch_id)}
    for batch in found.batches:
        own = of_batches.get(batch.batch_id, [])
        yield {
            **msgspec.structs.asdict(batch),
            "map_index": own[0].shard if own and batch.run_id is not None else None,
            "ranges": [{"partition": each.partition, "start": each.start, "end": each.end} for each in own],
            "contribution": found.contributions.get(batch.batch_id),
            "revisions": [number for number, batches in of_revisions if _is_in(batch, batches)],
        }


def ranges_of(connection: psycopg.Connection, batches: Iterable[Batch]) -> list[Range]:
    """What batches have read, in the order of batches, partitions and offsets."""
    facts = {"batches": [batch.batch_id for batch in batches]}
    with connection.cursor(row_factory=class_row(Range)) as cursor:
        return cursor.execute(_NUMBERS["ranges_of_batches"], facts).fetchall()


def check(connection: psycopg.Connection, output: WindowOutput, found: Explanation) -> Check | None:
    """Sum up the contributions as a merge does; None if nothing is published yet."""
    if not found.revisions:
        return None
    newest = found.revisions[-1]
    totals = _totals(connection, output, found) if found.contributions else {}
    batches = frozenset(newest.batches)
    return Check(
        agrees=totals == ({} if newest.retracted else newest.numbers),
        totals=totals,
        waiting=[b.batch_id for b in found.batches if b.batch_id in found.contributions and not _is_in(b, batches)],
        redone=[b.batch_id for b in found.batches if b.redone_at is not None and b.redone_at > newest.valid_from],
    )


def kept(broker: Broker, topic: str, ranges: list[Range]) -> list[KeptRange]:
    """How much of some ranges Kafka has still: retention deletes from below, and a topic may have been made anew."""
    facts = broker.topic(topic)
    ends = broker.ends(topic, range(facts.partitions)) if facts else {}

    def kept_from(each: Range) -> int:
        is_there = facts is not None and facts.topic_id == each.topic_id and each.partition in ends
        return min(each.end, max(each.start, ends[each.partition].low_watermark)) if is_there else each.end

    return [KeptRange(each.batch_id, each.partition, each.start, each.end, kept_from(each)) for each in ranges]


def _totals(connection: psycopg.Connection, output: WindowOutput, found: Explanation) -> dict[str, Any]:
    keys = [sql.Identifier("c", name) for name in found.key]
    values = [sql.Placeholder(f"key{n}") for n in range(len(keys))]
    totals = [_total(name, msgspec.convert(facts, AnyMeasure)) for name, facts in output.measures.items()]
    comma = sql.SQL(", ")
    query = sql.SQL(_NUMBERS["total_of_contributions"]).format(
        totals=comma.join(totals),
        contribution=sql.Identifier(output.schema, f"{output.table}_contribution"),
        # Without columns, a row of one that is always the same.
        key=comma.join(keys) if keys else sql.SQL("1"),
        values=comma.join(values) if values else sql.SQL("1"),
    )
    facts = {f"key{n}": value for n, value in enumerate(found.key.values())}
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"window_start": found.window[0], **facts}).fetchone() or {}


def _total(name: str, measure: AnyMeasure) -> sql.Composed:
    """As a merge has it; see `microbatch.window_tables`."""
    partials = [f"c.{quoted(name + partial.suffix)}" for partial in measure.partials("", _SOME_TYPE)]
    total: Any = measure.total(partials, _SOME_TYPE)
    return sql.SQL("{} as {}").format(sql.SQL(total), sql.Identifier(name))


def _is_in(batch: Batch, summed: frozenset[int]) -> bool:
    """Whether a revision has summed that batch, or one that has become a part of that archive."""
    return any(map(batch.has, summed)) if batch.last_id is not None else batch.batch_id in summed
