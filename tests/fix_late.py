"""A world in which a run has everything to do: several batches, corrections to a final minute, rejects, tombstones."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

import pytest

from fix_child import Children
from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack
from microbatch.crash import CRASH_POINTS, CrashPoint
from microbatch.runs import Run

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

OF_A_TASK: Final = [
    point for point in CRASH_POINTS if not point.startswith(("recover.", "rename.", "fold.", "rebuild."))
]
"""Points of runs; test_renaming.py, test_recover.py, test_folding.py and test_rebuild.py have the others."""

Name = TypeVar("Name")
Told = TypeVar("Told")


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


def visiting(world: World, children: Children, point: CrashPoint) -> Run:
    """Make a run visit the point; returns it."""
    run = world.run_of(1, "stopped")
    if point == "publish.before_settled":
        assert children.start(world, run, crash="publish.after_kafka_commit").died_by_kill()
    if point == "publish.before_renew":
        children.succeed(world, run)
        return world.run_of(2, "idle")
    if point.startswith("redo."):
        children.succeed(world, run)
        return Run("sales", "again", mode="reprocess", interval=world.run_of(0).interval)
    return run


def _begin_and_tell(tell: Callable[[World, Name], Told], world: World, name: Name) -> Told:
    return tell(begin_late(world), name)


@contextmanager
def at_once(
    stack: Stack, names: Iterable[Name], tell: Callable[[World, Name], Told], tellers: int = 6
) -> Iterator[dict[Name, Future[Told]]]:
    """Stories that are told at the same time, each in a world of its own: most of each is waiting.

    Args:
        stack: where they happen.
        names: what tells one from the other.
        tell: tells one, in a world that `begin_late` has prepared.
        tellers: how many are told at a time.
    """
    with ExitStack() as databases, ThreadPoolExecutor(tellers) as pool:
        worlds = {name: new_world(stack, databases.enter_context(new_database(stack)), **LATE) for name in names}
        yield {name: pool.submit(_begin_and_tell, tell, world, name) for name, world in worlds.items()}
        pool.shutdown(cancel_futures=True)
