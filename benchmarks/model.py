"""A model of size: what a load takes, and what breaks first.

    python -m benchmarks.model --messages-per-second 20000 --pipelines 20 --keys 1000

It knows two things. How much there is of what (`Rows`: what a run leaves in the ledger, in the tables and on the
topics) follows from how the engine works, and a test compares it with what a real run has left. What one of it takes
(`Costs`, `Bytes`) was measured: each figure is a cell of a table in `benchmarks/measured`: those results that the
documentation shows, copied from `benchmarks/results`. docs/scaling.md has its tables from here.
"""

import argparse
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
from benchmarks.reporting import Cell, Report, show, shown
from rich.console import Console

Kind = Literal["windows", "stream", "pairs"]

MEASURED: Final = Path(__file__).with_name("measured")

LOT_MESSAGES: Final = 50_000
OF_A_TASK: Final = 3
"""Connections to PostgreSQL that a task has at the most."""
MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
YEAR_S: Final = 365 * DAY_S
FULL: Final = 0.7
"""How much of a processor, or of the time between two runs, is to be used at the most: the rest is for catching up."""
CONNECTIONS: Final = 100
"""`max_connections` of a PostgreSQL that nobody has configured."""
LINK_MIB_S: Final = 112.0
"""What a network of 1 Gbit/s carries."""
BROKER: Final = 4_000
"""Partitions of one broker: a rule of thumb, which we have not measured."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be carried.

    Attributes:
        messages_per_second: of all pipelines together.
        pipelines: that share them evenly, one topic and one output each.
        kind: what each of them does.
        message_bytes: of a value with its key.
        keys: in each window; all of them have messages all the time, in all partitions.
        window_s: length of a window.
        every_s: between two runs of a pipeline.
        corrected: the share of results that late messages correct, each once.
        partitions: of each topic.
        shards: of each pipeline.
        max_records: of a batch.
        keep_days: for how long contributions and batches are kept before they are folded.
    """

    messages_per_second: float = 1_000
    pipelines: int = 1
    kind: Kind = "windows"
    message_bytes: int = 200
    keys: int = 100
    window_s: float = 60
    every_s: float = 60
    corrected: float = 0.01
    partitions: int = 4
    shards: int = 1
    max_records: int = 1_000_000
    keep_days: float = 90

    @property
    def messages(self) -> float:
        """That a run of one pipeline reads."""
        return self.messages_per_second * self.every_s / self.pipelines

    @property
    def runs_per_minute(self) -> float:
        """Of all pipelines."""
        return self.pipelines * MINUTE_S / self.every_s


class Rows(msgspec.Struct, frozen=True):
    """What one run of one pipeline leaves, on average.

    Attributes:
        batches: rows of `microbatch.batch`.
        ranges: of `microbatch.offset_range`.
        runs: of `microbatch.run`.
        merges: of `microbatch.merge`.
        contributions: rows that batches add to windows and keys.
        results: rows of the table of results, or of the stream, or pairs.
        revisions: rows of the history: a result, and each correction of it.
        sent: messages on the topic.
        transactions: of Kafka.
    """

    batches: float
    ranges: float
    runs: float
    merges: float
    contributions: float
    results: float
    revisions: float
    sent: float
    transactions: float


def rows(load: Load) -> Rows:
    """What a run leaves.

    Each batch contributes once to each window and key that it meets. Two batches of a shard that follow each other meet
    in a window, also those of two runs: a run reads beyond its interval, by the grace.
    """
    batches = load.shards * max(1, math.ceil(load.messages / load.shards / load.max_records))
    windows = load.every_s / load.window_s
    if load.kind == "windows":
        results = load.keys * windows
        corrections = results * load.corrected
        contributions = min(load.messages, load.keys * (load.shards * windows + batches) + corrections)
        revisions = results + corrections
        sent = revisions
    else:
        results = load.messages / (2 if load.kind == "pairs" else 1)
        contributions, revisions, sent = 0.0, 0.0, results
    return Rows(
        batches=batches,
        ranges=load.partitions * batches / load.shards,
        runs=load.shards,
        merges=1,
        contributions=contributions,
        results=results,
        revisions=revisions,
        sent=sent,
        transactions=max(1, math.ceil(sent / LOT_MESSAGES)),
    )


