"""Offset ranges, and how much of what is uncovered becomes the next batch. Pure."""

from collections.abc import Iterable

import msgspec


class OffsetRange(msgspec.Struct, frozen=True, order=True):
    """Offsets `[start, end)` of one partition."""

    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"[{self.partition}] {self.start}..{self.end - 1}"

    @property
    def size(self) -> int:
        """How many offsets; never more messages than that."""
        return self.end - self.start


def places(ranges: Iterable[OffsetRange]) -> dict[str, list[int]]:
    """Ranges as the parameters of a query that takes them as arrays."""
    items = list(ranges)
    return {
        "partitions": [item.partition for item in items],
        "start_offsets": [item.start for item in items],
        "end_offsets": [item.end for item in items],
    }


def plan_ranges(uncovered: list[OffsetRange], limit: int) -> list[OffsetRange]:
    """The ranges of the next batch: of each partition the lowest offsets, together at most `limit`.

    Every partition gets the same share; what one does not need goes to the others. Lowest first, so that
    no gap is ever stepped over.

    Args:
        uncovered: disjoint ranges, in any order.
        limit: the most offsets in a batch, at least 1.
    """
    left = {partition: 0 for partition, *_ in map(msgspec.structs.astuple, uncovered)}
    for item in uncovered:
        left[item.partition] += item.size
    shares = _shares(left, limit)
    planned = []
    for item in sorted(uncovered):
        size = min(item.size, shares[item.partition])
        if size:
            planned.append(OffsetRange(item.partition, item.start, item.start + size))
            shares[item.partition] -= size
    return planned


def _shares(wanted: dict[int, int], limit: int) -> dict[int, int]:
    """Divide `limit` over partitions, the smallest wish first, so that nothing is left unused."""
    shares = {}
    for position, partition in enumerate(sorted(wanted, key=lambda p: (wanted[p], p))):
        others = len(wanted) - position
        # Rounded up, so that a limit below the number of partitions still gets something done.
        shares[partition] = min(wanted[partition], limit, -(-limit // others))
        limit -= shares[partition]
    return shares


def shard_partitions(shard: int, shards: int, partitions: int) -> list[int]:
    """The partitions that a shard works on: `partition mod shards`."""
    return list(range(shard, partitions, shards))


def by_round(ranges: list[OffsetRange]) -> list[list[OffsetRange]]:
    """Ranges in rounds in which each partition appears at most once, lowest offsets first."""
    rounds: list[list[OffsetRange]] = []
    seen: dict[int, int] = {}
    for item in sorted(ranges):
        place = seen.get(item.partition, 0)
        seen[item.partition] = place + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(item)
    return rounds
