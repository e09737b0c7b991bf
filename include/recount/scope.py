"""Which batches are counted again, and why the others are not. A batch is all or nothing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from recount.ledger import Ledger, Range
from recount.spans import Span, without
from recount.times import Interval
from recount.totals import Number

LOSS: Final = "loss"
"""The kind of a batch that stands for offsets which nobody has read."""

ARCHIVE: Final = "archive"
"""The kind of a batch that stands for old ones."""


class Why(Enum):
    """Why a batch is not counted again."""

    DELETED = "retention deleted its input"
    RETIRED = "its log is no more: a person decided so"
    STRANGE = "its log is no more"
    ARCHIVED = "it was archived: single batches are not known any more"
    FORMER = "a definition from before a rebuild has counted it"
    OUTSIDE = "it has nothing to do with the interval"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check judges.

    Attributes:
        unread: the batches that are not counted again; what they have stored is taken as it is.
        interval: judged are only windows inside, and batches that have to do with it; None: everything.
    """

    unread: Mapping[int, Why] = field(default_factory=lambda: MappingProxyType({}))
    interval: Interval | None = None

    def reads(self, batch_id: int) -> bool:
        """Whether the batch is counted again."""
        return batch_id not in self.unread

    def has(self, window_start: Number) -> bool:
        """Whether the window's totals are judged."""
        return self.interval is None or self.interval.has(window_start)


def whole(found: Ledger, lows: Mapping[int, int], *, trusting: bool) -> Scope:
    """Everything that can be counted again.

    Args:
        found: the ledger.
        lows: the low watermark of each partition of the source.
        trusting: a batch of which retention deleted input is not counted again; else all that is left of it is.
    """
    unread = {each.batch_id: Why.RETIRED if each.topic_id in found.retired else Why.STRANGE for each in found.elsewhere}
    unread |= {
        each.batch_id: Why.FORMER
        for each in found.ranges
        if each.batch_id in found.batches and found.batches[each.batch_id].is_former and not _is_loss(found, each)
    }
    if trusting:
        unread |= {each.batch_id: Why.DELETED for each in found.ranges if _is_cut(found, each, lows)}
    unread |= {batch_id: Why.ARCHIVED for batch_id, batch in found.batches.items() if batch.kind == ARCHIVE}
    return Scope(unread)


def within(scope: Scope, found: Ledger, interval: Interval, concerned: Collection[int]) -> Scope:
    """Of that, what has to do with an interval."""
    outside = {batch_id: Why.OUTSIDE for batch_id in found.batches if batch_id not in concerned}
    return Scope({**scope.unread, **outside}, interval)


def meeting(ranges: Iterable[Range], spans: Mapping[int, Span]) -> set[int]:
    """The batches that have offsets in the span of their partition."""
    return {
        each.batch_id
        for each in ranges
        if (span := spans.get(each.partition)) is not None and each.start < span[1] and span[0] < each.end
    }


def gone(found: Ledger, lows: Mapping[int, int], *, trusting: bool) -> tuple[tuple[int, int, int], ...]:
    """Offsets below the low watermarks that should be there, as partition, start and end.

    That somebody accepted a loss explains it. Where retention is trusted, so does any batch that has counted them.
    """
    known = [each for each in found.ranges if trusting or _is_loss(found, each)]
    return tuple(
        (progress.partition, start, end)
        for progress in found.progress
        if (low := lows.get(progress.partition)) is not None
        for start, end in without(
            _below(found, progress.partition, progress.first_offset, low), _of(known, progress.partition)
        )
    )


def _below(found: Ledger, partition: int, first: int, low: int) -> list[Span]:
    """What was or will be counted of a partition below an offset: history may lie below the first one."""
    return [(start, min(end, low)) for start, end in (*_of(found.ranges, partition), (first, low))]


def _of(ranges: Iterable[Range], partition: int) -> list[Span]:
    return [(each.start, each.end) for each in ranges if each.partition == partition]


def _is_cut(found: Ledger, each: Range, lows: Mapping[int, int]) -> bool:
    return each.start < lows.get(each.partition, 0) and not _is_loss(found, each)


def _is_loss(found: Ledger, each: Range) -> bool:
    return each.batch_id in found.batches and found.batches[each.batch_id].kind == LOSS