class Costs(msgspec.Struct, frozen=True):
    """What one of it takes: CPU and time in µs.

    Attributes:
        message_us: CPU for a message, PostgreSQL's with it and Kafka's not.
        message_postgres_us: of it PostgreSQL's.
        message_consume_us: time of one shard's consume for it.
        message_publish_us: time of publish for it, if it is sent on.
        contribution_us: CPU for a contribution.
        contribution_postgres_us: of it PostgreSQL's.
        contribution_consume_us: time of one shard's consume for it.
        result_us: CPU for a result, its revision and its message.
        result_postgres_us: of it PostgreSQL's.
        result_publish_us: time of publish for it.
        run_us: CPU for a run of two tasks with few messages, with all that Airflow, PostgreSQL and Kafka do for it.
        task_us: CPU for one more task, as each further shard is.
        scheduler_us: of the run the scheduler's own, a core of which is one scheduler's limit.
        stack_us: CPU a minute of a stack without runs.
        task_s: from the moment at which a task may start to its end, with few messages.
    """

    message_us: float
    message_postgres_us: float
    message_consume_us: float
    message_publish_us: float
    contribution_us: float
    contribution_postgres_us: float
    contribution_consume_us: float
    result_us: float
    result_postgres_us: float
    result_publish_us: float
    run_us: float
    task_us: float
    scheduler_us: float
    stack_us: float
    task_s: float


class Bytes(msgspec.Struct, frozen=True):
    """Bytes in PostgreSQL of a row with its indexes, and of the write-ahead log."""

    batch: float
    offset_range: float
    run: float
    merge: float
    contribution: float
    result: float
    revision: float
    log_of_result: float
    log_of_run: float


@cache
def costs(kind: Kind) -> Costs:
    """As they were measured."""
    message_us, message_postgres_us = _message_us(kind)
    steps = [(_STEPS[kind], step) for step in ("claim", "read", "decode", "compute", "store")]
    scheduler_s = _cell("many", SCHEDULER, RUN_MORE)
    return Costs(
        message_us=message_us,
        message_postgres_us=message_postgres_us,
        message_consume_us=sum(_cell("steps", step, "wall µs a message") for step in steps),
        message_publish_us=0.0 if kind == "windows" else _cell("steps", (_STEPS[kind], "send"), "wall µs a message"),
        contribution_us=_of_a_key("CPU s", "Postgres CPU s"),
        contribution_postgres_us=_of_a_key("Postgres CPU s"),
        contribution_consume_us=_of_a_key("consume: wall s"),
        result_us=_of_a_key("CPU s ", "Postgres CPU s "),
        result_postgres_us=_of_a_key("Postgres CPU s "),
        result_publish_us=_of_a_key("publish: wall s"),
        run_us=1e6 * _cell("many", STACK, RUN_MORE),
        task_us=1e6 * _cell("many", STACK, RUN_MORE) / 2,
        scheduler_us=1e6 * scheduler_s,
        stack_us=1e6 * max(0.0, _cell("many", STACK, "without runs")),
        task_s=_cell("latency", ("the last of all", "its topics"), "median") / 2,
    )


@cache
def sizes() -> Bytes:
    """As they were measured."""
    return Bytes(
        batch=_cell("sizes_ledger", "microbatch.batch", A_ROW),
        offset_range=_cell("sizes_ledger", "microbatch.offset_range", A_ROW),
        run=_cell("sizes_ledger", "microbatch.run", A_ROW),
        merge=_cell("sizes_ledger", "microbatch.merge", A_ROW),
        contribution=_cell("sizes_ledger", "sales_contribution", A_ROW),
        result=_cell("sizes_ledger", "sales", A_ROW),
        revision=_cell("sizes_ledger", "sales_history", A_ROW),
        log_of_result=_cell("sizes", "a new result", "write-ahead log"),
        log_of_run=_cell("sizes", "a run of 40 messages and its 4 results", "write-ahead log"),
    )


STACK: Final = "the stack"
SCHEDULER: Final = "airflow-scheduler"
RUN_MORE: Final = "a run more"
_STEPS: Final[dict[Kind, str]] = {"windows": "sales", "stream": "logins", "pairs": "pairs"}
A_ROW: Final = "bytes a row"


