"""Arithmetic of offset ranges `[start, end)`."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same offsets in as few spans as possible, lowest first."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """The offsets of `spans` that `taken` does not have."""
    left, holes = [], merged(taken)
    for start, end in merged(spans):
        at = start
        for hole_start, hole_end in islice(holes, max(0, bisect_right(holes, (start,)) - 1), None):
            if hole_start >= end:
                break
            if at < hole_start:
                left.append((at, hole_start))
            at = max(at, hole_end)
        if at < end:
            left.append((at, end))
    return left
