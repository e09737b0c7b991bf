"""All metrics: name, kind, unit and meaning of each, and what a run's summaries say of them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

import msgspec

from microbatch.runs import ConsumeSummary, PublishSummary


class Metric(msgspec.Struct, frozen=True):
    """A metric, as StatsD and OpenTelemetry know it. Each sample is tagged with its pipeline.

    Attributes:
        kind: counters add up, gauges tell a state, timers are seconds of one piece of work.
    """

    name: str
    kind: Literal["counter", "gauge", "timer"]
    unit: str
    meaning: str


MESSAGES: Final = Metric(
    "microbatch.messages", "counter", "messages", "read from the source by a batch, again if it is redone"
)
REJECTED: Final = Metric("microbatch.rejected", "counter", "messages", "rejected by a batch")
BATCHES: Final = Metric("microbatch.batches", "counter", "batches", "committed to the ledger")
BATCH_SECONDS: Final = Metric(
    "microbatch.batch_seconds", "timer", "seconds", "from a batch's claim to its ledger commit"
)
LAG_MESSAGES: Final = Metric(
    "microbatch.lag_messages", "gauge", "messages", "below a shard's looked-at ends and not read after a run"
)
CLOSED_BEHIND: Final = Metric(
    "microbatch.closed_behind_seconds",
    "gauge",
    "seconds",
    "from the last closed window's end to the end of publish",
)
REVISIONS: Final = Metric("microbatch.revisions", "counter", "results", "published anew")
CORRECTIONS: Final = Metric("microbatch.corrections", "counter", "results", "among them, had been final")
SENT: Final = Metric("microbatch.sent", "counter", "messages", "sent to Kafka")
WAITING: Final = Metric(
    "microbatch.waiting_segments", "gauge", "segments", "that wait for a gap below them to be filled"
)
METRICS: Final = (
    MESSAGES,
    REJECTED,
    BATCHES,
    BATCH_SECONDS,
    LAG_MESSAGES,
    CLOSED_BEHIND,
    REVISIONS,
    CORRECTIONS,
    SENT,
    WAITING,
)

Sample = tuple[Metric, float]


def of_consume(summary: ConsumeSummary) -> Iterator[Sample]:
    """What a shard's consume adds; nothing if its run had completed before."""
    if summary.completed_before:
        return
    yield MESSAGES, summary.messages
    yield REJECTED, summary.rejected
    yield BATCHES, len(summary.batches)
    if summary.work == "catch up":
        yield LAG_MESSAGES, summary.behind
    for batch in summary.batches:
        yield BATCH_SECONDS, batch.seconds


def of_publish(summary: PublishSummary, now: datetime) -> Iterator[Sample]:
    """What a publish that ended `now` adds."""
    yield REVISIONS, summary.revisions
    yield CORRECTIONS, summary.corrections
    yield SENT, summary.sent
    yield WAITING, summary.waiting
    if summary.closed_until is not None:
        yield CLOSED_BEHIND, (now - summary.closed_until).total_seconds()