def _message_us(kind: Kind) -> tuple[float, float]:
    """By the line through both sizes where there are two; for pairs a whole run, its start included."""
    postgres_us = _cell("steps", (_STEPS[kind], "all"), "Postgres µs a message")
    if kind == "windows":
        return _cell("throughput", ("microbatch", 10_000_000), "slope µs"), postgres_us
    if kind == "stream":
        few, many = (_cell("streams", ("microbatch", size), "CPU s") for size in (2_000_000, 10_000_000))
        return (many - few) / 8, postgres_us
    return _cell("steps", ("pairs", "all"), "CPU µs a message") + postgres_us, postgres_us


def _of_a_key(*columns: str) -> float:
    """µs of a result more: a million keys beside four, with as many messages."""
    return sum(_cell("scale_keys", 1_000_000, column) - _cell("scale_keys", 4, column) for column in columns)


def _cell(report: str, row: str | int | tuple[str | int, ...], column: str) -> float:
    """A figure of a result: of the row that begins so."""
    begins = list(row) if isinstance(row, tuple) else [row]
    table = _table(report)
    (found,) = [cells for cells in table.rows if cells[: len(begins)] == begins]
    value = found[table.columns.index(column)]
    assert isinstance(value, int | float), f"{report}: {row}, {column}: {value!r} is no number"
    return float(value)


@cache
def _table(report: str) -> Report:
    return msgspec.json.decode((MEASURED / f"{report}.json").read_bytes(), type=Report)


# -- what it comes to --------------------------------------------------------------------------------------


class Size(msgspec.Struct, frozen=True):
    """What a load takes.

    Attributes:
        consume_s: of each shard's task, a run.
        publish_s: of the publish task, a run.
        cpu_s: a minute, of everything but what Kafka does with the messages themselves.
        postgres_s: of it what PostgreSQL does for messages, contributions and results.
        scheduler_s: of it Airflow's scheduler.
        cores: for it, with room to catch up.
        slots: tasks at the same time, so that all pipelines have had their turn before the next.
        tasks_per_minute: of Airflow.
        results_per_second: written to PostgreSQL, corrections too.
        gib_per_year: that stay: results, their history, a contribution of each; or rows of a stream.
        gib_until_folded: besides, until `keep_days` have passed: batches, ranges, and the other contributions.
        log_mib_per_minute: write-ahead log, without the full pages after a checkpoint.
        kafka_transactions_per_minute: commits.
        kafka_mib_per_second: read from the sources.
    """

    consume_s: float
    publish_s: float
    cpu_s: float
    postgres_s: float
    scheduler_s: float
    cores: int
    slots: int
    tasks_per_minute: float
    results_per_second: float
    gib_per_year: float
    gib_until_folded: float
    log_mib_per_minute: float
    kafka_transactions_per_minute: float
    kafka_mib_per_second: float


ROW_BYTES: Final = 90
"""Of a row of a stream beside its columns: its key, the index of that, the header."""
_GIB: Final = 1024**3
_MIB: Final = 1024**2


def size(load: Load) -> Size:
    """What a load takes."""
    each, left, stored = costs(load.kind), rows(load), sizes()
    runs = load.runs_per_minute
    run_us = each.run_us + each.task_us * (load.shards - 1)
    computed_us = (
        load.messages * each.message_us + left.contributions * each.contribution_us + left.revisions * each.result_us
    )
    postgres_us = (
        load.messages * each.message_postgres_us
        + left.contributions * each.contribution_postgres_us
        + left.revisions * each.result_postgres_us
    )
    consumed_us = load.messages * each.message_consume_us + left.contributions * each.contribution_consume_us
    published_us = load.messages * each.message_publish_us + left.revisions * each.result_publish_us
    cpu_s = (each.stack_us + runs * (run_us + computed_us)) / 1e6
    consume_s = each.task_s + consumed_us / load.shards / 1e6
    publish_s = each.task_s + published_us / 1e6
    per_day = DAY_S / load.every_s * load.pipelines
    return Size(
        consume_s=consume_s,
        publish_s=publish_s,
        cpu_s=cpu_s,
        postgres_s=runs * postgres_us / 1e6,
        scheduler_s=runs * (each.scheduler_us + (load.shards - 1) * each.scheduler_us / 2) / 1e6,
        cores=max(1, math.ceil(cpu_s / MINUTE_S / FULL)),
        slots=math.ceil(load.pipelines * (load.shards * consume_s + publish_s) / (load.every_s * FULL)),
        tasks_per_minute=runs * (1 + load.shards),
        results_per_second=runs / MINUTE_S * (left.revisions or left.results),
        gib_per_year=365 * per_day * _stays(load, left, stored) / _GIB,
        gib_until_folded=load.keep_days * per_day * _folded(left, stored) / _GIB,
        log_mib_per_minute=runs * (stored.log_of_run + (left.revisions or left.results) * stored.log_of_result) / _MIB,
        kafka_transactions_per_minute=runs * left.transactions,
        kafka_mib_per_second=load.messages_per_second * load.message_bytes / _MIB,
    )


