"""Spans of a run's steps, beneath the task's own span; nowhere, if Airflow's `[traces] otel_on` is off.

They are made when a task is done, of what its summary says: the engine itself knows nothing of OpenTelemetry.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from microbatch.runs import BatchSummary, ConsumeSummary, PublishSummary
from microbatch.steps import Step

Facts = dict[str, AttributeValue]

_tracer: Final = trace.get_tracer("microbatch")


def trace_consume(pipeline: str, summary: ConsumeSummary) -> None:
    """A span for each batch, and beneath it one for each of its steps."""
    for batch in summary.batches:
        if batch.steps:
            facts = {"microbatch.pipeline": pipeline, "microbatch.shard": summary.shard, **_facts(batch)}
            start, end = batch.steps[0].start, batch.steps[-1].end
            span = _tracer.start_span("microbatch.batch", attributes=facts, start_time=_ns(start))
            _trace_steps(batch.steps, span, {})
            span.end(_ns(end))


def trace_publish(pipeline: str, summary: PublishSummary) -> None:
    """A span for each step."""
    facts: Facts = {
        "microbatch.pipeline": pipeline,
        "microbatch.revisions": summary.revisions,
        "microbatch.corrections": summary.corrections,
        "microbatch.sent": summary.sent,
    }
    _trace_steps(summary.steps, trace.get_current_span(), facts)


def _facts(batch: BatchSummary) -> Facts:
    return {
        "microbatch.batch_id": batch.batch_id,
        "microbatch.offsets": [str(item) for item in batch.ranges],
        "microbatch.messages": batch.messages,
        "microbatch.rejected": batch.rejected,
    }


def _trace_steps(steps: Iterable[Step], parent: Span, facts: Facts) -> None:
    context = trace.set_span_in_context(parent)
    for step in steps:
        span = _tracer.start_span(f"microbatch.{step.name}", context, attributes=facts, start_time=_ns(step.start))
        span.end(_ns(step.end))


def _ns(moment: datetime) -> int:
    # A float of seconds has not all nanoseconds of now, but all microseconds.
    return round(moment.timestamp() * 1_000_000) * 1000
