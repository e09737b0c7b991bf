"""Pictures made by hand for the tests of recount: an input, and the ledger, tables and topics that belong to it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from recount.counted import Counts, count
from recount.definition import Definition, parse
from recount.flow import Flow
from recount.kafka import Committed, Ends, Header, Message
from recount.ledger import Batch, Ledger, Progress, Publisher, Range
from recount.moment import Source
from recount.picture import Picture, Sink
from recount.report import Report
from recount.scope import Scope
from recount.story import judge

LEDGER = UUID(int=1)
TOPIC = UUID(int=2)
MINUTE = 1_763_700_000
"""2025-11-21T04:40:00Z"""


def plain(event: dict[str, Any], *outputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A definition's JSON; the event time is Kafka's unless a field `t` has it."""
    event_time = "t" if "t" in event else None
    return {
        "name": "p",
        "source": {"topic": "in", "event": event, "event_time": event_time},
        "max_future_s": 3600.0,
        "allowed_lateness_s": None,
        "dead_letters": "in-dlq",
        "transform": None,
        "outputs": list(outputs),
    } | changes


def message(offset: int, partition: int = 0, at: int = MINUTE, **values: Any) -> Message:
    """An input message with a JSON object; decimals are given as text."""
    return Message("in", partition, offset, at * 1000, b"k%d" % offset, json.dumps(values).encode(), ())


def cursor(publication: int = 1) -> Header:
    """The header that each message of ours carries."""
    return "microbatch.cursor", json.dumps({"ledger": str(LEDGER), "publication": publication}).encode()


def origin_headers(source: Message, batch_id: int = 1) -> tuple[Header, ...]:
    """The headers of a message that stands for one message of the source."""
    texts = {
        "pipeline": "p",
        "topic": source.topic,
        "partition": str(source.partition),
        "offset": str(source.offset),
        "batch": str(batch_id),
    }
    return (*((f"microbatch.{name}", text.encode()) for name, text in texts.items()), cursor())


def on_topic(topic: str, offset: int, source: Message, value: dict[str, Any] | None, batch_id: int = 1) -> Message:
    """A message that stands for one of the source, with its key and timestamp."""
    body = None if value is None else json.dumps(value).encode()
    return Message(
        topic, source.partition, offset, source.timestamp_ms, source.key, body, origin_headers(source, batch_id)
    )


def picture(
    definition: Definition | dict[str, Any],
    read: Sequence[Iterable[Message]],
    sent: Mapping[str, tuple[Message, ...]] | None = None,
    transform: Any = None,
    scope: Scope | None = None,
    **ledger: Any,
) -> Picture:
    """A picture in which the ledger is right about its counts; batch n has read the n-th messages, from 1 on.

    Tables and topics are as the caller gives them. Each partition's offsets must be 0, 1, 2, … over the batches.
    """
    defined = definition if isinstance(definition, Definition) else parse(definition)
    lots = [list(each) for each in read]
    ranges = [found for batch_id, lot in enumerate(lots, 1) for found in _ranges(batch_id, lot)]
    booked = {batch_id: Batch(0, 0, time_us=MINUTE * 1_000_000) for batch_id in range(1, len(lots) + 1)}
    booked |= ledger.pop("batches", {})
    everything = [found for lot in lots for found in lot]
    watched = {place for place, row in ledger.get("rejects", {}).items() if row.resolved}
    counted = count(defined, ranges, everything, booked, Flow(defined, transform), watched)
    booked, ranges = _with_counts(booked, ranges, counted.counts)
    if scope is not None:
        unread = scope.unread
        keys = (ledger["stream"].keys or {}) if "stream" in ledger else {}
        taken = {key: owner for key, owner in keys.items() if owner[0] in unread}
        counted = count(defined, ranges, everything, booked, Flow(defined, transform), watched, unread, taken)
    ends = {p: max(m.offset + 1 for m in everything if m.partition == p) for p in {m.partition for m in everything}}
    known: dict[str, Any] = {
        "pipeline_id": 1,
        "ledger": LEDGER,
        "definition": defined,
        "closed_until": None,
        "complete_from": None,
        "progress": tuple(Progress(TOPIC, partition, 0, end) for partition, end in sorted(ends.items())),
        "ranges": tuple(ranges),
        "batches": booked,
        "rejects": {},
        "publisher": Publisher(3, None, 3),
        "sink_partitions": {},
        "set_aside": {},
        "unrest": (),
    }
    topics = dict.fromkeys(defined.topics, ()) | dict(sent or {})
    metadata = json.dumps({"ledger": str(LEDGER), "publication": 3})
    partitions = range(max(ends, default=0) + 1)
    return Picture(
        pipeline="p",
        deployment="default",
        settled=False,
        compacted=False,
        ledger=Ledger(**(known | ledger)),
        source=Source(TOPIC, {partition: Ends(0, end, end) for partition, end in ends.items()}, ()),
        counted=counted,
        sinks={
            topic: Sink({p: Ends(0, len(found), len(found)) for p in partitions}, tuple(found))
            for topic, found in topics.items()
        },
        committed={partition: Committed(end, metadata) for partition, end in ends.items()},
        scope=scope or Scope(),
        is_audit=scope is not None,
    )


def report(found: Picture, **ledger: Any) -> Report:
    """The report on a picture whose ledger has been changed."""
    return judge(replace(found, ledger=replace(found.ledger, **ledger)))


def _ranges(batch_id: int, messages: list[Message]) -> list[Range]:
    found = []
    for partition in sorted({message.partition for message in messages}):
        offsets = [message.offset for message in messages if message.partition == partition]
        found.append(Range(batch_id, TOPIC, partition, min(offsets), max(offsets) + 1, 0, 0))
    return found


def _with_counts(
    batches: dict[int, Batch], ranges: list[Range], counts: Mapping[tuple[int, int, int], Counts]
) -> tuple[dict[int, Batch], list[Range]]:
    filled, sums = [], dict.fromkeys(batches, (0, 0, 0, 0))
    for found in ranges:
        mine = counts[found.batch_id, found.partition, found.start]
        filled.append(replace(found, **_named(mine)))
        before = sums[found.batch_id]
        sums[found.batch_id] = (before[0] + mine[0], before[1] + mine[1], before[2] + mine[2], before[3] + mine[3])
    return {batch_id: replace(batch, **_named(sums[batch_id])) for batch_id, batch in batches.items()}, filled


def _named(counts: Counts) -> dict[str, Any]:
    return dict(zip(("messages", "rejected", "repeated", "filtered"), counts, strict=True))
