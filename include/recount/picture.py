"""One consistent picture of PostgreSQL and Kafka: a quiet moment, and the messages that there were."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from recount import kafka, moment
from recount.columns import Value
from recount.counted import Counted, count
from recount.errors import BusyError, DeletedError
from recount.flow import Flow
from recount.kafka import Committed, Ends, Message
from recount.ledger import Ledger
from recount.moment import Moment, Source
from recount.pairing import Place as At
from recount.place import Place
from recount.scope import Scope
from recount.spans import Span, merged
from recount.value_formats import UNKNOWN, reader

REDRIVEN: Final = "microbatch.redriven"
_LOT: Final = 1000


@dataclass(frozen=True, slots=True)
class Sink:
    """A topic that the pipeline writes, read whole or as far as it matters; None where it does not exist."""

    ends: dict[int, Ends]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the comparisons look at; they are functions of it.

    Attributes:
        committed: the group's offsets; None if a transaction of it is open.
        moved: why the picture is not of one moment; empty: it is.
        read: how many messages of the source were read.
        redriven: messages of the source that say that they were rejected before.
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
    scope: Scope = field(default_factory=Scope)
    is_audit: bool = False
    read: int = 0
    redriven: tuple[Message, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What messages may call the pipeline: its name, or one that it had when they were made."""
        return (self.pipeline, *self.ledger.former_names)

    def was_sent_before(self, topic: str, at: At) -> bool:
        """Whether a source message's row or letter was sent before this ledger knew of it."""
        return at in self.ledger.already_sent.get(topic, ())


def take(place: Place) -> Picture:
    """A picture of a quiet moment, or after `patience_s` one that says what moved.

    Raises:
        BusyError: for an audit, there was no such moment.
        DeletedError: retention deletes again and again what is being read.
    """
    deadline = time.monotonic() + place.patience_s
    while True:
        found = moment.quiet(place, deadline)
        busy = (*found.moved, *found.ledger.activity)
        if place.is_audit and busy:
            raise BusyError(
                "{} was at work for all of {:.0f} s ({}); try again, or wait longer with --patience",
                place.pipeline,
                place.patience_s,
                busy[0],
            )
        try:
            return _look(place, found)
        except DeletedError:
            if time.monotonic() > deadline:
                raise


class _Reading:
    """The source on its way: counted, and with an eye on what was sent to it again."""

    def __init__(self) -> None:
        self.read = 0
        self.redriven: list[Message] = []

    def over(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            self.read += 1
            if any(name == REDRIVEN for name, _ in message.headers):
                self.redriven.append(message)
            yield message


def _look(place: Place, found: Moment) -> Picture:
    known, definition, reading = found.ledger, found.ledger.definition, _Reading()
    with reader(definition, place.formats) as read:
        counted = count(
            definition,
            known.ranges,
            reading.over(_input(place, found)),
            known.batches,
            Flow(definition, place.transform, read),
            watched={at for at, row in known.rejects.items() if row.resolved},
            unread=found.scope.unread,
            taken=_taken(found),
            redriven={*known.redriven, *_unknown(known)},
        )
    return Picture(
        pipeline=place.pipeline,
        deployment=place.deployment,
        settled=place.settled,
        compacted=place.compacted,
        ledger=known,
        source=found.source,
        counted=counted,
        sinks={topic: _sink(place, found, counted, topic) for topic in found.sinks},
        committed=found.committed,
        moved=found.moved,
        scope=found.scope,
        is_audit=place.is_audit,
        read=reading.read,
        redriven=tuple(reading.redriven),
    )


def _unknown(known: Ledger) -> set[At]:
    """Rejects whose schema the registry did not have when they were read; that it has it now says nothing of then."""
    if known.definition.values is None:
        return set()
    return {at for at, row in known.rejects.items() if not row.resolved and row.reason.endswith(UNKNOWN)}


def _taken(found: Moment) -> dict[tuple[Value, ...], tuple[int, At]]:
    """The unique keys of batches that are not counted again."""
    keys = found.ledger.stream.keys or {}
    return {key: owner for key, owner in keys.items() if not found.scope.reads(owner[0])}


# -- the source --------------------------------------------------------------------------------------------


def _input(place: Place, found: Moment) -> Iterator[Message]:
    """What is judged of the source: whole from the lowest offset that matters, or the ranges of some batches."""
    topic, spans = found.ledger.definition.topic, _spans(found)
    total = sum(end - start for each in spans.values() for start, end in each)
    return _watched(place, topic, total, _read(place.bootstrap, topic, spans))


def _spans(found: Moment) -> dict[int, list[Span]]:
    known, ends = found.ledger, found.source.ends
    if found.scope.interval is None:
        return {
            partition: [(max(start, ends[partition].low), ends[partition].last_stable)]
            for partition, start in starts(known).items()
            if partition in ends
        }
    spans: dict[int, list[Span]] = {partition: [] for partition in ends}
    for each in known.ranges:
        if found.scope.reads(each.batch_id) and each.partition in ends:
            low, last = ends[each.partition].low, ends[each.partition].last_stable
            spans[each.partition].append((max(each.start, low), min(each.end, last)))
    return {partition: merged(each) for partition, each in spans.items()}


def starts(found: Ledger) -> dict[int, int]:
    """The lowest offset of each registered partition to be read: history may lie below first_offset."""
    lowest = {progress.partition: progress.first_offset for progress in found.progress}
    for covered in found.ranges:
        lowest[covered.partition] = min(lowest.get(covered.partition, covered.start), covered.start)
    return lowest


def _read(bootstrap: kafka.Address, topic: str, spans: Mapping[int, list[Span]]) -> Iterator[Message]:
    """The spans of all partitions side by side: the first ones, then the second ones, and so on."""
    for lot in zip_longest(*spans.values()):
        yield from kafka.read(bootstrap, topic, {p: span for p, span in zip(spans, lot, strict=True) if span})


# -- what was sent -----------------------------------------------------------------------------------------


def _sink(place: Place, found: Moment, counted: Counted, topic: str) -> Sink | None:
    """A topic of the pipeline. Of an interval, only what can be of it: a message is as young as what it stands for."""
    ends = found.sinks[topic]
    if ends is None:
        return None
    first = {partition: end.low for partition, end in ends.items()}
    if found.scope.interval is not None:
        results = {window.target.topic for window in found.ledger.definition.windows}
        oldest_ms = int(found.scope.interval.start.timestamp() * 1000) if topic in results else counted.first_ms
        young = {} if oldest_ms is None else kafka.since(place.bootstrap, topic, ends, oldest_ms)
        first = {partition: young.get(partition, end.high) for partition, end in ends.items()}
    spans = {partition: (first[partition], end.last_stable) for partition, end in ends.items()}
    total = sum(end - start for start, end in spans.values())
    return Sink(ends, tuple(_watched(place, topic, total, kafka.read(place.bootstrap, topic, spans))))


def _watched(place: Place, topic: str, total: int, messages: Iterator[Message]) -> Iterator[Message]:
    for done, message in enumerate(messages, 1):
        if done % _LOT == 1:
            place.watch(f"reading {topic}", done, total)
        yield message
