"""One file names all metrics; the page about them and the summaries agree with it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from microbatch import metrics
from microbatch.clock import Clock
from microbatch.metrics import METRICS, PULLED, PUSHED, Metric, of_consume, of_publish
from microbatch.ranges import OffsetRange
from microbatch.runs import BatchSummary, ConsumeSummary, PublishSummary
from microbatch.steps import Step, Stopwatch

DOCS: Final = Path(__file__).parents[2] / "docs"
TEN: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)


def documented(section: int) -> list[list[str]]:
    """The rows of the table in a section of docs/metrics.md, less its two head lines."""
    text = (DOCS / "metrics.md").read_text().split("\n## ")[section]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def row(metric: Metric) -> list[str]:
    return [f"`{metric.name}`", metric.kind, metric.unit, ", ".join(metric.labels), metric.meaning]


def test_the_page_tells_each_metric_as_the_file_does() -> None:
    assert documented(1) == [row(metric) for metric in PULLED]
    assert documented(2) == [row(metric) for metric in PUSHED]


def test_every_metric_of_the_file_is_pushed_or_pulled_once() -> None:
    named = [value for value in vars(metrics).values() if isinstance(value, Metric)]

    assert sorted(metric.name for metric in METRICS) == sorted(metric.name for metric in named)
    assert len({metric.name for metric in named}) == len(named)


@pytest.mark.parametrize("metric", PULLED, ids=lambda metric: metric.name)
def test_names_that_prometheus_pulls_are_as_prometheus_wants_them(metric: Metric) -> None:
    assert re.fullmatch(r"microbatch_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")


# -- what summaries say ------------------------------------------------------------------------------------


class StepClock(Clock):
    """A clock that stands until it is told to go on."""

    at_s = 0.0

    def now(self) -> datetime:
        return TEN + timedelta(seconds=self.at_s)

    def monotonic_s(self) -> float:
        return 1000 + self.at_s


def test_a_stopwatch_knows_when_each_step_began_and_how_long_it_took() -> None:
    clock = StepClock()
    watch = Stopwatch(clock)

    clock.at_s = 2
    watch.lap("claim")
    clock.at_s = 5
    watch.lap("read")

    assert watch.steps == [Step("claim", TEN, 2), Step("read", TEN + timedelta(seconds=2), 3)]
    assert watch.steps[1].end == TEN + timedelta(seconds=5)
    assert watch.seconds == 5


def test_the_steps_of_each_batch_are_timed() -> None:
    steps = [Step("claim", TEN, 0.5), Step("read", TEN, 2), Step("store", TEN, 0.25)]
    batch = BatchSummary(7, [OffsetRange(0, 0, 10)], 10, 2, 1, 2.75, steps)

    told = [(metric.name, value) for metric, value in of_consume(ConsumeSummary(0, [batch, batch], 3))]

    assert told[:4] == [
        ("microbatch.messages", 20),
        ("microbatch.rejected", 4),
        ("microbatch.batches", 2),
        ("microbatch.lag_messages", 3),
    ]
    assert told[4:] == 2 * [
        ("microbatch.batch_ms", 2.75),
        ("microbatch.claim_ms", 0.5),
        ("microbatch.read_ms", 2),
        ("microbatch.store_ms", 0.25),
    ]


def test_the_steps_of_a_publish_are_timed() -> None:
    steps = [Step("lock", TEN, 0.5), Step("merge", TEN, 2), Step("send", TEN, 0.25)]
    summary = PublishSummary(TEN, [], {"a": 4}, stored=7, untold=0, waiting=1, steps=steps)

    told = {metric.name: value for metric, value in of_publish(summary, TEN + timedelta(seconds=9))}

    assert told == {
        "microbatch.revisions": 0,
        "microbatch.corrections": 0,
        "microbatch.sent": 4,
        "microbatch.waiting_segments": 1,
        "microbatch.closed_behind_seconds": 9,
        "microbatch.lock_ms": 0.5,
        "microbatch.merge_ms": 2,
        "microbatch.send_ms": 0.25,
    }
