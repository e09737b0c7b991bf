"""One consistent picture of PostgreSQL and Kafka, taken while nothing moved."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from recount import kafka, ledger
from recount.counted import Counted, count
from recount.errors import OffsetsPendingError
from recount.flow import Flow
from recount.frames import Function
from recount.kafka import Committed, Ends, Message
from recount.ledger import Ledger

_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """The input topic as it is now; `lost`: partition, start and low watermark of what is gone."""

    topic_id: UUID | None
    ends: dict[int, Ends]
    lost: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Sink:
    """A topic that the pipeline writes, read whole; None where it does not exist."""

    ends: dict[int, Ends]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the comparisons look at; they are functions of it.

    Attributes:
        committed: the group's offsets; None if a transaction of it is open.
        moved: why the picture is not of one moment; empty: it is.
    """

    pipeline: str
    deployment: str
    settled: bool
    compacted: bool
    ledger: Ledger
    source: Source
    counted: Counted
    sinks: dict[str, Sink | None]
    committed: dict[int, Committed] | None
    moved: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What messages may call the pipeline: its name, or one that it had when they were made."""
        return (self.pipeline, *self.ledger.former_names)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and how to judge.

    Attributes:
        settled: everything must be covered up to the last stable offsets, and every window closed.
        compacted: result topics may have lost earlier revisions to compaction.
        patience_s: how long to wait for a quiet moment.
        transform: the pipeline's transform, if it has one.
    """

    pipeline: str
    bootstrap: str
    dsn: str
    deployment: str
    settled: bool
    compacted: bool
    patience_s: float
    transform: Function | None = None


def take(place: Place) -> Picture:
    """A picture of a quiet moment, or after `patience_s` one that says what moved."""
    deadline = time.monotonic() + place.patience_s
    while True:
        picture = _take(place, deadline)
        if not picture.moved or time.monotonic() > deadline:
            return picture
        time.sleep(_PAUSE_S)


def _take(place: Place, deadline: float) -> Picture:
    before = _quiet(place, deadline)
    picture = _look(place, before)
    with ledger.snapshot(place.dsn) as connection:
        after = ledger.read(connection, place.pipeline, place.deployment)
    names = [name for name in _STEADY if getattr(before, name) != getattr(after, name)]
    return replace(picture, moved=tuple(f"{name} changed while the topics were read" for name in names))


# What is compared to see whether the ledger moved: not `unrest`, whose texts name processes.
_STEADY: Final = (
    "definition",
    "closed_until",
    "complete_from",
    "progress",
    "ranges",
    "batches",
    "rejects",
    "publisher",
    "set_aside",
    "tables",
    "stream",
    "pairs",
)


def _quiet(place: Place, deadline: float) -> Ledger:
    """The ledger at a moment when the engine is at rest and has left nothing to do, if one comes in time."""
    while True:
        with ledger.snapshot(place.dsn) as connection:
            found = ledger.read(connection, place.pipeline, place.deployment)
        if not found.unrest or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE_S)


def _look(place: Place, found: Ledger) -> Picture:
    definition = found.definition
    flow, sinks = Flow(definition, place.transform), definition.topics
    resolved = {at for at, row in found.rejects.items() if row.resolved}
    there = kafka.topics(place.bootstrap, {definition.topic, *sinks})
    source = _source(place.bootstrap, found, there.get(definition.topic))
    return Picture(
        pipeline=place.pipeline,
        deployment=place.deployment,
        settled=place.settled,
        compacted=place.compacted,
        ledger=found,
        source=source,
        counted=count(
            definition, found.ranges, _input(place.bootstrap, found, source), found.batches, flow, watched=resolved
        ),
        sinks={topic: _sink(place.bootstrap, topic) if topic in there else None for topic in sinks},
        committed=_committed(place, found),
    )


def starts(found: Ledger) -> dict[int, int]:
    """The lowest offset of each registered partition to be read: history may lie below first_offset."""
    lowest = {progress.partition: progress.first_offset for progress in found.progress}
    for covered in found.ranges:
        lowest[covered.partition] = min(lowest.get(covered.partition, covered.start), covered.start)
    return lowest


def _source(bootstrap: str, found: Ledger, topic_id: UUID | None) -> Source:
    ends = kafka.ends(bootstrap, found.definition.topic) if topic_id else {}
    needed = starts(found)
    lost = tuple(
        (partition, start, ends[partition].low)
        for partition, start in needed.items()
        if partition in ends and start < ends[partition].low
    )
    return Source(topic_id, ends, lost)


def _input(bootstrap: str, found: Ledger, source: Source) -> Iterable[Message]:
    needed = starts(found)
    spans = {
        partition: (max(needed[partition], end.low), end.last_stable)
        for partition, end in source.ends.items()
        if partition in needed
    }
    return kafka.read(bootstrap, found.definition.topic, spans) if spans else ()


def _sink(bootstrap: str, topic: str) -> Sink:
    ends = _stable_ends(bootstrap, topic)
    spans = {partition: (end.low, end.last_stable) for partition, end in ends.items()}
    return Sink(ends, tuple(kafka.read(bootstrap, topic, spans)))


def _stable_ends(bootstrap: str, topic: str, tries: int = 10) -> dict[int, Ends]:
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
