"""Stopped at every crash point: another process does the work, and the one that goes on does no harm.

The server's timeouts are shortened for the processes of these tests. The stories of all points are told at the
same time and judged one after the other, for most of each is waiting.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final

import msgspec
import pytest

from child import Outcome
from fix_child import Children, check, sessions, wait_for
from fix_late import MESSAGES, OF_A_TASK, RESULTS, at_once, visiting
from fix_pipeline import World
from fix_stack import Stack
from microbatch.crash import CrashPoint

SHORT: Final[dict[str, float]] = {"postgres.IDLE_IN_TRANSACTION_S": 4, "postgres.IDLE_SESSION_S": 6}
"""For the process that is stopped; long enough for its work on a busy machine."""
IMPATIENT: Final[dict[str, float]] = {"postgres.LOCK_PATIENCE_S": 1}
"""For the process that waits for its locks."""

UNLOCKED: Final[tuple[CrashPoint, ...]] = (
    "consume.before_register",
    "consume.after_register",
    "consume.after_commit",
    "consume.between_batches",
    "consume.before_run_completed",
)
"""Where a process holds no lock: another can work although its session lives."""


class Told(msgspec.Struct, frozen=True):
    """A story, told to its end.

    Attributes:
        other: how the process ended that did the work meanwhile.
        zombie: how the one ended that had been stopped, once it went on.
    """

    world: World
    other: Outcome
    zombie: Outcome


def tell(world: World, children: Children, point: CrashPoint) -> Told:
    """One process is stopped until the server has given it up and another has done the work, and then goes on."""
    run = visiting(world, children, point)
    zombie = children.start(world, run, crash=f"{point}:stop", constants=SHORT)
    zombie.wait_until_stopped()
    other = children.do(world, run, constants=IMPATIENT)
    wait_for("the server has ended the session of the stopped process", lambda: not sessions(world))
    zombie.go_on()
    return Told(world, other, zombie.outcome())


@pytest.fixture(scope="module")
def stories(stack: Stack, module_children: Children) -> Iterator[dict[CrashPoint, Future[Told]]]:
    """The story of each point, being told."""
    with at_once(stack, OF_A_TASK, lambda world, point: tell(world, module_children, point)) as told:
        yield told


@pytest.mark.parametrize("point", OF_A_TASK)
def test_a_process_stopped_at_any_point_does_no_harm_when_it_goes_on(
    stories: dict[CrashPoint, Future[Told]], point: CrashPoint
) -> None:
    told = stories[point].result()

    assert not told.other.error, told.other.text
    assert told.zombie.is_ours, f"{told.zombie.error}: {told.zombie.text}"
    assert told.world.results() == RESULTS
    assert check(told.world).messages == MESSAGES


@pytest.mark.parametrize("point", UNLOCKED)
def test_a_process_that_goes_on_with_a_living_session_finds_its_work_done(
    late: World, children: Children, point: CrashPoint
) -> None:
    run = late.run_of(1, "stopped")
    zombie = children.start(late, run, crash=f"{point}:stop")
    zombie.wait_until_stopped()
    children.succeed(late, run)

    zombie.go_on()

    assert not zombie.outcome().error
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES
