"""Scale of the past: what claim and merge take with two years of minutes in the ledger, and with none.

Three worlds take turns, a minute of 40 messages each, so that what else the machine does touches all of them: one
without a past, one with two years of it, and one with the same past of which the planner has no statistics yet. A run
is what it is in production, with sessions of its own; only sending is left out.
"""

import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import psycopg
from benchmarks.own_stack import OwnStack
from benchmarks.past import Past, fill
from benchmarks.reporting import Cell, Report
from benchmarks.watching_sql import Statement, Watcher
from benchmarks.worlds import Sent, World, make_world, sale, send
from rich.console import Console
from rich.progress import track

from microbatch.consume import consume
from microbatch.merging import Merge, Merged
from microbatch.postgres import acquire, connect
from microbatch.runs import ConsumeSummary, Run
from microbatch.sql import queries

TWO_YEARS: Final = 2 * 365 * 1440
ROUNDS: Final = 60
MESSAGES: Final = 40
KEYS: Final = 4
PARTITIONS: Final = 4
BAR: Final = 1.5
# What stays free on the disk, and what a result takes there with its contribution, its history and their indexes.
LEFT_BYTES: Final = 30 * 1024**3
RESULT_BYTES: Final = 560
MOST_RESULTS: Final = 100_000_000
TOUCHED: Final = (1, 10, 100, 1_000)

# Four hours ago: Kafka's retention, which goes by timestamps, leaves what comes after it alone.
NOW: Final = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=4)

EMPTY: Final = "no past"
OLD: Final = "two years"
UNKNOWN: Final = "no statistics"
WORLDS: Final = (EMPTY, OLD, UNKNOWN)

_LEDGER: Final = queries("ledger")
CLAIM: Final = (
    *("lock_definition_shared", "definition_hash", "lock_shard"),
    *("highest_covered", "uncovered", "insert_batch", "insert_ranges"),
)
ADVANCE: Final = ("count_ranges", "finish_batch", "lock_progress", "advance_progress")


class Took(msgspec.Struct, frozen=True):
    """A run: the statements of its consume and of its merge, and the whole merge's seconds, its commit included."""

    consume: list[Statement]
    merge: list[Statement]
    merge_s: float


def ledger(stack: OwnStack, console: Console) -> list[Report]:
    """Four keys a minute: the bar of claim and merge."""
    return _compare(stack, console, "scale_ledger", KEYS, WORLDS)


