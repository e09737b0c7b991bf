"""What is killed and stopped, where and in which order: a function of the seed."""

import itertools
import random
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from microbatch.crash import CRASH_POINTS, CrashPoint

Victim = Literal["process", "kafka", "postgres", "airflow scheduler", "airflow task"]
Signal = Literal["kill", "stop"]
SIGNALS: Final[tuple[Signal, ...]] = ("kill", "stop")

POINTS: Final[tuple[CrashPoint, ...]] = tuple(
    point for point in CRASH_POINTS if not point.startswith(("recover.", "rename.", "rebuild.", "fold."))
)
"""Points that tasks visit. Nobody renames a pipeline in the middle of it; test_renaming.py kills that."""
ANY_TIME: Final = "at any time"

_OF_WINDOWS: Final[tuple[CrashPoint, ...]] = ("consume.inside_copy",)
_WITHOUT_WINDOWS: Final = ("number_pairs",)
# One of so many blows hits this server.
_ONE_IN: Final[dict[Victim, int]] = {"kafka": 20, "postgres": 20, "airflow scheduler": 40, "airflow task": 30}
_OF_AIRFLOW: Final[tuple[Victim, ...]] = ("airflow scheduler", "airflow task")


class Blow(msgspec.Struct, frozen=True, kw_only=True):
    """One SIGKILL or SIGSTOP.

    Attributes:
        victim: a process that runs a pipeline, or a server.
        signal: which one.
        after: blows against processes that come before this one, if it is against a server.
        pipeline: whose process.
        point: where; empty: at any time.
        moment: when, as a share of the time that a run takes or that something is looked for.
        stopped_s: for how long a server stands.
        batches: how many the process makes of its messages, about.
        retry: its run is tried again until it succeeds; otherwise the next run goes on.
        meanwhile: what was stopped goes on while another process works, not after it.
    """

    victim: Victim
    signal: Signal
    after: int = 0
    pipeline: str = ""
    point: CrashPoint | Literal[""] = ""
    moment: float = 0
    stopped_s: float = 0
    batches: int = 1
    retry: bool = False
    meanwhile: bool = False

    @property
    def step(self) -> str:
        """What the report calls it."""
        return (self.point or ANY_TIME) if self.victim == "process" else self.victim

    @property
    def is_of_redo(self) -> bool:
        """Whether only a run that redoes batches visits its point."""
        return self.point.startswith("redo.")


def make(seed: int, blows: int, pipelines: tuple[str, ...], *, airflow: bool) -> list[Blow]:
    """The blows of a seed: those against processes come in this order, two thirds of them at a crash point."""
    chance = random.Random(seed)  # noqa: S311 - the same plan each time
    servers = {victim: max(1, blows // n) for victim, n in _ONE_IN.items() if airflow or victim not in _OF_AIRFLOW}
    processes = blows - sum(servers.values())
    whom = _forever(chance, pipelines)
    points: list[tuple[CrashPoint | Literal[""], Signal]] = list(itertools.islice(_points(chance), processes * 2 // 3))
    points += [("", chance.choice(SIGNALS)) for _ in range(processes - len(points))]
    chance.shuffle(points)
    return [
        *(_against_process(chance, whom, point, signal) for point, signal in points),
        *_against_servers(chance, servers, processes),
    ]


def _points(chance: random.Random) -> Iterator[tuple[CrashPoint, Signal]]:
    """Each point in turn, killed and stopped in turn: those hit least come first."""
    signals = {point: chance.randrange(2) for point in POINTS}
    while True:
        for point in chance.sample(POINTS, len(POINTS)):
            yield point, SIGNALS[signals[point]]
            signals[point] = 1 - signals[point]


def _forever(chance: random.Random, names: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))


def _against_process(
    chance: random.Random, whom: Iterator[str], point: CrashPoint | Literal[""], signal: Signal
) -> Blow:
    pipeline = next(name for name in whom if point not in _OF_WINDOWS or name not in _WITHOUT_WINDOWS)
    return Blow(
        victim="process",
        signal=signal,
        pipeline=pipeline,
        point=point,
        moment=chance.uniform(0, 0.95),
        batches=chance.choice([1, 2, 3]),
        retry=chance.random() < 0.5,
        meanwhile=chance.random() < 0.3,
    )


def _against_servers(chance: random.Random, servers: dict[Victim, int], processes: int) -> list[Blow]:
    """Spread evenly over the run, each server's kills and stops in turn, a kill first."""
    blows = [(victim, SIGNALS[n % 2]) for victim, count in servers.items() for n in range(count)]
    chance.shuffle(blows)
    return [
        Blow(
            victim=victim,
            signal=signal,
            after=(place + 1) * processes // (len(blows) + 1),
            moment=chance.random(),
            stopped_s=chance.uniform(0.5, 6),
        )
        for place, (victim, signal) in enumerate(blows)
    ]
