"""Summaries of runs: the lines that people read."""

from datetime import UTC, datetime

import pytest

from microbatch.ranges import OffsetRange
from microbatch.runs import BatchSummary, ConsumeSummary, Coverage, PublishSummary, Revised

TEN = datetime(2026, 11, 21, 10, tzinfo=UTC)


def batch(messages: int, rejected: int) -> BatchSummary:
    return BatchSummary(1, [OffsetRange(0, 0, messages)], messages, rejected, windows=1, seconds=0.5)


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (ConsumeSummary(0, [], 0), "shard 0: 0 messages in 0 batches, 0 rejected; caught up"),
        (
            ConsumeSummary(1, [batch(4000, 3), batch(711, 0)], 0),
            "shard 1: 4,711 messages in 2 batches, 3 rejected; caught up",
        ),
        (
            ConsumeSummary(0, [batch(10, 0)], 12_000),
            "shard 0: 10 messages in 1 batch, 0 rejected; 12,000 messages behind; the next run goes on",
        ),
        (
            ConsumeSummary(0, [], 0, work="interval", coverage=Coverage.of([])),
            "shard 0: the topic has no messages in the interval",
        ),
        (
            ConsumeSummary(0, [batch(10, 1)], 0, work="interval"),
            "shard 0: 10 messages in 1 batch, 1 rejected; the interval is read",
        ),
        (
            ConsumeSummary(0, [], 0, work="interval", coverage=Coverage.of([7])),
            "shard 0: all of the interval was read before, by batch 7; mode=reprocess would redo them",
        ),
        (
            ConsumeSummary(0, [], 0, work="interval", coverage=Coverage.of(list(range(1, 1006)))),
            (
                "shard 0: all of the interval was read before, by batches 1, 2, 3, 4, 5 and 1,000 more; "
                "mode=reprocess would redo them"
            ),
        ),
        (ConsumeSummary(0, [], 0, work="redo"), "shard 0: no batch to redo"),
        (
            ConsumeSummary(0, [batch(10, 0), batch(20, 1)], 0, work="redo"),
            "shard 0: 30 messages in 2 batches, 1 rejected; all of them redone",
        ),
        (
            ConsumeSummary(0, [], 0, completed_before=True),
            "shard 0: this run had completed before; nothing was done",
        ),
    ],
)
def test_the_last_line_of_consume(summary: ConsumeSummary, line: str) -> None:
    assert summary.describe() == line


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            PublishSummary(
                TEN,
                revised=[Revised("public.a", 2, 1, TEN, TEN), Revised("public.b", 3, 0, TEN, TEN)],
                sent_to={"a": 4, "b": 2},
                stored=7,
                untold=0,
                waiting=0,
            ),
            "closed until 2026-11-21 10:00:00 UTC: 5 revisions (1 of them corrections), 6 messages sent",
        ),
        (
            PublishSummary(None, revised=[], sent_to={}, stored=0, untold=0, waiting=2),
            "no window closed: 0 revisions (0 of them corrections), 0 messages sent; 2 segments wait for a gap",
        ),
    ],
)
def test_the_last_line_of_publish(summary: PublishSummary, line: str) -> None:
    assert summary.describe() == line
