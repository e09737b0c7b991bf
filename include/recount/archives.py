"""Archives: what old batches have become. What names these batches still does, and is found by way of their numbers."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Archives:
    """The numbers `[first, end)` of the batches that each archive stands for; its own number is the first of them."""

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> "Archives":
        """The archives, in whatever order."""
        return cls(tuple(sorted(spans)))

    def now_in(self, batch_id: int) -> int:
        """Where a batch is by now: the archive that it has become a part of, or itself."""
        at = bisect_right(self.spans, batch_id, key=lambda span: span[0]) - 1
        return self.spans[at][0] if at >= 0 and batch_id < self.spans[at][1] else batch_id
