"""The clock: the only place that knows the time."""

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import microbatch
from microbatch.clock import Clock

T = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class ByHand(Clock):
    """Moves when it sleeps, and only then."""

    def __init__(self) -> None:
        self.at = T
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


def test_waiting_sleeps_until_the_moment_and_says_once_how_long() -> None:
    clock, told = ByHand(), list[float]()

    clock.wait_until(T + timedelta(seconds=2.5), told.append)

    assert (told, clock.slept, clock.at) == ([2.5], [1.0, 1.0, 0.5], T + timedelta(seconds=2.5))


def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    clock, told = ByHand(), list[float]()

    clock.wait_until(T - timedelta(days=1), told.append)
    clock.wait_until(T, told.append)

    assert (told, clock.slept) == ([], [])


def test_a_clock_that_is_set_back_is_waited_for_again() -> None:
    class SetBack(ByHand):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds if self.slept else -60 + seconds)

    clock = SetBack()
    clock.wait_until(T + timedelta(seconds=1), lambda _: None)

    assert clock.now() >= T + timedelta(seconds=1)


def test_the_time_is_aware_and_in_utc() -> None:
    now = Clock().now()

    assert now.tzinfo is UTC
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60


def test_nothing_else_in_the_core_reads_the_time_of_day() -> None:
    """`monotonic`, for deadlines on Kafka's answers, is not the time of day."""
    folder = Path(microbatch.__file__).parent
    found = {
        f"{file.name}: {ast.unparse(node)}"
        for file in folder.glob("*.py")
        if file.name != "clock.py" and not file.name.startswith(("cli", "airflow"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("now", "utcnow", "today", "time_ns")
        and not re.search(r"(\b|_)clock$|^Clock\(\)$", ast.unparse(node.func.value))
    }

    assert found == set()
