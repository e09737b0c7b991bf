"""One task of one pipeline, and what each of its steps took: `python -m benchmarks.steps_work PIPELINE TOPIC TASK`.

The engine knows nothing of it: functions are wrapped here, from outside. A step that calls another one is not charged
for it. CPU is that of the whole process: what librdkafka's and DuckDB's threads do counts for the step that runs
meanwhile.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import psycopg
from benchmarks.contestants import microbatch_logins, microbatch_sales

from microbatch import Event, KafkaTopic, Pairs, Pipeline, PostgresTable
from microbatch import consume as consuming
from microbatch import publish as publishing
from microbatch.computing import Computation
from microbatch.decoding import Decoder
from microbatch.merging import Merge
from microbatch.pairing import PairEvents
from microbatch.reading import Reader
from microbatch.runs import Run
from microbatch.sending import Sender
from microbatch.settings import connections
from microbatch.storing import BatchStore
from microbatch.windows import Contributions

STEPS: Final = ("claim", "read", "decode", "compute", "store", "merge", "send")
REST: Final = "rest"
MIB: Final = 1024 * 1024


class Number(Event):
    """A number that looks for its partner."""

    number: int


def pairs(topic: str) -> Pipeline:
    """What pairs the numbers of a topic."""
    name = f"{topic}_pairs"
    return Pipeline(
        name=name,
        run_budget=timedelta(hours=1),
        source=KafkaTopic(topic, Number),
        outputs=[Pairs("number", sum=12, to=[PostgresTable(name), KafkaTopic(name)])],
    )


PIPELINES: Final[dict[str, Callable[[str], Pipeline]]] = {
    "sales": microbatch_sales.pipeline,
    "logins": microbatch_logins.pipeline,
    "pairs": pairs,
}


class Taken(msgspec.Struct):
    """What a step took, in seconds; and the most memory that the process had at the end of one, in MiB."""

    wall_s: float = 0
    cpu_s: float = 0
    postgres_cpu_s: float = 0
    peak_mib: float = 0


class Stopwatch:
    """Charges all that happens to the innermost step that is open, or else to the rest."""

    def __init__(self) -> None:
        self.taken = {name: Taken() for name in (*STEPS, REST)}
        self._open = [REST]
        self._backends: dict[int, float] = {}
        self._process = psutil.Process()
        self._at = self._now()

    def connected(self, pid: int) -> None:
        """Charge the CPU of this server process of PostgreSQL, too."""
        self._backends[pid] = 0.0
        self._at = self._now()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """While it is open, what happens is charged to this step."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def end(self) -> dict[str, Taken]:
        """What each step took."""
        self._charge()
        return self.taken

    def _charge(self) -> None:
        now, taken = self._now(), self.taken[self._open[-1]]
        taken.wall_s += now[0] - self._at[0]
        taken.cpu_s += now[1] - self._at[1]
        taken.postgres_cpu_s += now[2] - self._at[2]
        taken.peak_mib = max(taken.peak_mib, self._process.memory_info().rss / MIB)
        self._at = now

    def _now(self) -> tuple[float, float, float]:
        for pid in self._backends:
            with suppress(FileNotFoundError):  # it has ended: what it had taken stays
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._backends[pid] = (int(fields[11]) + int(fields[12])) / 100
        return time.monotonic(), time.process_time(), sum(self._backends.values())


def wrap(stopwatch: Stopwatch) -> None:
    """Have the engine's functions tell when they begin and end."""
    steps: dict[str, list[tuple[Any, str]]] = {
        "claim": [(consuming, "lock_batch"), (consuming, "plan"), (consuming, "claim")],
        "read": [(Reader, "read")],
        "decode": [(Decoder, "decode")],
        "compute": [
            *((Computation, name) for name in ("add", "flush", "decide", "rows_of")),
            *((Contributions, name) for name in ("rows", "windows")),
            *((PairEvents, name) for name in ("numbers", "pair", "pairs", "matched", "left")),
        ],
        "store": [(BatchStore, "add"), (BatchStore, "finish")],
        "merge": [(Merge, "merge")],
        "send": [(Sender, "send")],
    }
    for step, functions in steps.items():
        for owner, name in functions:
            setattr(owner, name, _wrapped(stopwatch, step, getattr(owner, name)))
    psycopg.connect = _connecting(stopwatch, psycopg.connect)


def _wrapped(stopwatch: Stopwatch, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **more: Any) -> Any:
        with stopwatch.step(step):
            found = function(*args, **more)
        return _timed(stopwatch, step, found) if isinstance(found, Iterator) else found

    return wrapper


def _timed(stopwatch: Stopwatch, step: str, items: Iterator[Any]) -> Iterator[Any]:
    """What a generator does belongs to the step; what is done with what it gives does not."""
    while True:
        with stopwatch.step(step):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def _connecting(stopwatch: Stopwatch, connect: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **more: Any) -> Any:
        connection = connect(*args, **more)
        stopwatch.connected(connection.info.backend_pid)
        return connection

    return wrapper


def main(pipeline: str, topic: str, task: str) -> None:
    """Run the task, and print what its steps took."""
    stopwatch = Stopwatch()
    wrap(stopwatch)
    made, run, there = PIPELINES[pipeline](topic), Run("bench", "bench"), connections()
    done = consuming.consume(made, 0, run, there) if task == "consume" else publishing.publish(made, run, there)
    print(json.dumps({"done": done.describe(), "steps": msgspec.to_builtins(stopwatch.end())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