def _stays(load: Load, left: Rows, stored: Bytes) -> float:
    """Bytes of a run that nothing but pruning takes away."""
    if load.kind != "windows":
        return left.results * (load.message_bytes + ROW_BYTES)
    return left.results * (stored.result + stored.contribution) + left.revisions * stored.revision


def _folded(left: Rows, stored: Bytes) -> float:
    """Bytes of a run that folding takes away: of a day's contributions to a result, one is left."""
    ledger = left.batches * stored.batch + left.ranges * stored.offset_range
    records = left.runs * stored.run + left.merges * stored.merge
    return ledger + records + max(0.0, left.contributions - left.results) * stored.contribution


# -- what breaks first -------------------------------------------------------------------------------------


class Limit(msgspec.Struct, frozen=True):
    """Something that can be used up.

    Attributes:
        name: what it is.
        used: how much of it the load takes; 1 is all that there should be taken.
        remedy: what gives more of it.
    """

    name: str
    used: float
    remedy: str


def limits(load: Load) -> list[Limit]:
    """What is used up, the most first. More than 1: this load does not fit as it is."""
    found = size(load)
    minute_s = MINUTE_S * FULL
    topics = 3  # the source, the output, the dead letters
    named = [
        Limit("time between two runs", (found.consume_s + found.publish_s) / (load.every_s * FULL), _longest(found)),
        Limit(
            "one scheduler", found.scheduler_s / minute_s, "longer schedules, more outputs a pipeline, more Airflows"
        ),
        Limit("one core of PostgreSQL", found.postgres_s / minute_s, "more cores; fewer keys or batches; more servers"),
        Limit(f"{CONNECTIONS} connections", found.slots * OF_A_TASK / CONNECTIONS, "`max_connections`; fewer slots"),
        Limit("a network of 1 Gbit/s", found.kafka_mib_per_second / LINK_MIB_S, "compression; more workers"),
        Limit(
            f"{BROKER:,} partitions a broker",
            load.pipelines * load.partitions * topics / BROKER,
            "fewer partitions a topic; more brokers",
        ),
        Limit("partitions for the shards", load.shards / load.partitions, "more partitions"),
    ]
    return sorted(named, key=lambda limit: -limit.used)


def _longest(found: Size) -> str:
    if found.consume_s > found.publish_s:
        return "more shards on more cores; larger batches"
    return "more pipelines, each over a part of the keys"


# -- tables ------------------------------------------------------------------------------------------------

A_MILLION: Final = Load(messages_per_second=1_000_000, keys=1_000, partitions=16, shards=4)
A_MILLION_KEYS: Final = Load(messages_per_second=1_000_000, keys=100_000, partitions=16, shards=4)
TEN_THOUSAND: Final = Load(messages_per_second=10_000, pipelines=10_000, keys=4)


def core_table() -> Report:
    """What one core carries, and where one shard and one publish end."""
    lines: list[list[Cell]] = []
    for kind in get_args(Kind):
        each = costs(kind)
        published = _two(FULL * 1e6 / each.message_publish_us) if each.message_publish_us else "by results"
        shard = carried(Load(kind=kind), "messages_per_second", 1e8)
        lines.append([kind, each.message_us, _two(FULL * 1e6 / each.message_us), shard, published])
    result = costs("windows")
    lines.append(
        [
            "results of windows",
            result.result_us + result.contribution_us,
            _two(FULL * 1e6 / (result.result_us + result.contribution_us)),
            _two(FULL * 1e6 / result.contribution_consume_us),
            _two(FULL * 1e6 / result.result_publish_us),
        ]
    )
    columns = ["messages of", "CPU µs each", "a second, one core", "one shard", "one publish"]
    return Report("core", "What one core and one shard carry", columns, lines)


