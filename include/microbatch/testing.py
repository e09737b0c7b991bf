"""Unit tests of pipelines: what would come out, without Kafka, Postgres or Airflow.

It is the engine's own code that decodes and computes, over one batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from confluent_kafka import TIMESTAMP_CREATE_TIME
from confluent_kafka import Message as RawMessage

from microbatch.clock import Clock
from microbatch.computing import Chunk, Computation
from microbatch.decoding import Message
from microbatch.outputs import AnyOutput, Pairs, TumblingWindow
from microbatch.pairing import PAIR_COLUMNS
from microbatch.pipeline import Pipeline
from microbatch.ranges import OffsetRange
from microbatch.scratch import Scratch
from microbatch.view import view

Given = Message | dict[str, Any] | bytes | str | None


class Rejected(msgspec.Struct, frozen=True):
    """A message that became a dead letter.

    Attributes:
        reason: why.
        value: the message's.
        offset: its place among the messages that were given.
    """

    reason: str
    value: bytes | None
    offset: int


class Outcome(msgspec.Struct, frozen=True):
    """What came out. Rows are dicts of the declared columns; numbers are int and Decimal, times aware datetimes in UTC.

    Attributes:
        results: of each window output, by the name of its table or else its topic, in the order of window and key; a
            row has `window_start` and `window_end` too.
        rows: of the stream, in the order of the messages.
        pairs: of each pairing, by the name of its table or else its topic: `first_value`, `first_offset`,
            `second_value`, `second_offset` and the partitions.
        waiting: likewise, the numbers that have no partner yet, the oldest first.
        rejects: in the order of the messages.
        filtered: how many events `where` or the transform left out.
        repeated: how many events `unique` left out.
    """

    results: dict[str, list[dict[str, Any]]]
    rows: list[dict[str, Any]]
    pairs: dict[str, list[dict[str, Any]]]
    waiting: dict[str, list[int]]
    rejects: list[Rejected]
    filtered: int
    repeated: int


def run(pipeline: Pipeline, messages: Iterable[Given], *, at: datetime | None = None) -> Outcome:
    """What a pipeline makes of some messages.

    Args:
        pipeline: the pipeline.
        messages: dicts are encoded as JSON, None is a tombstone; they lie in partition 0, from offset 0 on. A `Message`
            says all of that itself.
        at: the time of the batch, and Kafka's timestamp of the messages (aware); now, if it is not given.
    """
    now = at or Clock().now()
    given = [_message(number, each, now) for number, each in enumerate(messages)]
    ranges = [OffsetRange(p, 0, 2**62) for p in sorted({message.partition for message in given})]
    with computation_of(pipeline, now) as computation:
        chunks = computed(computation, given)
        # Nothing was booked before: the first of each key in here is the first of all.
        computation.decide(lambda keys: [(key[-2], key[-1]) for key in keys])
        for output in pipeline.pairs:
            computation.pairs(output).pair([])
        columns = list(view(pipeline).stream)
        rows = [row for chunk in chunks for row in chunk.rows or ()]
        rows += [row for item in ranges for some in computation.rows_of(item) for row in some]
        return Outcome(
            results={_name(pipeline, window): _results(computation, window) for window in pipeline.windows},
            rows=[dict(zip(columns, row.values, strict=True)) for row in rows],
            pairs={_name(pipeline, output): _pairs(computation, output, ranges) for output in pipeline.pairs},
            waiting={_name(pipeline, output): _waiting(computation, output) for output in pipeline.pairs},
            rejects=[Rejected(r.reason, r.message.value, r.message.offset) for chunk in chunks for r in chunk.rejects],
            filtered=sum(chunk.filtered for chunk in chunks),
            repeated=sum(computation.repeated(item) for item in ranges),
        )


@contextmanager
def computation_of(pipeline: Pipeline, at: datetime) -> Iterator[Computation]:
    """A computation of one batch, at that time."""
    with Scratch() as scratch, Computation(pipeline, at, scratch) as computation:
        yield computation


def computed(computation: Computation, messages: Iterable[Message]) -> list[Chunk]:
    """The chunks of some messages, which are added to a computation: one of each partition, in their order."""
    of_partition: dict[int, list[RawMessage]] = {}
    for message in messages:
        of_partition.setdefault(message.partition, []).append(raw(message))
    added = [
        chunk
        for partition, some in sorted(of_partition.items())
        for _, chunk in computation.add(OffsetRange(partition, 0, 2**62), some)
    ]
    return [*added, *(chunk for _, chunk in computation.flush())]


def raw(message: Message) -> RawMessage:
    """A message as Kafka's client gives it."""
    return RawMessage(
        partition=message.partition,
        offset=message.offset,
        timestamp=(TIMESTAMP_CREATE_TIME, message.timestamp_ms),
        key=message.key,
        value=message.value,
        headers=list(message.headers),
    )


def _message(number: int, given: Given, now: datetime) -> Message:
    if isinstance(given, Message):
        return given
    value = msgspec.json.encode(given) if isinstance(given, dict) else given
    milliseconds = round(now.timestamp() * 1000)
    return Message(0, number, milliseconds, None, value.encode() if isinstance(value, str) else value)


def _name(pipeline: Pipeline, output: AnyOutput) -> str:
    return pipeline.state(output)[1]


def _results(computation: Computation, window: TumblingWindow) -> list[dict[str, Any]]:
    """Contributions of one batch are totals."""
    keys = ["window_start", "window_end", *window.by]
    found = []
    for row in computation.contributions(window).rows():
        values = list(row[len(keys) :])
        measures = {}
        for name, measure in window.measures.items():
            partials = [values.pop(0) for _ in range(measure.partial_count)]
            measures[name] = measure.total_of(partials)
        found.append({**dict(zip(keys, row, strict=False)), **measures})
    return sorted(found, key=lambda result: [result[name] for name in keys])


def _pairs(computation: Computation, output: Pairs, ranges: list[OffsetRange]) -> list[dict[str, Any]]:
    events = computation.pairs(output)
    found = [some for item in ranges for some in events.pairs(item.partition, item.start, item.end)]
    columns = ([values.to_pylist() for values in some.values] for some in found)
    return [dict(zip(PAIR_COLUMNS, pair, strict=True)) for values in columns for pair in zip(*values, strict=True)]


def _waiting(computation: Computation, output: Pairs) -> list[int]:
    left = computation.pairs(output).left(0)
    return [w.value for w in sorted(left, key=lambda w: (w.kafka_timestamp, w.partition, w.offset))]
