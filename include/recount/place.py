"""Where to look, and how to judge."""

from collections.abc import Callable
from dataclasses import dataclass, field

from recount.frames import Function
from recount.kafka import Address
from recount.times import Interval
from recount.value_formats import Formats

Watch = Callable[[str, int, int], None]
"""Told what is done now, how many offsets of it are done, and how many there are; 0 of 0: nobody knows."""


def nobody(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and how to judge.

    Attributes:
        settled: everything must be covered up to the last stable offsets, and every window closed.
        compacted: result topics may have lost earlier revisions to compaction.
        patience_s: how long to wait for a quiet moment.
        transform: the pipeline's transform, if it has one.
        formats: what is needed for values that are not JSON.
        is_audit: it is a live pipeline of some age. What retention or compaction has deleted is no difference, and
            without a quiet moment there is no verdict; work of other pipelines in the same database does not matter.
        interval: to judge no more than that.
        watch: who is told how far it is.
    """

    pipeline: str
    bootstrap: Address
    dsn: str
    deployment: str
    settled: bool
    compacted: bool
    patience_s: float
    transform: Function | None = None
    formats: Formats = field(default_factory=lambda: Formats({}))
    is_audit: bool = False
    interval: Interval | None = None
    watch: Watch = nobody
