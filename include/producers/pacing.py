"""When which event is due. Times are seconds since the first one."""

import math
from datetime import datetime, timedelta
from typing import Final

import msgspec

LAST_SECOND: Final = 27.0  # of a minute, for live producers: until half past, a run ends and the next one is due
# The shortest sleep: at higher rates several events are sent at a time. To wake for each of them costs three times as
# much, and more at the broker.
TICK_S: Final = 1.0


class Pace(msgspec.Struct, frozen=True):
    """How many events to send, and how fast."""

    total: int
    rate_per_second: float

    def due(self, elapsed_s: float, sent: int) -> int:
        """How many more are to be sent now. The first one is due at once."""
        return max(0, min(self.total, math.floor(elapsed_s * self.rate_per_second) + 1) - sent)

    def wait_s(self, elapsed_s: float, sent: int) -> float:
        """Seconds to sleep until the next one is due; a producer that wakes more often wastes CPU."""
        return max(TICK_S, sent / self.rate_per_second - elapsed_s)


def live(rate_per_second: float, now: datetime) -> Pace:
    """The pace of a run that works until shortly before the next one begins."""
    return steady(rate_per_second, seconds_left(now))


def steady(rate_per_second: float, seconds: float) -> Pace:
    """A pace that lasts some seconds, with at least one event."""
    return Pace(total=max(1, math.floor(rate_per_second * seconds)), rate_per_second=rate_per_second)


def seconds_left(now: datetime) -> float:
    """Seconds for which a live producer sends that begins now: until the next `LAST_SECOND`, at least one."""
    into = timedelta(seconds=now.second, microseconds=now.microsecond).total_seconds()
    left = LAST_SECOND - into
    return left if left >= 1 else left + 60
