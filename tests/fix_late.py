"""A world in which a run has everything to do: several batches, corrections to a final minute, rejects, tombstones."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from fix_pipeline import T0, Message, World, sale

FIRST: Final = [
    Message(sale("ada", 3), 0),
    Message(b"junk", 0, key=b"k", headers=(("trace", b"1"),)),
    Message(sale("bob", 5), 1),
    Message(None, 1),
    Message(sale("ada", 4), 2),
]
"""Ten o'clock: with its run, this minute is final."""

LATER: Final = [
    Message(sale("ada", 10), 0),
    Message(sale("ada", 9, T0 + 60), 0),
    Message(b'{"seller_id": "ada"}', 0),
    Message(sale("eve", 1, T0 + 61), 0),
    Message(sale("cid", 7), 1),
    Message(sale("bob", -6, T0 + 119), 1),
    Message(None, 1),
    Message(sale("bob", 2), 1),
    Message(b"", 2),
    Message(sale("cid", 8, T0 + 60), 2),
    Message(sale("eve", 2, T0 + 60), 2),
    Message(sale("ada", 20), 2),
]
"""The next minute, with late events for the first: three batches, corrections, rejects, tombstones."""

RESULTS: Final = [
    (0, "ada", 37, 4, True, 2),
    (0, "bob", 7, 2, True, 2),
    (0, "cid", 7, 1, True, 1),
    (1, "ada", 9, 1, True, 1),
    (1, "bob", -6, 1, True, 1),
    (1, "cid", 8, 1, True, 1),
    (1, "eve", 3, 2, True, 1),
]

LATE: Final[dict[str, Any]] = {"partitions": 3, "max_records": 5}
"""What a world is made with."""

MESSAGES: Final = len(FIRST) + len(LATER)


def begin_late(world: World) -> World:
    """Make the first minute final, and send what comes after it."""
    world.send(*FIRST)
    world.run(0, "first")
    world.send(*LATER)
    return world


@pytest.fixture
def late(make_world: Callable[..., World]) -> World:
    """One minute is final, and three batches wait, with corrections to it; the run of minute 1 will read them."""
    return begin_late(make_world(**LATE))
