"""What each step of a run costs: claim, read, decode, compute, store, merge, send; for sales, logins and pairs.

`python -m benchmarks.steps` produces the input of each, and runs consume and publish in processes of their own, in
which the engine's functions are timed from outside (`benchmarks.steps_work`).
"""

import sys
from typing import Final

import msgspec
import numpy as np
from benchmarks.inputs import FIRST_S, PARTITIONS, SECONDS, SEED, SIZES, create_topic, produce_logins, produce_sales
from benchmarks.measuring import Figures, measured
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.reporting import Cell, Report, save, show
from benchmarks.steps_work import REST, STEPS, Taken
from confluent_kafka import Producer
from rich.console import Console

MESSAGES: Final = min(SIZES)
COLUMNS: Final = [
    "pipeline",
    "step",
    "wall s",
    "CPU s",
    "Postgres CPU s",
    "wall µs a message",
    "CPU µs a message",
    "Postgres µs a message",
    "memory at most MiB",
]
# What belongs to no step: the process' start with its imports, and PostgreSQL's processes behind the session.
OUTSIDE: Final = "imports, server"


def main() -> None:
    """Measure all three; show and keep what was found."""
    console, rows = Console(), list[list[Cell]]()
    with own_stack(console) as stack:
        produce_sales(stack.bootstrap, "sales", MESSAGES, console)
        produce_logins(stack.bootstrap, "logins", MESSAGES, console)
        _produce_numbers(stack.bootstrap, "pairs")
        for name in ("sales", "logins", "pairs"):
            with console.status(f"{name}: {MESSAGES:,} messages"):
                rows += _pipeline(stack, name)
    title = f"Steps: what {MESSAGES:,} messages in {PARTITIONS} partitions take in each"
    notes = [
        f'"{REST}": registration, the look at the topic, commits; "{OUTSIDE}": what no step can be charged with.',
        "Memory of a step: what the process had when one ended, shared pages too; that of all counts them once.",
    ]
    report = Report("steps", title, COLUMNS, rows, notes)
    show(report, console)
    save(report)


def _pipeline(stack: OwnStack, name: str) -> list[list[Cell]]:
    found = {step: Taken() for step in (*STEPS, REST)}
    whole = None
    for task in ("consume", "publish"):
        told, figures = measured([sys.executable, "-m", "benchmarks.steps_work", name, name, task], stack)
        whole = whole.then(figures) if whole else figures
        for step, taken in msgspec.convert(told["steps"], dict[str, Taken]).items():
            found[step] = _both(found[step], taken)
    assert whole is not None
    rows = [_row(name, step, taken) for step, taken in found.items()]
    return [*rows, _row(name, OUTSIDE, _outside(whole, found)), _row(name, "all", _all(whole))]


def _both(left: Taken, right: Taken) -> Taken:
    return Taken(
        left.wall_s + right.wall_s,
        left.cpu_s + right.cpu_s,
        left.postgres_cpu_s + right.postgres_cpu_s,
        max(left.peak_mib, right.peak_mib),
    )


def _outside(whole: Figures, found: dict[str, Taken]) -> Taken:
    inside = Taken()
    for taken in found.values():
        inside = _both(inside, taken)
    return Taken(
        whole.wall_s - inside.wall_s,
        whole.cpu_s - inside.cpu_s,
        whole.postgres_cpu_s - inside.postgres_cpu_s,
    )


def _all(whole: Figures) -> Taken:
    return Taken(whole.wall_s, whole.cpu_s, whole.postgres_cpu_s, whole.peak_mib)


def _row(name: str, step: str, taken: Taken) -> list[Cell]:
    each = (seconds / MESSAGES * 1e6 for seconds in (taken.wall_s, taken.cpu_s, taken.postgres_cpu_s))
    memory = taken.peak_mib or None
    return [name, step, taken.wall_s, taken.cpu_s, taken.postgres_cpu_s, *each, memory]


def _produce_numbers(bootstrap: str, topic: str) -> None:
    """Create a topic of numbers from 0 to 12."""
    create_topic(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000})
    numbers = np.random.default_rng(SEED).integers(0, 13, MESSAGES).tolist()
    for at, number in enumerate(numbers):
        at_ms = (FIRST_S + at * SECONDS // MESSAGES) * 1000
        producer.produce(topic, b'{"number": %d}' % number, b"%d" % (at % 100), at % PARTITIONS, timestamp=at_ms)
        while len(producer) > 1_000_000:
            producer.poll(0.01)
    left = producer.flush(60)
    assert not left, f"{left} messages for {topic} are not sent after a minute"


if __name__ == "__main__":
    main()
