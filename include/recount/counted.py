"""The input, counted again: what each batch should have contributed, and what became of each message."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from recount import pairing, totals
from recount.arrow import Row
from recount.columns import Value
from recount.definition import Definition
from recount.flow import BLOCK, Flow, Nothing, Outcome, Refused
from recount.kafka import Message
from recount.ledger import Batch, Range
from recount.pairing import Order, Pairing, Place
from recount.totals import PerBatch

Counts = tuple[int, int, int, int]
"""Messages, rejected, repeated, filtered."""

NO_COUNTS: Counts = (0, 0, 0, 0)

_SENT_AGAIN: Final = Refused("it was redriven and counts there, or its schema was unknown then")


@dataclass(frozen=True, slots=True)
class Reject:
    """An input message that must not count, the batch that read it, and our reason."""

    message: Message
    batch_id: int
    reason: str
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """A message that the stream let through, and the values of the stream's columns."""

    message: Message
    batch_id: int
    columns: Mapping[str, Value]


@dataclass(slots=True)
class Counted:
    """The covered input, counted again.

    Attributes:
        counts: by range, as `(batch_id, partition, start)`; messages include tombstones.
        per_batch: for each window output, what each batch contributes.
        rejects: by source partition and offset.
        uncovered: messages that no range has, as partition and offset.
        passed: what a stream let through, by source partition and offset.
        keys: if a stream has unique columns: whose each key is, the batch and the place.
        pairings: for each pairs output.
        first_ms: the least of Kafka's timestamps of covered messages.
        origins: the messages of pairs' events, by source partition and offset, and of `watched` ones.
    """

    counts: dict[tuple[int, int, int], Counts] = field(default_factory=lambda: defaultdict(lambda: NO_COUNTS))
    per_batch: tuple[PerBatch, ...] = ()
    rejects: dict[Place, Reject] = field(default_factory=dict)
    uncovered: list[Place] = field(default_factory=list)
    passed: dict[Place, Passed] = field(default_factory=dict)
    keys: dict[tuple[Value, ...], tuple[int, Place]] = field(default_factory=dict)
    pairings: tuple[Pairing, ...] = ()
    origins: dict[Place, Message] = field(default_factory=dict)
    first_ms: int | None = None

    @property
    def messages(self) -> int:
        """How many covered messages there are."""
        return sum(counts[0] for counts in self.counts.values())

    @property
    def rejected(self) -> int:
        """How many of them are rejects."""
        return sum(counts[1] for counts in self.counts.values())


def count(  # noqa: PLR0913, PLR0917 - the facts of a ledger, and what is known of batches that are not counted
    definition: Definition,
    ranges: Sequence[Range],
    messages: Iterable[Message],
    batches: Mapping[int, Batch],
    flow: Flow,
    watched: Collection[Place] = (),
    unread: Container[int] = (),
    taken: Mapping[tuple[Value, ...], tuple[int, Place]] | None = None,
    redriven: Collection[Place] = (),
) -> Counted:
    """Count messages by the batch whose range has them.

    Args:
        definition: the pipeline.
        ranges: what the ledger says is covered, by which batch.
        messages: of the source, the order of each partition kept.
        batches: by id; their times may matter to a stream.
        flow: the way of a message.
        watched: places of messages that are wanted whole, whatever becomes of them.
        unread: batches whose messages are left out.
        taken: unique keys that such batches have, as they say.
        redriven: places of rejects that count where they were sent again: here they stay rejects, whatever we
            think; and of those whose schema was unknown when they were read.
    """
    counted = Counted(per_batch=tuple({} for _ in definition.windows), keys=dict(taken or {}))
    arrivals = _covered(counted, Owners(ranges), messages, unread)
    judged = _judged(counted, flow, batches, arrivals, watched=frozenset(watched), redriven=frozenset(redriven))
    if definition.stream is not None and definition.stream.unique:
        judged = iter(sorted(judged, key=_order))
    seen: list[tuple[Order, Any]] = []
    for arrival in judged:
        if _is_repeated(counted, definition, arrival):
            _add(counted, arrival.owner, (0, 0, 1, 0))
            continue
        _pass_on(counted, definition, arrival)
        if definition.pairs:
            seen.append((_order(arrival), arrival.row.seen))
    counted.pairings = tuple(pairing.pair(output, pairing.numbers(output, seen)) for output in definition.pairs)
    return counted


