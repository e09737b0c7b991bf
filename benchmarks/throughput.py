"""Throughput: the sales pipeline, whole, beside the client's floor, the loop that people write, Flink SQL and Spark.

`python -m benchmarks.throughput` produces sales, runs each contestant on the same broker and data, one after another,
and checks its sums before its figure counts. Ratios within one run mean something, seconds only on this machine.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from benchmarks.checking import sums_in_table, sums_on_topic
from benchmarks.contestants.microbatch_sales import pipeline
from benchmarks.engines import Engine, flink, spark
from benchmarks.inputs import DEFAULT_SIZES, PARTITIONS, SIZES, Sums, produce_sales
from benchmarks.measuring import Figures, measured
from benchmarks.own_stack import OwnStack, own_stack
from benchmarks.pictures import draw
from benchmarks.reporting import Cell, Report, save, show, verdict
from rich.console import Console

FLOOR: Final = "consume(1000), not decoded"
LOOP: Final = "poll(), json.loads, a dict"
OURS: Final = "microbatch"
FLINK: Final = "Flink SQL"
SPARK: Final = "Spark, availableNow"
PICTURE: Final = Path(__file__).parents[1] / "docs" / "pictures" / "throughput.png"
COLUMNS: Final = [
    "contestant",
    "messages",
    "wall s",
    "CPU s",
    "of it Postgres",
    "CPU µs a message",
    "/ floor",
    "peak MiB",
    "fixed CPU s",
    "slope µs",
    "slope / floor",
]

Contestant = Callable[[str, Sums], Figures]
"""Reads a topic; gives what that took, once its sums are as expected."""


class Line(msgspec.Struct, frozen=True):
    """What a contestant took for each size: CPU seconds are fixed + slope * messages."""

    name: str
    figures: dict[int, Figures]

    @property
    def slope_us(self) -> float:
        """CPU microseconds for one message more, from the smallest to the largest size."""
        least, most = min(self.figures), max(self.figures)
        return (self.cpu_s(most) - self.cpu_s(least)) / (most - least) * 1e6

    @property
    def fixed_s(self) -> float:
        """CPU seconds of a run without messages, if it went on like this."""
        least = min(self.figures)
        return self.cpu_s(least) - self.slope_us * least / 1e6

    def cpu_s(self, messages: int) -> float:
        """With Postgres'."""
        return self.figures[messages].total_cpu_s


class Lines(msgspec.Struct, frozen=True):
    """All contestants, by name."""

    lines: dict[str, Line]

    def ratio(self, name: str, other: str, messages: int) -> float:
        """How many times the CPU of another."""
        return self.lines[name].cpu_s(messages) / self.lines[other].cpu_s(messages)

    def slopes(self, name: str, other: str) -> float:
        """How many times the slope of another."""
        return self.lines[name].slope_us / self.lines[other].slope_us


def main() -> None:
    """Run all contestants over all sizes; show, keep and draw what they took."""
    console = Console()
    engines = {"flink": flink(console), "spark": spark(console)}
    found: dict[str, dict[int, Figures]] = {}
    with own_stack(console) as stack:
        contestants = _contestants(stack, engines)
        for messages in SIZES:
            topic = f"sales_{messages}"
            expected = produce_sales(stack.bootstrap, topic, messages, console)
            for name, contestant in contestants.items():
                with console.status(f"{name}: {messages:,} messages"):
                    figures = contestant(topic, expected)
                found.setdefault(name, {})[messages] = figures
                console.print(f"{name}: {messages:,} messages, {figures.total_cpu_s:.1f} CPU s, sums are right")
    lines = Lines({name: Line(name, figures) for name, figures in found.items()})
    report = _report(lines)
    show(report, console)
    save(report, **{name: engine.version for name, engine in engines.items()})
    if SIZES == DEFAULT_SIZES:
        draw(PICTURE, {name: {n: line.cpu_s(n) for n in SIZES} for name, line in lines.lines.items()})


def _contestants(stack: OwnStack, engines: dict[str, Engine]) -> dict[str, Contestant]:
    """In the order in which they run."""
    return {
        FLOOR: lambda topic, sums: _floor(stack, topic, sums),
        LOOP: lambda topic, sums: _checked(_ours("poll_and_json"), stack, topic, sums),
        OURS: lambda topic, sums: _microbatch(stack, topic, sums),
        FLINK: lambda topic, sums: _engine(engines["flink"], "flink_sales", stack, topic, sums),
        SPARK: lambda topic, sums: _engine(engines["spark"], "spark_sales", stack, topic, sums),
    }


