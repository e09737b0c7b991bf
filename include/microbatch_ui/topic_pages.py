"""Pages of a topic's messages: the newest, those before or from some offsets or a time on, those that came since."""

from datetime import datetime

import msgspec
from fastapi import HTTPException, status

from microbatch.kafka import Broker, Ends
from microbatch.ranges import OffsetRange
from microbatch_ui.messages import Message, Page, newest, oldest
from microbatch_ui.topic_reader import TopicReader, open_topic
from microbatch_ui.topics import PartitionOffsets, kafka, offsets_of

Offsets = dict[int, int]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages: the newest, unless `since`, `time` or `before` says otherwise.

    Attributes:
        partition: only of this one.
        since: of each partition, from which offset on; of those that it does not name, all.
        time: of each partition, from its first message on that has this timestamp or a later one.
        before: of each partition, below which offset; of those that it does not name, none.
        limit: as many at the most.
        is_committed: without messages of aborted and open transactions.
    """

    limit: int
    is_committed: bool
    partition: int | None = None
    since: Offsets | None = None
    time: datetime | None = None
    before: Offsets | None = None


class TopicPage(msgspec.Struct, frozen=True):
    """Messages, the newest first.

    Attributes:
        previous: of each partition, below which offset the older ones are.
        next: of each partition, from which offset on the newer ones are: `since` of the page that follows.
        has_older: there is something below `previous`; if it was compacted or aborted, no message.
        has_newer: there is something from `next` on.
        partitions: how many the topic has.
        ends: of those that were looked at.
        deleted: what was asked for, and that retention has deleted.
    """

    messages: list[Message]
    previous: Offsets
    next: Offsets
    has_older: bool
    has_newer: bool
    partitions: int
    ends: list[PartitionOffsets]
    deleted: list[OffsetRange]


def page_of(topic: str, ask: Ask) -> TopicPage:
    """Some messages of a topic.

    Raises:
        HTTPException: Kafka has no such topic or partition (404), or it ends before the offset that is asked for (409).
        KafkaUnreachableError: no broker answers.
    """
    connections = kafka()
    broker = Broker(connections)
    partitions = _partitions(topic, broker)
    ends = broker.ends(topic, _chosen(topic, ask.partition, partitions))
    tops = {p: at.last_stable if ask.is_committed else at.high_watermark for p, at in ends.items()}
    starts = _starts(topic, ask, ends, broker)
    with open_topic(topic, connections, is_committed=ask.is_committed) as reader:
        page = _backwards(reader, ask, ends, tops) if starts is None else _onwards(reader, ask, ends, tops, starts)
    return TopicPage(
        messages=page.messages,
        previous=page.previous,
        next=page.next,
        has_older=any(page.previous[p] > at.low_watermark for p, at in ends.items()),
        has_newer=any(page.next[p] < top for p, top in tops.items()),
        partitions=partitions,
        ends=[offsets_of(p, at) for p, at in ends.items()],
        deleted=_deleted(ends, starts or {}),
    )


def _partitions(topic: str, broker: Broker) -> int:
    facts = broker.topic(topic)
    if facts is None:
        text = f"Kafka has no topic {topic!r}: a run of the pipeline makes it, unless it is the pipeline's source"
        raise HTTPException(status.HTTP_404_NOT_FOUND, text)
    return facts.partitions


def _chosen(topic: str, wanted: int | None, partitions: int) -> list[int]:
    if wanted is None:
        return list(range(partitions))
    if wanted >= partitions:
        text = f"Topic {topic!r} has no partition {wanted}: its last one is {partitions - 1}"
        raise HTTPException(status.HTTP_404_NOT_FOUND, text)
    return [wanted]


def _starts(topic: str, ask: Ask, ends: dict[int, Ends], broker: Broker) -> Offsets | None:
    """Of each partition, from which offset on is asked for; None: backwards from an end."""
    if ask.time is not None:
        found = broker.offsets_at(topic, ends, ask.time)
        return {p: at.high_watermark if (offset := found[p]) is None else offset for p, at in ends.items()}
    if ask.since is None:
        return None
    for partition, at in ends.items():
        if ask.since.get(partition, 0) > at.high_watermark:
            text = (
                f"{topic}[{partition}] ends at offset {at.high_watermark}, before {ask.since[partition]}: ask for a "
                "lower one. If it was longer before, it was deleted and created anew, or a broker is just starting"
            )
            raise HTTPException(status.HTTP_409_CONFLICT, text)
    return {p: ask.since.get(p, at.low_watermark) for p, at in ends.items()}


def _onwards(reader: TopicReader, ask: Ask, ends: dict[int, Ends], tops: Offsets, starts: Offsets) -> Page:
    there = {p: max(at.low_watermark, starts[p]) for p, at in ends.items()}
    spans = {p: OffsetRange(p, start, max(start, tops[p])) for p, start in there.items()}
    return oldest(reader.first(spans, ask.limit), ask.limit)


def _backwards(reader: TopicReader, ask: Ask, ends: dict[int, Ends], tops: Offsets) -> Page:
    spans = {}
    for p, at in ends.items():
        before = tops[p] if ask.before is None else ask.before.get(p, 0)
        spans[p] = OffsetRange(p, at.low_watermark, max(at.low_watermark, min(tops[p], before)))
    return newest(reader.last(spans, ask.limit), ask.limit)


def _deleted(ends: dict[int, Ends], starts: Offsets) -> list[OffsetRange]:
    """What is asked for and is no longer there."""
    return [
        OffsetRange(p, starts[p], at.low_watermark) for p, at in ends.items() if starts.get(p, 0) < at.low_watermark
    ]
