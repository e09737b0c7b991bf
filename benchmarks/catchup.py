"""Catch-up: what a run does after a downtime, with bounded memory, under its budget, and seen by its log.

`python -m benchmarks.catchup` produces sales and lets runs of the pipeline follow each other, as Airflow would start
them, until one has caught up; each is a process for consume and one for publish. The budget is shorter than by default
(5 minutes), so that there are several runs. The engine's log goes to the terminal as it comes.
"""

import json
import logging
import os
import sys
from datetime import timedelta
from typing import Any, Final

import msgspec
from benchmarks.checking import sums_in_table, sums_on_topic
from benchmarks.contestants.microbatch_sales import pipeline
from benchmarks.inputs import SIZES, produce_sales
from benchmarks.measuring import Figures, measured
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.reporting import Cell, Report, save, show, verdict
from rich.console import Console

from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import connections

BUDGET: Final = timedelta(seconds=5)
COLUMNS: Final = [
    "messages",
    "run",
    "read",
    "batches",
    "left",
    "wall s",
    "consume: CPU s",
    "consume: MiB",
    "publish: CPU s",
    "publish: MiB",
]


class Step(msgspec.Struct, frozen=True):
    """One run: what consume said, and what its two processes took."""

    said: dict[str, int]
    consumed: Figures
    published: Figures


def main() -> None:
    """Catch up with each size; show and keep what every run took."""
    console = Console()
    with own_stack(console) as stack:
        steps = {messages: _catch_up(stack, messages, console) for messages in SIZES}
    report = _report(steps)
    show(report, console)
    save(report)


def _catch_up(stack: OwnStack, messages: int, console: Console) -> list[Step]:
    """One run after another until nothing is left; then the results are checked."""
    topic = f"sales_{messages}"
    expected = produce_sales(stack.bootstrap, topic, messages, console)
    steps: list[Step] = []
    while not steps or steps[-1].said["left"]:
        console.print(f"{messages:,} messages, run {len(steps) + 1}")
        said, consumed = _task(stack, topic, "consume", len(steps))
        _, published = _task(stack, topic, "publish", len(steps))
        steps.append(Step(said, consumed, published))
    window = pipeline(topic).windows[0]
    assert window.table
    assert window.topic
    assert sums_in_table(stack, window.table) == expected, "wrong sums in the table"
    assert sums_on_topic(stack, window.topic.name) == expected, "wrong sums on the topic"
    return steps


def _task(stack: OwnStack, topic: str, task: str, number: int) -> tuple[Any, Figures]:
    command = [sys.executable, "-m", "benchmarks.catchup", task, str(number)]
    return measured(command, stack, BENCH_TOPIC=topic)


def _report(steps: dict[int, list[Step]]) -> Report:
    title = (
        f"Catch-up after a downtime: sales, runs with a budget of {BUDGET.total_seconds():.0f} s, batches of 1,000,000"
    )
    rows = [_row(messages, run, step) for messages, found in steps.items() for run, step in enumerate(found, 1)]
    peaks = {messages: _peak(found) for messages, found in steps.items()}
    few, many = min(peaks), max(peaks)
    bars = [
        verdict("peak memory, MiB", max(peaks.values()), 350.0),
        verdict(f"peak memory, {many:,} / {few:,}", max(peaks.values()) / min(peaks.values()), 1.1),
    ]
    return Report("catchup", title, COLUMNS, rows, bars)


def _row(messages: int, run: int, step: Step) -> list[Cell]:
    return [
        messages,
        run,
        *(step.said[name] for name in ("read", "batches", "left")),
        step.consumed.then(step.published).wall_s,
        step.consumed.total_cpu_s,
        step.consumed.peak_mib,
        step.published.total_cpu_s,
        step.published.peak_mib,
    ]


def _peak(steps: list[Step]) -> float:
    return max(step.consumed.then(step.published).peak_mib for step in steps)


def _work(task: str, number: str) -> None:
    """A process of one run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    made = msgspec.structs.replace(pipeline(os.environ["BENCH_TOPIC"]), run_budget=BUDGET)
    run, there = Run("bench", number), connections()
    if task == "consume":
        done = consume(made, 0, run, there)
        print(json.dumps({"read": done.messages, "batches": len(done.batches), "left": done.behind}))
    else:
        print(json.dumps(publish(made, run, there).describe()))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _work(*sys.argv[1:])