def _ours(name: str, *arguments: str) -> list[str | Path]:
    return [sys.executable, "-m", f"benchmarks.contestants.{name}", *arguments]


def _floor(stack: OwnStack, topic: str, expected: Sums) -> Figures:
    found, figures = _run(_ours("floor"), stack, topic)
    _compare("the floor", found, {"messages": sum(sales for _, sales in expected.values())})
    return figures


def _engine(engine: Engine, script: str, stack: OwnStack, topic: str, expected: Sums) -> Figures:
    return _checked(engine.command(script), stack, topic, expected, **engine.environment)


def _checked(command: list[str | Path], stack: OwnStack, topic: str, expected: Sums, **more: str) -> Figures:
    found, figures = _run(command, stack, topic, **more)
    _compare(str(command[-1]), found, expected)
    return figures


def _microbatch(stack: OwnStack, topic: str, expected: Sums) -> Figures:
    """Consume and publish, as a run's two tasks do it; what counts is what stands in Postgres and on the topic."""
    _, consumed = _run(_ours("microbatch_sales", "consume"), stack, topic)
    _, published = _run(_ours("microbatch_sales", "publish"), stack, topic)
    window = pipeline(topic).windows[0]
    assert window.table
    assert window.topic
    _compare(f"the table {window.table}", sums_in_table(stack, window.table), expected)
    _compare(f"the topic {window.topic.name}", sums_on_topic(stack, window.topic.name), expected)
    return consumed.then(published)


def _run(command: list[str | Path], stack: OwnStack, topic: str, **more: str) -> tuple[Any, Figures]:
    return measured(command, stack, BENCH_TOPIC=topic, BENCH_PARTITIONS=str(PARTITIONS), **more)


def _compare(who: str, found: Any, expected: Any) -> None:
    if found != expected:
        wrong = {key: (found.get(key), wanted) for key, wanted in expected.items() if found.get(key) != wanted}
        raise SystemExit(f"{who} has wrong sums (found, expected): {wrong or found}")


def _report(lines: Lines) -> Report:
    title = f"Throughput: sales in {PARTITIONS} partitions, one shard; a whole run, imports included"
    rows = [_row(lines, line, messages) for messages in SIZES for line in lines.lines.values()]
    return Report("throughput", title, COLUMNS, rows, _bars(lines))


def _row(lines: Lines, line: Line, messages: int) -> list[Cell]:
    """One contestant and size; what is said of all sizes stands in the last one's row."""
    figures = line.figures[messages]
    both: list[Cell] = [line.fixed_s, line.slope_us, lines.slopes(line.name, FLOOR)]
    return [
        line.name,
        messages,
        figures.wall_s,
        figures.total_cpu_s,
        figures.postgres_cpu_s,
        figures.total_cpu_s / messages * 1e6,
        lines.ratio(line.name, FLOOR, messages),
        figures.peak_mib,
        *(both if messages == max(SIZES) else [None] * len(both)),
    ]


def _bars(lines: Lines) -> list[str]:
    """What has to hold, and whether it does."""
    few, many = min(SIZES), max(SIZES)
    peaks = [lines.lines[OURS].figures[messages].peak_mib for messages in (few, many)]
    return [
        verdict("CPU slope, microbatch / floor", lines.slopes(OURS, FLOOR), 1.9),
        verdict("CPU slope, µs, beside Flink's", lines.lines[OURS].slope_us, lines.lines[FLINK].slope_us),
        verdict(f"CPU of {many:,}, microbatch / Flink", lines.ratio(OURS, FLINK, many), 1 / 3),
        verdict(f"CPU of {many:,}, microbatch / Spark", lines.ratio(OURS, SPARK, many), 1 / 5),
        verdict(f"CPU of {few:,}, microbatch / Flink", lines.ratio(OURS, FLINK, few), 1 / 5),
        verdict("peak memory of microbatch, MiB", max(peaks), 350.0),
        verdict(f"peak memory, {many:,} / {few:,}", max(peaks) / min(peaks), 1.1),
    ]


if __name__ == "__main__":
    main()
