"""What the stories of `microbatch recover` have in common."""

import re
from typing import Final

import pytest

from fix_pipeline import World
from microbatch.crash import CRASH_POINTS
from microbatch.errors import CursorUnexplainedError, TerminalError
from outside import published

WHY: Final = ("--yes", "--reason", "we know of it")
POINTS: Final = [point for point in CRASH_POINTS if point.startswith("recover.")]


def stopped(world: World, error: type[TerminalError] = CursorUnexplainedError, minute: int = 1) -> list[str]:
    """A run that stops with an error; the command that its text names, in words."""
    with pytest.raises(error) as raised:
        world.run(minute)
    (named,) = re.findall(r"`microbatch ([^`]+)`", str(raised.value))
    assert isinstance(named, str)
    return named.split()


def revisions(world: World, seller: str) -> list[tuple[int, int]]:
    """Amount and revision of what was published for a seller's minute of ten o'clock, in its order."""
    return [
        (value["amount_usd"], value["revision"])
        for value in published(world)
        if (value["seller_id"], value["window_start"]) == (seller, "2026-11-21T10:00:00Z")
    ]
