"""The only place that reads the time. Everything else gets it as an argument, or from the database."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """The machine's clock; a test passes one of its own."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds that only grow, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def wait_until(self, moment: datetime, waiting: Callable[[float], None]) -> None:
        """Return once `now() >= moment`; `waiting` is told once how many seconds that will take."""
        left_s = (moment - self.now()).total_seconds()
        if left_s > 0:
            waiting(left_s)
        while left_s > 0:
            self.sleep(min(left_s, 1.0))
            left_s = (moment - self.now()).total_seconds()