def results(stack: OwnStack, console: Console) -> list[Report]:
    """As many keys a minute as the disk has room for, up to 100 million results."""
    room = (shutil.disk_usage(stack.home).free - LEFT_BYTES) // RESULT_BYTES
    return _compare(stack, console, "scale_results", min(room, MOST_RESULTS) // TWO_YEARS, (EMPTY, OLD))


def windows(stack: OwnStack, console: Console) -> list[Report]:
    """One late batch that touches many windows of the past."""
    worlds = _worlds(stack, console, KEYS, (OLD,))
    rows: list[list[Cell]] = []
    for minute, count in enumerate(TOUCHED):
        at = [NOW - timedelta(minutes=1 + number) for number in range(count)]
        send(worlds[OLD], _sales(at, KEYS * count, KEYS))
        read, merged, took = _run(worlds[OLD], NOW + timedelta(minutes=minute))
        (batch,) = read.batches
        if (read.messages, merged.revised[0].revisions) != (KEYS * count, KEYS * count):
            raise ValueError(f"{read.messages} messages, {merged.revised}")
        merge_cpu_s = sum(each.cpu_s for each in took.merge)
        rows.append(
            [count, merged.revised[0].revisions, *(1e3 * s for s in (batch.seconds, took.merge_s, merge_cpu_s))]
        )
    columns = ["windows", "corrections", "batch ms", "merge ms", "merge CPU ms of the server"]
    return [Report("scale_windows", "One batch that touches windows of two years, 4 keys each", columns, rows)]


# -- worlds ----------------------------------------------------------------------------------------------------------


def _worlds(stack: OwnStack, console: Console, keys: int, wanted: Iterable[str]) -> dict[str, World]:
    """Worlds whose past ends now."""
    with psycopg.connect(stack.superuser("postgres"), autocommit=True) as server:
        # It would make statistics at some moment of its own.
        server.execute("alter system set autovacuum = off")
        server.execute("select pg_reload_conf()")
        made = {}
        if EMPTY in wanted:
            made[EMPTY] = make_world(stack, "empty")
        made[OLD] = old = make_world(stack, "old")
        # A message for each offset of the past.
        past_ms = int(NOW.timestamp()) * 1000
        send(old, (Sent(p, b"", past_ms) for _ in range(TWO_YEARS) for p in range(PARTITIONS)))
        with psycopg.connect(stack.superuser("old"), autocommit=True) as superuser:
            fill(superuser, _past(old, keys), console.print)
        if UNKNOWN in wanted:
            console.print("copying it")
            server.execute("create database unknown template old owner microbatch")
            there = msgspec.structs.replace(
                old.connections, postgres=old.connections.postgres.replace("dbname=old", "dbname=unknown")
            )
            made[UNKNOWN] = msgspec.structs.replace(old, connections=there)
    console.print("making statistics")
    for database in ("empty", "old"):
        if database != "empty" or EMPTY in wanted:
            with psycopg.connect(stack.superuser(database), autocommit=True) as superuser:
                superuser.execute("vacuum analyze")
    return {name: made[name] for name in wanted}


def _past(world: World, keys: int) -> Past:
    ours = world.registration
    return Past(
        pipeline_id=ours.pipeline_id,
        topic=world.pipeline.source.name,
        topic_id=ours.topic_id,
        definition_hash=ours.definition_hash,
        first=NOW - timedelta(minutes=TWO_YEARS),
        minutes=TWO_YEARS,
        keys=keys,
        partitions=PARTITIONS,
        offsets=1,
    )


# -- a run -----------------------------------------------------------------------------------------------------------


def _sales(minutes: list[datetime], count: int, keys: int) -> Iterable[Sent]:
    """Sales of each key in each minute in turn; they reach Kafka now."""
    arrived_ms = int(NOW.timestamp()) * 1000
    for number in range(count):
        at_s = int(minutes[number // keys % len(minutes)].timestamp())
        yield Sent(number % PARTITIONS, sale(number % keys + 1, number, at_s), max(arrived_ms, at_s * 1000))


def _run(world: World, minute: datetime, *, explain: bool = False) -> tuple[ConsumeSummary, Merged, Took]:
    """The run of a minute."""
    run = Run("sales", f"run {minute}", interval=(minute, minute + timedelta(minutes=1)))
    reading = Watcher(world.pipeline, explain=explain)
    with reading.watching():
        read = consume(world.pipeline, 0, run, world.connections)
    merging = Watcher(world.pipeline, explain=explain)
    pipeline_id = world.registration.pipeline_id
    with connect(world.connections.postgres, "benchmark") as connection:
        with connection.transaction():
            acquire(connection, _LEDGER["lock_publish"], {"pipeline_id": pipeline_id}, pipeline_id)
        merge = Merge(connection, world.pipeline, world.registration, run)
        began_s = time.perf_counter()
        with merging.watching():
            merged = merge.merge()
        merge_s = time.perf_counter() - began_s
        connection.execute("delete from microbatch.outbox_segment")  # as if it had been sent
    return read, merged, Took(reading.statements, merging.statements, merge_s)


def _compare(stack: OwnStack, console: Console, name: str, keys: int, wanted: Sequence[str]) -> list[Report]:
    worlds = _worlds(stack, console, keys, wanted)
    took = defaultdict(list)
    for number in track(range(ROUNDS), "minutes", console=console):
        for world, each in _minute(worlds, number, keys).items():
            took[world].append(each)
    pages = _minute(worlds, ROUNDS, keys, explain=True)
    past = f"{TWO_YEARS:,} batches and {keys * TWO_YEARS:,} results"
    return [
        _summary(name, f"Claim and merge beside {past}: medians of {ROUNDS} runs", took),
        _statements(f"{name}_statements", f"Their statements beside {past}", took, pages),
    ]


def _minute(worlds: dict[str, World], number: int, keys: int, *, explain: bool = False) -> dict[str, Took]:
    """The same run in each world."""
    minute, count = NOW + timedelta(minutes=number), max(MESSAGES, keys)
    for source in (EMPTY, OLD):  # the last world reads the source of the one that it was copied from
        send(worlds[source], _sales([minute], count, keys))
    found = {}
    for name, world in worlds.items():
        read, merged, found[name] = _run(world, minute, explain=explain)
        if (read.messages, merged.revised[0].revisions) != (count, keys):
            raise ValueError(f"{name}: {read.messages} messages, {merged.revised}")
    return found


# -- tables ----------------------------------------------------------------------------------------------------------

Runs = Mapping[str, Sequence[Took]]


def _summary(name: str, title: str, took: Runs) -> Report:
    """Claim and merge, in milliseconds, and the bar."""
    rows: list[list[Cell]] = []
    notes, others = [], [world for world in took if world != EMPTY]
    for part, figure in _FIGURES.items():
        medians = {world: 1e3 * statistics.median(map(figure, runs)) for world, runs in took.items()}
        ratios = [medians[world] / medians[EMPTY] for world in others]
        rows.append([part, *medians.values(), *ratios])
        word = "held" if ratios[0] <= BAR else "not held"
        notes.append(f"{part}: {ratios[0]:.2f} times what it takes without a past, at most {BAR}: {word}")
    columns = ["ms", *took, *(f"{world} / {EMPTY}" for world in others)]
    return Report(name, title, columns, rows, notes)


def _of(statements: Sequence[Statement], names: Sequence[str] | None, field: str) -> float:
    """Seconds of some statements; None: of all."""
    return float(sum(getattr(each, field) for each in statements if names is None or each.name in names))


_FIGURES: Final[dict[str, Callable[[Took], float]]] = {
    "claim: time": lambda took: _of(took.consume, CLAIM, "wall_s"),
    "claim: CPU of the server": lambda took: _of(took.consume, CLAIM, "cpu_s"),
    "advance: time": lambda took: _of(took.consume, ADVANCE, "wall_s"),
    "advance: CPU of the server": lambda took: _of(took.consume, ADVANCE, "cpu_s"),
    "merge: time, with its commit": lambda took: took.merge_s,
    "merge: CPU of the server": lambda took: _of(took.merge, None, "cpu_s"),
}


def _statements(name: str, title: str, took: Runs, pages: Mapping[str, Took]) -> Report:
    """CPU and pages of each statement."""
    rows = []
    for task in ("consume", "merge"):
        for statement in dict.fromkeys(each.name for each in getattr(took[OLD][0], task)):
            row: list[Cell] = [task, statement]
            for world in took:
                runs = [_of(getattr(each, task), [statement], "cpu_s") for each in took[world]]
                read = [each.pages for each in getattr(pages[world], task) if each.name == statement]
                row += [1e3 * statistics.median(runs), None if None in read else sum(read)]
            rows.append(row)
    columns = [f"{what}, {world}" for world in took for what in ("CPU ms", "pages")]
    return Report(name, title, ["task", "statement", *columns], rows)
