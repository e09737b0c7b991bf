"""What a pipeline more costs a minute: the live stack with a few small pipelines, and with many.

    python -m benchmarks.many [MINUTES]

Makes a DAG file for each, starts a stack of its own with them, and lets some run, then all. Each gets a message a
second. CPU seconds are those of whole process trees, see cpu.py, for each run that has ended meanwhile: on a machine
that is busy, fewer end. What the second measurement has more, divided by the runs that it has more, is what a run of
two tasks costs; the rest is what a stack costs that runs nothing.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from benchmarks.cpu import MEASURING, READERS, Measured, Meter
from benchmarks.reporting import Cell, Report, save, show
from confluent_kafka import Producer
from rich.console import Console

from local import airflow_services, stack
from local.airflow_api import AirflowApi
from local.ports import random_free

FEW: Final = 5
MANY: Final = 30
MINUTES: Final = 3.0
LOOK_S: Final = 0.5
WARM_S: Final = 60.0
PATIENCE_S: Final = 240.0
TASKS: Final = "tasks"
FILE: Final = '''"""One of many small pipelines."""

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Sum, TumblingWindow
from microbatch.airflow import as_dag, every_minute


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    at: EpochSeconds


pipeline = Pipeline(
    name="{name}",
    source=KafkaTopic("{name}", Sale, event_time="at", partitions=1),
    outputs=[
        TumblingWindow(
            "1 minute",
            by=["seller_id"],
            measures={{"amount_usd": Sum("amount_usd"), "sales": Count()}},
            to=[PostgresTable("{name}"), KafkaTopic("{name}-results", partitions=1)],
        ),
    ],
)

dag = as_dag(pipeline, schedule=every_minute)
'''


class Cost(msgspec.Struct, frozen=True):
    """CPU seconds by kind of process, runs that ended, and minutes."""

    by_kind: dict[str, float]
    runs: float
    minutes: float


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many")
    parser.add_argument("minutes", nargs="?", type=float, default=MINUTES)
    minutes = parser.parse_args().minutes
    console = Console()
    names = [f"many_{number:02}" for number in range(MANY)]
    with _stack(names, console) as running:
        api = AirflowApi(running.ports.airflow, running.credentials.airflow_admin)
        _unpause(api, names[:FEW])
        few = _measure(running, names, minutes, console)
        _unpause(api, names[FEW:])
        many = _measure(running, names, minutes, console)
    report = _report(few, many)
    show(report, console)
    save(report)


@contextmanager
def _stack(names: list[str], console: Console) -> Iterator[stack.Running]:
    """A stack of its own, whose DAGs are these; nothing of it is left."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    folder = home / "dags"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(FILE.format(name=name))
    airflow_services.DAGS = folder
    ports: set[int] = set()
    for component in ("KAFKA", "CONTROLLER", "POSTGRES", "AIRFLOW", "WEATHER"):
        ports.add(port := random_free(frozenset(ports)))
        os.environ[f"MICROBATCH_{component}_PORT"] = str(port)
    try:
        running = stack.up(home, console.print)
        stack.declare(running)
        yield running
    finally:
        stack.down(home, console.print)
        shutil.rmtree(home, ignore_errors=True)


def _unpause(api: AirflowApi, names: list[str]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while missing := set(names) - {dag.dag_id for dag in api.dags("microbatch")}:
        assert time.monotonic() < deadline_s, f"Airflow has not read {sorted(missing)}: {api.import_errors()}"
        time.sleep(LOOK_S)
    for name in names:
        api.unpause(name)


def _measure(running: stack.Running, names: list[str], minutes: float, console: Console) -> Cost:
    """What the stack takes, once the first runs are over."""
    producer = Producer({"bootstrap.servers": stack.addresses(running)["KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0})
    with console.status("the first runs"):
        _feed(producer, names, WARM_S, None)
    meter = Meter(running)
    with console.status(f"measuring for {minutes:g} minutes"):
        _feed(producer, names, 60 * minutes, meter)
    return _cost(meter.measured(), minutes)


def _feed(producer: Producer, names: list[str], seconds: float, meter: Meter | None) -> None:
    """A message a second to each, and looks."""
    ends_s, next_s = time.monotonic() + seconds, 0.0
    while (now_s := time.monotonic()) < ends_s:
        if now_s >= next_s:
            at_s = int(datetime.now(UTC).timestamp())
            value = msgspec.json.encode({"seller_id": f"seller {at_s % 4}", "amount_usd": 1, "at": at_s})
            for name in names:
                producer.produce(name, value)
            producer.flush(10)
            next_s = now_s + 1
        if meter is not None:
            meter.look()
        time.sleep(LOOK_S)


def _cost(measured: Measured, minutes: float) -> Cost:
    by_kind: defaultdict[str, float] = defaultdict(float)
    for row in measured.rows:
        if row.kind not in (MEASURING, READERS):
            by_kind[TASKS if row.kind.startswith("task ") else row.kind] += row.cpu_s
    runs = sum(row.ended for row in measured.rows if row.kind.endswith(".publish"))
    return Cost(dict(by_kind), runs, minutes)


def _report(few: Cost, many: Cost) -> Report:
    kinds = sorted(few.by_kind.keys() | many.by_kind.keys(), key=lambda kind: -many.by_kind.get(kind, 0.0))
    costs = [(kind, few.by_kind.get(kind, 0.0), many.by_kind.get(kind, 0.0)) for kind in kinds]
    sums = ("the stack", sum(few.by_kind.values()), sum(many.by_kind.values()))
    rows: list[list[Cell]] = [_line(few, many, *cost) for cost in (*costs, sums)]
    rows.append(["runs that ended, a minute", few.runs / few.minutes, many.runs / many.minutes, None, None])
    columns = ["processes", f"{FEW} pipelines", f"{MANY} pipelines", "a run more", "without runs"]
    return Report("many", "CPU seconds a minute, by processes; and of each run of two tasks", columns, rows)


def _line(few: Cost, many: Cost, kind: str, few_s: float, many_s: float) -> list[Cell]:
    """By the line through both: what a run more costs, and what is left without runs."""
    runs_few, runs_many = few.runs / few.minutes, many.runs / many.minutes
    minute_few_s, minute_many_s = few_s / few.minutes, many_s / many.minutes
    run_s = (minute_many_s - minute_few_s) / (runs_many - runs_few)
    return [kind, minute_few_s, minute_many_s, run_s, minute_few_s - run_s * runs_few]


if __name__ == "__main__":
    main()
