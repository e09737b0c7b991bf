"""Which batches a rebuild redoes, which of them cannot be redone, and from when on it could. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from microbatch.event import EPOCH
from microbatch.kafka import Ends
from microbatch.ranges import OffsetRange

ARCHIVED: Final = "folded into archives"
RETIRED: Final = "read from a log that is no more"
DELETED: Final = "deleted by retention"


class Counted(msgspec.Struct, frozen=True):
    """A batch of the ledger.

    Attributes:
        shard: as it was read.
        kind: as in microbatch.batch.
        batch_time: when it was read.
        is_current: the definition that is to be has computed it.
        is_retired: it was read from another log of the source than the one of now.
    """

    batch_id: int
    shard: int
    kind: str
    batch_time: datetime
    messages: int
    ranges: list[OffsetRange]
    is_current: bool
    is_retired: bool

    @property
    def is_loss(self) -> bool:
        """Whether nobody has read its offsets: there is nothing to redo."""
        return self.kind == "loss"


def chosen(batches: Iterable[Counted], wanted: Mapping[int, OffsetRange] | None, *, is_chained: bool) -> list[Counted]:
    """The batches that meet some offsets, those of now, oldest first.

    Args:
        batches: of the pipeline.
        wanted: the offsets of each partition; None: whatever there is.
        is_chained: what a batch counts depends on those before it, as with `unique`: all after the first are meant too.
    """
    in_order = sorted(batches, key=lambda batch: batch.batch_id)
    if wanted is None:
        return in_order
    meeting = [batch for batch in in_order if _meets(batch, wanted)]
    if is_chained and meeting:
        return [batch for batch in in_order if batch.batch_id >= meeting[0].batch_id]
    return meeting


def hindrance(batch: Counted, ends: Mapping[int, Ends]) -> str | None:
    """Why a batch cannot be redone, though something was read in it; None: it can be, or nothing was."""
    if batch.is_loss:
        return None
    if batch.kind == "archive":
        return ARCHIVED
    if batch.is_retired:
        return RETIRED
    if any(item.start < ends[item.partition].low_watermark for item in batch.ranges):
        return DELETED
    return None


def earliest(is_possible: Callable[[datetime], bool], now: datetime) -> datetime | None:
    """The first second from which on something is possible that stays possible once it is; None: not even now."""
    impossible, possible = -1, int((now - EPOCH).total_seconds())
    if not is_possible(_at(possible)):
        return None
    while possible - impossible > 1:
        middle = (impossible + possible) // 2
        if is_possible(_at(middle)):
            possible = middle
        else:
            impossible = middle
    return _at(possible)


def _at(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


def _meets(batch: Counted, wanted: Mapping[int, OffsetRange]) -> bool:
    if batch.is_retired:
        return False
    spans = ((item, wanted.get(item.partition)) for item in batch.ranges)
    return any(span is not None and item.start < span.end and span.start < item.end for item, span in spans)
