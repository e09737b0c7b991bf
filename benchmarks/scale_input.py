"""Scale of the input: shards, partitions, and keys in a window. Whole runs, consume and publish as processes."""

import sys
import time
from typing import Final

import msgspec
from benchmarks.measuring import Figures, measured
from benchmarks.own_stack import OwnStack
from benchmarks.reporting import Report
from benchmarks.worlds import Sent, World, make_world, sale, send
from rich.console import Console

SHARDS: Final = (1, 2, 4)
PARTITIONS: Final = (4, 16, 64)
KEYS: Final = (4, 1_000, 100_000, 1_000_000)
MESSAGES: Final = 2_000_000
MINUTES: Final = 10
# An hour ago: Kafka's retention, which goes by timestamps, leaves it alone.
FIRST_S: Final = int(time.time()) // 60 * 60 - 3600


class Case(msgspec.Struct, frozen=True):
    """An input, and how it is worked on.

    Attributes:
        name: of the database and in the names of topics.
        partitions: of the source.
        shards: processes of consume.
        keys: sellers; one after the other, so that each has as many sales.
        minutes: over which the messages are spread evenly.
    """

    name: str
    partitions: int = 4
    shards: int = 1
    keys: int = 4
    minutes: int = MINUTES


class Found(msgspec.Struct, frozen=True):
    """What a case took."""

    results: int
    consume: Figures
    publish: Figures


def shards(stack: OwnStack, console: Console) -> list[Report]:
    """Shards on the processors that there are."""
    cases = [Case(f"shards_{count}", shards=count) for count in SHARDS]
    rows = [[case.shards, *_cells(_run(stack, console, case))] for case in cases]
    return [Report("scale_shards", f"{MESSAGES:,} messages in 4 partitions, by shards", ["shards", *_COLUMNS], rows)]


def partitions(stack: OwnStack, console: Console) -> list[Report]:
    """Partitions of the source."""
    cases = [Case(f"partitions_{count}", partitions=count) for count in PARTITIONS]
    rows = [[case.partitions, *_cells(_run(stack, console, case))] for case in cases]
    return [
        Report(
            "scale_partitions", f"{MESSAGES:,} messages in one shard, by partitions", ["partitions", *_COLUMNS], rows
        )
    ]


def keys(stack: OwnStack, console: Console) -> list[Report]:
    """Keys in a window."""
    cases = [Case(f"keys_{count}", keys=count, minutes=1) for count in KEYS]
    rows = [[case.keys, *_cells(_run(stack, console, case))] for case in cases]
    title = f"{MESSAGES:,} messages of one minute in 4 partitions, by keys"
    return [Report("scale_keys", title, ["keys", *_COLUMNS], rows)]


_COLUMNS: Final = [
    "results",
    "consume: wall s",
    "CPU s",
    "Postgres CPU s",
    "peak MiB",
    "publish: wall s",
    "CPU s ",
    "Postgres CPU s ",
    "peak MiB ",
]


def _cells(found: Found) -> list[str | int | float | None]:
    figures = [each for task in (found.consume, found.publish) for each in msgspec.structs.astuple(task)]
    return [found.results, *figures]


def _run(stack: OwnStack, console: Console, case: Case) -> Found:
    world = make_world(stack, case.name, case.partitions)
    console.print(f"{case.name}: producing")
    expected = _produce(world, case)
    console.print(f"{case.name}: consume")
    consumed = _measured("consume", stack, world, case, MESSAGES)
    console.print(f"{case.name}: publish")
    published = _measured("publish", stack, world, case, case.keys * case.minutes)
    (found,) = world.query("select sum(amount_usd)::bigint, sum(sales)::bigint, count(*) from sales")
    if found != (expected, MESSAGES, case.keys * case.minutes):
        raise ValueError(f"{case.name}: found {found}, not {expected}")
    return Found(case.keys * case.minutes, consumed, published)


def _produce(world: World, case: Case) -> int:
    """Send the input; returns the sum of all amounts."""
    total = 0

    def message(number: int) -> Sent:
        nonlocal total
        seller, amount, minute = number % case.keys, number % 997, number * case.minutes // MESSAGES
        total += amount
        at_s = FIRST_S + 60 * minute + number % 60
        return Sent(number % case.partitions, sale(seller, amount, at_s), at_s * 1000)

    send(world, map(message, range(MESSAGES)))
    return total


def _measured(task: str, stack: OwnStack, world: World, case: Case, expected: int) -> Figures:
    command = [sys.executable, "-m", "benchmarks.scale_work", task, case.name, str(case.partitions), str(case.shards)]
    found, figures = measured(command, stack, **world.environment)
    if found != expected:
        raise ValueError(f"{case.name}: {task} had {found} messages, not {expected}")
    return figures
