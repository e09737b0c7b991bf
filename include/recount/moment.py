"""A quiet moment: the ledger, and where every topic ends, taken while nothing moved.

Topics only grow, and the ledger is read in one snapshot. So what is read later up to these ends is of that moment,
however long it takes and whatever the pipeline does meanwhile.
"""

import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from recount import kafka, ledger, scope, unrest
from recount.definition import Definition
from recount.errors import OffsetsPendingError
from recount.kafka import Committed, Ends
from recount.ledger import Ledger
from recount.place import Place
from recount.scope import Scope
from recount.tables import Connection

_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """The input topic as it is now; `lost`: partition, start and end of what should be there and is gone."""

    topic_id: UUID | None
    ends: dict[int, Ends]
    lost: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """What there was.

    Attributes:
        sinks: the ends of each topic that the pipeline writes; None where it does not exist.
        committed: the group's offsets; None if a transaction of it is open.
        moved: why it is not one moment; empty: it is.
    """

    ledger: Ledger
    scope: Scope
    source: Source
    sinks: dict[str, dict[int, Ends] | None]
    committed: dict[int, Committed] | None
    moved: tuple[str, ...]


def quiet(place: Place, deadline: float) -> Moment:
    """A moment in which the engine is at rest and has left nothing to do; past the deadline, whatever there is."""
    while True:
        is_late = time.monotonic() > deadline
        with ledger.snapshot(place.dsn) as connection:
            pipeline_id, defined = ledger.source_of(connection, place.pipeline, place.deployment)
            busy = unrest.everything(connection, pipeline_id, alone=place.is_audit)
        if not busy or is_late:
            found = _now(place, defined)
            busy = found.moved or found.ledger.unrest
            if not busy or is_late:
                return found
        place.watch(f"waiting for a quiet moment: {busy[0]}", 0, 0)
        time.sleep(_PAUSE_S)


def _now(place: Place, defined: Definition) -> Moment:
    there = kafka.topics(place.bootstrap, {defined.topic, *defined.topics})
    topic_id = there.get(defined.topic)
    before = kafka.ends(place.bootstrap, defined.topic) if topic_id else {}
    lows = {partition: ends.low for partition, ends in before.items()}
    with ledger.snapshot(place.dsn) as connection:
        found = ledger.read(connection, place.pipeline, place.deployment, topic_id, alone=place.is_audit)
        judged = _scope(place, connection, found, before)
        found = _with_tables(connection, found, judged)
        marks = unrest.marks(connection, found.pipeline_id)
    sinks = {topic: _stable_ends(place.bootstrap, topic) if topic in there else None for topic in defined.topics}
    committed = _committed(place, found)
    ends = kafka.ends(place.bootstrap, defined.topic) if topic_id else {}
    with ledger.snapshot(place.dsn) as connection:
        now = unrest.marks(connection, found.pipeline_id)
    moved = [f"{name} changed while Kafka was asked" for name in now if now[name] != marks.get(name)]
    moved += [
        f"retention deleted offsets {low}..{ends[partition].low - 1} of partition {partition} meanwhile"
        for partition, low in lows.items()
        if ends[partition].low != low
    ]
    lost = scope.gone(found, lows, trusting=place.is_audit)
    return Moment(found, judged, Source(topic_id, ends, lost), sinks, committed, tuple(moved))


def _scope(place: Place, connection: Connection, found: Ledger, ends: dict[int, Ends]) -> Scope:
    lows = {partition: each.low for partition, each in ends.items()}
    whole = scope.whole(found, lows, trusting=place.is_audit)
    interval = place.interval
    if interval is None:
        return whole
    first, last = (
        kafka.since(place.bootstrap, found.definition.topic, ends, int(at.timestamp() * 1000)) if ends else {}
        for at in (interval.start, interval.end)
    )
    spans = {partition: (first[partition], last[partition]) for partition in first}
    concerned = ledger.contributors(connection, found, interval) | scope.meeting(found.ranges, spans)
    return scope.within(whole, found, interval, concerned)


def _with_tables(connection: Connection, found: Ledger, judged: Scope) -> Ledger:
    """Of an interval, no more than is judged."""
    read = None if judged.interval is None else {batch_id for batch_id in found.batches if judged.reads(batch_id)}
    return ledger.with_tables(connection, found, read, judged.interval)


def _stable_ends(bootstrap: kafka.Address, topic: str, tries: int = 10) -> dict[int, Ends]:
    """The ends of a topic, if possible when no transaction is open: others may write to it too."""
    ends = kafka.ends(bootstrap, topic)
    while tries and any(end.last_stable < end.high for end in ends.values()):
        time.sleep(_PAUSE_S)
        ends, tries = kafka.ends(bootstrap, topic), tries - 1
    return ends


def _committed(place: Place, found: Ledger) -> dict[int, Committed] | None:
    group = f"microbatch.{place.deployment}.{place.pipeline}"
    partitions = sorted({progress.partition for progress in found.progress} | {0})
    try:
        return kafka.committed(place.bootstrap, group, found.definition.topic, partitions)
    except OffsetsPendingError:
        return None
