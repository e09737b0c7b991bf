"""The input, counted again: what each batch should have contributed, and which messages are rejects."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recount import totals
from recount.definition import Definition
from recount.errors import InvalidError
from recount.events import judge
from recount.kafka import Message
from recount.ledger import Range
from recount.totals import PerBatch


@dataclass(frozen=True, slots=True)
class Reject:
    """An input message that must not count, the batch that read it, and our reason."""

    message: Message
    batch_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Counted:
    """The covered input, counted again.

    Attributes:
        messages: by range, as `(batch_id, partition, start)`: covered messages, tombstones included.
        rejected: likewise, rejects.
        per_batch: for each output of the definition, what each batch contributes.
        rejects: by source partition and offset.
        uncovered: messages that no range has, as partition and offset.
    """

    messages: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    rejected: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    per_batch: tuple[PerBatch, ...] = ()
    rejects: dict[tuple[int, int], Reject] = field(default_factory=dict)
    uncovered: list[tuple[int, int]] = field(default_factory=list)


def count(definition: Definition, ranges: Sequence[Range], messages: Iterable[Message]) -> Counted:
    """Count messages by the batch whose range has them."""
    counted = Counted(per_batch=tuple({} for _ in definition.windows))
    owners = Owners(ranges)
    for message in messages:
        owner = owners.of(message.partition, message.offset)
        if owner is None:
            counted.uncovered.append((message.partition, message.offset))
        else:
            _count(counted, definition, owner, message)
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


def _count(counted: Counted, definition: Definition, owner: Range, message: Message) -> None:
    place = (owner.batch_id, owner.partition, owner.start)
    counted.messages[place] += 1
    if message.value is None:
        return
    try:
        event = judge(definition, message.value, message.timestamp_ms)
    except InvalidError as error:
        counted.rejected[place] += 1
        counted.rejects[message.partition, message.offset] = Reject(message, owner.batch_id, str(error))
        return
    for window, per_batch in zip(definition.windows, counted.per_batch, strict=True):
        totals.count(window, per_batch, owner.batch_id, event)