class Owners:
    """Which range an offset belongs to; of ranges that overlap, the one that begins last."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges: dict[int, list[Range]] = defaultdict(list)
        for found in sorted(ranges, key=lambda found: found.start):
            self._ranges[found.partition].append(found)
        self._starts = {partition: [r.start for r in mine] for partition, mine in self._ranges.items()}

    def of(self, partition: int, offset: int) -> Range | None:
        """The range of an offset, None if it is not covered."""
        at = bisect_right(self._starts.get(partition, []), offset) - 1
        found = self._ranges[partition][at] if at >= 0 else None
        return found if found is not None and offset < found.end else None


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A message that is no reject and was not filtered."""

    message: Message
    owner: Range
    row: Row


def _order(arrival: _Arrival) -> Order:
    message = arrival.message
    return arrival.owner.batch_id, message.timestamp_ms, message.partition, message.offset


def _covered(
    counted: Counted, owners: Owners, messages: Iterable[Message], unread: Container[int]
) -> Iterator[tuple[Message, Range]]:
    for message in messages:
        owner = owners.of(message.partition, message.offset)
        if owner is None:
            counted.uncovered.append((message.partition, message.offset))
        elif owner.batch_id not in unread:
            first_ms = message.timestamp_ms if counted.first_ms is None else counted.first_ms
            counted.first_ms = min(message.timestamp_ms, first_ms)
            yield message, owner


def _judged(
    counted: Counted,
    flow: Flow,
    batches: Mapping[int, Batch],
    arrivals: Iterator[tuple[Message, Range]],
    *,
    watched: frozenset[Place],
    redriven: frozenset[Place],
) -> Iterator[_Arrival]:
    """Those that pass; of the others it is noted what became of them."""
    while block := list(islice(arrivals, BLOCK)):
        times = [_batch_us(batches, owner) for _, owner in block]
        outcomes = flow.outcomes([(message, us) for (message, _), us in zip(block, times, strict=True)])
        for (message, owner), outcome in zip(block, outcomes, strict=True):
            place = message.partition, message.offset
            if place in watched:
                counted.origins[place] = message
            if place in redriven and not isinstance(outcome, Refused):
                _note(counted, owner, message, _SENT_AGAIN)
            elif isinstance(outcome, Row):
                _add(counted, owner, (1, 0, 0, 0))
                yield _Arrival(message, owner, outcome)
            else:
                _note(counted, owner, message, outcome)


def _batch_us(batches: Mapping[int, Batch], owner: Range) -> int:
    """A range whose batch is gone is a difference of its own; its rows get the epoch."""
    batch = batches.get(owner.batch_id)
    return batch.time_us if batch else 0


def _note(counted: Counted, owner: Range, message: Message, outcome: Outcome) -> None:
    if isinstance(outcome, Refused):
        _add(counted, owner, (1, 1, 0, 0))
        reject = Reject(message, owner.batch_id, outcome.reason, outcome.is_exact)
        counted.rejects[message.partition, message.offset] = reject
    else:
        _add(counted, owner, (1, 0, 0, 1 if outcome is Nothing.FILTERED else 0))


def _add(counted: Counted, owner: Range, counts: Counts) -> None:
    place = (owner.batch_id, owner.partition, owner.start)
    a, b = counted.counts[place], counts
    counted.counts[place] = (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _is_repeated(counted: Counted, definition: Definition, arrival: _Arrival) -> bool:
    """Whether an earlier message has the key; else it is this one's from now on.

    Only a batch that is not counted can be said to have it although it came later.
    """
    if definition.stream is None or not definition.stream.unique:
        return False
    seen = arrival.row.seen
    key = tuple(seen[column.name] for column in definition.stream.unique)
    batch_id, message = arrival.owner.batch_id, arrival.message
    if key in counted.keys and counted.keys[key][0] <= batch_id:
        return True
    counted.keys[key] = batch_id, (message.partition, message.offset)
    return False


def _pass_on(counted: Counted, definition: Definition, arrival: _Arrival) -> None:
    place = arrival.message.partition, arrival.message.offset
    if definition.stream is not None:
        counted.passed[place] = _passed(arrival)
    if definition.pairs:
        counted.origins[place] = arrival.message
    for window, per_batch in zip(definition.windows, counted.per_batch, strict=True):
        totals.count(window, per_batch, arrival.owner.batch_id, arrival.row)


def _passed(arrival: _Arrival) -> Passed:
    return Passed(arrival.message, arrival.owner.batch_id, arrival.row.overlay)
