"""All metrics: name, kind, unit, labels and meaning of each, and what a run's summaries say of them.

A run pushes what it did (`PUSHED`) to where Airflow's own metrics go. What the ledger says (`PULLED`) is asked by
Prometheus, so it is there also while no run is. docs/metrics.md is the page about them.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, Literal

import msgspec

from microbatch.runs import ConsumeSummary, PublishSummary
from microbatch.steps import Step


class Metric(msgspec.Struct, frozen=True):
    """A metric, as StatsD, OpenTelemetry or Prometheus know it.

    Attributes:
        name: in the form that is usual where it goes.
        kind: counters add up, gauges tell a state, timers are lengths of single pieces of work.
        unit: of its value.
        meaning: for people.
        labels: what each sample is tagged with.
    """

    name: str
    kind: Literal["counter", "gauge", "timer"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ("pipeline",)


# -- pushed by runs ----------------------------------------------------------------------------------------

MESSAGES: Final = Metric(
    "microbatch.messages", "counter", "messages", "read from the source by a batch, again if it is redone"
)
REJECTED: Final = Metric("microbatch.rejected", "counter", "messages", "rejected by a batch, again if it is redone")
BATCHES: Final = Metric("microbatch.batches", "counter", "batches", "committed to the ledger, redone ones too")
BATCH_MS: Final = Metric("microbatch.batch_ms", "timer", "ms", "from asking for a batch's locks to its ledger commit")
CLAIM_MS: Final = Metric("microbatch.claim_ms", "timer", "ms", "of a batch: its locks, its plan, claiming its ranges")
READ_MS: Final = Metric("microbatch.read_ms", "timer", "ms", "of a batch: reading and computing")
STORE_MS: Final = Metric("microbatch.store_ms", "timer", "ms", "of a batch: storing what was computed, the commit")
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
CORRECTIONS: Final = Metric("microbatch.corrections", "counter", "results", "published anew that had been final")
SENT: Final = Metric("microbatch.sent", "counter", "messages", "sent to Kafka")
WAITING: Final = Metric(
    "microbatch.waiting_segments", "gauge", "segments", "that wait for a gap below them to be filled"
)
LOCK_MS: Final = Metric("microbatch.lock_ms", "timer", "ms", "of publish: waiting until it is the only one")
MERGE_MS: Final = Metric("microbatch.merge_ms", "timer", "ms", "of publish: contributions become results")
SEND_MS: Final = Metric("microbatch.send_ms", "timer", "ms", "of publish: the outbox goes to Kafka")
PUSHED: Final = (
    MESSAGES,
    REJECTED,
    BATCHES,
    BATCH_MS,
    CLAIM_MS,
    READ_MS,
    STORE_MS,
    LAG_MESSAGES,
    CLOSED_BEHIND,
    REVISIONS,
    CORRECTIONS,
    SENT,
    WAITING,
    LOCK_MS,
    MERGE_MS,
    SEND_MS,
)
# By the steps' names in the summaries.
STEPS: Final = {
    "claim": CLAIM_MS,
    "read": READ_MS,
    "store": STORE_MS,
    "lock": LOCK_MS,
    "merge": MERGE_MS,
    "send": SEND_MS,
}

Sample = tuple[Metric, float]
"""Of a timer: seconds."""


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
        yield BATCH_MS, batch.seconds
        yield from _of_steps(batch.steps)


def of_publish(summary: PublishSummary, now: datetime) -> Iterator[Sample]:
    """What a publish that ended `now` adds."""
    yield REVISIONS, summary.revisions
    yield CORRECTIONS, summary.corrections
    yield SENT, summary.sent
    yield WAITING, summary.waiting
    if summary.closed_until is not None:
        yield CLOSED_BEHIND, (now - summary.closed_until).total_seconds()
    yield from _of_steps(summary.steps)


def _of_steps(steps: Iterable[Step]) -> Iterator[Sample]:
    for step in steps:
        yield STEPS[step.name], step.seconds


# -- pulled from the ledger by Prometheus ------------------------------------------------------------------

STATE: Final = Metric(
    "microbatch_state",
    "gauge",
    "0 or 1",
    "1 for the state that the pipeline is in, as its page shows it: healthy, behind, stopped or new",
    ("pipeline", "state"),
)
COMPLETE_UNTIL: Final = Metric(
    "microbatch_complete_until_timestamp_seconds",
    "gauge",
    "seconds since 1970",
    "up to when windows are closed; time() less this is the delay of the last final window",
)
LOOKED_AT: Final = Metric(
    "microbatch_looked_at_timestamp_seconds", "gauge", "seconds since 1970", "when runs looked last at the source"
)
LAST_BATCH_AT: Final = Metric(
    "microbatch_last_batch_timestamp_seconds", "gauge", "seconds since 1970", "when the last batch was committed"
)
LAST_BATCH_SECONDS: Final = Metric(
    "microbatch_last_batch_seconds", "gauge", "seconds", "from the last batch's claim to its ledger commit"
)
LAG_OFFSETS: Final = Metric(
    "microbatch_lag_offsets",
    "gauge",
    "offsets",
    "that the last look saw and that are not covered",
    ("pipeline", "topic", "partition"),
)
GAP_OFFSETS: Final = Metric("microbatch_gap_offsets", "gauge", "offsets", "between covered ones that no batch has read")
OUTBOX_SEGMENTS: Final = Metric(
    "microbatch_outbox_segments", "gauge", "segments", "of messages that still have to reach Kafka"
)
COVERED_OFFSETS: Final = Metric(
    "microbatch_covered_offsets_total",
    "counter",
    "offsets",
    "of the source that are read without a gap: messages, and the holes between them",
)
PUBLICATIONS: Final = Metric(
    "microbatch_publications_total", "counter", "publications", "sent to Kafka: segments of up to 10,000 messages"
)
MESSAGES_LAST_HOUR: Final = Metric(
    "microbatch_messages_last_hour", "gauge", "messages", "in the batches committed in the last hour"
)
REJECTED_LAST_HOUR: Final = Metric(
    "microbatch_rejected_last_hour", "gauge", "messages", "rejected by the batches committed in the last hour"
)
LATE_LAST_HOUR: Final = Metric(
    "microbatch_late_last_hour", "gauge", "messages", "in these batches that came after the end of their window"
)
REJECTS_LAST_HOUR: Final = Metric(
    "microbatch_rejects_last_hour",
    "gauge",
    "messages",
    "rejected by these batches, by reason: the 20 most frequent, and `other`; of the newest 10,000 rejects",
    ("pipeline", "reason"),
)
PULLED: Final = (
    STATE,
    COMPLETE_UNTIL,
    LOOKED_AT,
    LAST_BATCH_AT,
    LAST_BATCH_SECONDS,
    LAG_OFFSETS,
    GAP_OFFSETS,
    OUTBOX_SEGMENTS,
    COVERED_OFFSETS,
    PUBLICATIONS,
    MESSAGES_LAST_HOUR,
    REJECTED_LAST_HOUR,
    LATE_LAST_HOUR,
    REJECTS_LAST_HOUR,
)
METRICS: Final = (*PUSHED, *PULLED)
