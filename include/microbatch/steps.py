"""How long each step of a piece of work took: read off at the end of each, at no cost for a message."""

from datetime import datetime, timedelta

import msgspec

from microbatch.clock import Clock


class Step(msgspec.Struct, frozen=True):
    """One step: its name, when it began (aware), and how long it took."""

    name: str
    start: datetime
    seconds: float

    @property
    def end(self) -> datetime:
        """When it ended."""
        return self.start + timedelta(seconds=self.seconds)


class Stopwatch:
    """Runs from when it is made; each step begins where the one before it ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.now()
        self._at_s = clock.monotonic_s()
        self.steps: list[Step] = []

    def lap(self, name: str) -> None:
        """The step of that name ends now."""
        now_s = self._clock.monotonic_s()
        step = Step(name, self._at, now_s - self._at_s)
        self.steps.append(step)
        self._at, self._at_s = step.end, now_s

    @property
    def seconds(self) -> float:
        """From the beginning to the end of the last step."""
        return sum(step.seconds for step in self.steps)
