"""Pairs, by brute force: events in the order in which the ledger booked them, each with the first that waits for it."""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from recount.definition import PairsOutput

Place = tuple[int, int]
"""Source partition and offset."""

Order = tuple[int, int, int, int]
"""Batch, Kafka's timestamp in ms, partition, offset: the order in which the ledger booked messages."""


@dataclass(frozen=True, slots=True)
class Number:
    """An event that can be paired."""

    value: int
    order: Order

    @property
    def batch_id(self) -> int:
        """The batch that booked it."""
        return self.order[0]

    @property
    def place(self) -> Place:
        """Where it is in the source."""
        return self.order[2], self.order[3]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two events; `second` is the later one."""

    first: Number
    second: Number


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs by the place of their later event, and who waits, by place."""

    pairs: dict[Place, Pair] = field(default_factory=dict)
    waiting: dict[Place, Number] = field(default_factory=dict)


def numbers(output: PairsOutput, seen: Iterable[tuple[Order, Any]]) -> list[Number]:
    """The numbers of events that have one; beside the order of each comes what pairs see of it."""
    return [Number(value, order) for order, event in seen if (value := event[output.field]) is not None]


def pair(output: PairsOutput, found: Iterable[Number]) -> Pairing:
    """Each number with the first one before it that makes the sum and is still alone."""
    pairing = Pairing()
    queues: dict[int, deque[Number]] = defaultdict(deque)
    for number in sorted(found, key=lambda number: number.order):
        partners = queues[output.sum - number.value]
        if partners:
            pairing.pairs[number.place] = Pair(partners.popleft(), number)
        else:
            queues[number.value].append(number)
    pairing.waiting.update({number.place: number for queue in queues.values() for number in queue})
    return pairing