def carried(load: Load, name: str, most: float) -> int:
    """The most of one figure of a load that still fits between two runs, up to a bound; two digits."""
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        found = size(msgspec.structs.replace(load, **{name: middle}))
        fits = found.consume_s + found.publish_s <= load.every_s * FULL
        low, high = (middle, high) if fits else (low, middle)
    return _two(low)


def _two(value: float) -> int:
    """Two digits are as many as a plan is worth."""
    return int(float(f"{value:.2g}"))


LOADS: Final = {
    "1,000/s, 1 pipeline, 100 keys": Load(),
    "10,000/s, 20 pipelines, 100 keys": Load(messages_per_second=10_000, pipelines=20),
    "100,000/s, 1 pipeline, 1,000 keys": Load(messages_per_second=100_000, keys=1_000),
    "100,000/s, 1 pipeline, 100,000 keys": Load(messages_per_second=100_000, keys=100_000),
    "10,000/s as rows, 1 pipeline": Load(messages_per_second=10_000, kind="stream"),
    "1,000,000/s, 4 shards, 1,000 keys": A_MILLION,
    "1,000,000/s, 4 shards, 100,000 keys": A_MILLION_KEYS,
    "the same in batches of 20,000,000": msgspec.structs.replace(A_MILLION_KEYS, max_records=20_000_000),
    "10,000/s, 10,000 pipelines, 4 keys": TEN_THOUSAND,
    "the same, every ten minutes": msgspec.structs.replace(TEN_THOUSAND, every_s=600),
}

_SHOWN: Final[dict[str, Callable[[Size], Cell]]] = {
    "CPU s/min": lambda found: found.cpu_s,
    "cores": lambda found: found.cores,
    "consume s": lambda found: found.consume_s,
    "publish s": lambda found: found.publish_s,
    "results/s": lambda found: found.results_per_second,
    "GiB/year": lambda found: found.gib_per_year,
    "GiB until folded": lambda found: found.gib_until_folded,
    "log MiB/min": lambda found: found.log_mib_per_minute,
}


def loads_table() -> Report:
    """Some loads."""
    lines: list[list[Cell]] = [[name, *(cell(size(load)) for cell in _SHOWN.values())] for name, load in LOADS.items()]
    return Report("loads", "What loads take", ["load", *_SHOWN], lines)


_LARGE: Final = {
    "1,000,000/s, 1,000 keys": A_MILLION,
    "1,000,000/s, 100,000 keys": A_MILLION_KEYS,
    "10,000 pipelines": TEN_THOUSAND,
}


def first_table() -> Report:
    """What the largest ones break first."""
    lines: list[list[Cell]] = [
        [name, limit.name, limit.used, limit.remedy] for name, load in _LARGE.items() for limit in limits(load)[:4]
    ]
    return Report("first", "What breaks first", ["load", "limit", "used", "what gives more"], lines)


TABLES: Final[tuple[Callable[[], Report], ...]] = (
    core_table,
    loads_table,
    first_table,
    *(partial(_table, name) for name in ("many", "sizes", "sizes_ledger")),
)
"""All tables of docs/scaling.md."""


def markdown(report: Report) -> str:
    """A table as the page has it."""
    lines = [report.columns, ["---"] * len(report.columns), *([shown(cell) for cell in line] for line in report.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- by hand -----------------------------------------------------------------------------------------------


def main() -> None:
    """Show what the load that is asked for takes, and what of it breaks first."""
    load = _asked()
    figures = msgspec.structs.asdict(size(load)).items()
    takes: list[list[Cell]] = [[name.replace("_", " "), figure] for name, figure in figures]
    used: list[list[Cell]] = [[limit.name, limit.used, limit.remedy] for limit in limits(load)]
    console = Console()
    show(Report("takes", "What it takes", ["what", "how much"], takes), console)
    show(
        Report("first", "What breaks first: above 1 it does not fit", ["limit", "used", "what gives more"], used),
        console,
    )


def _asked() -> Load:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    plain: dict[str, Any] = msgspec.structs.asdict(Load())
    for name, value in plain.items():
        choices = get_args(Kind) if name == "kind" else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, choices=choices)
    return Load(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
