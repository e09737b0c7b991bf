"""When which message is due. Times are seconds since the first one."""

import math
from datetime import datetime, timedelta

import msgspec

LAST_SECOND = 57.0  # of a minute, for live producers: the rest is for the run's end and the start of the next
AT_ONCE = 1000  # messages between two looks at the clock, when there is no rate


class Pace(msgspec.Struct, frozen=True):
    """How many messages to send, and how fast.

    Attributes:
        total: how many in all.
        rate_per_second: None: as fast as Kafka takes them.
    """

    total: int
    rate_per_second: float | None = None

    def due(self, elapsed_s: float, sent: int) -> int:
        """How many more are to be sent now. The first one is due at once."""
        if self.rate_per_second is None:
            return min(self.total - sent, AT_ONCE)
        return max(0, min(self.total, math.floor(elapsed_s * self.rate_per_second) + 1) - sent)


def live(rate_per_second: float, now: datetime) -> Pace:
    """The pace of a run that works until shortly before the next one begins."""
    return steady(rate_per_second, seconds_left(now))


def steady(rate_per_second: float, seconds: float) -> Pace:
    """A pace that lasts some seconds, with at least one message."""
    return Pace(total=max(1, math.floor(rate_per_second * seconds)), rate_per_second=rate_per_second)


def seconds_left(now: datetime) -> float:
    """Seconds until the last second of this minute in which a live producer sends.

    A run that begins after it, or just before, works through the following minute.
    """
    into = timedelta(seconds=now.second, microseconds=now.microsecond).total_seconds()
    left = LAST_SECOND - into
    return left if left >= 1 else left + 60
