"""Why cursor and ledger disagree, or why the log is not the one that was read: what Kafka has beside what is on record.

`find` asks both; which case it is follows from the answers alone (`diagnose`, pure).
"""

from typing import Any, Final
from uuid import UUID

import msgspec

from microbatch.deciding import Known
from microbatch.errors import TopicMissingError
from microbatch.kafka import Broker, Ends
from microbatch.known_windows import known_windows
from microbatch.outbox import Cursor
from microbatch.postgres import Connection, one_row
from microbatch.sending import Outlet, whose
from microbatch.settings import Connections
from microbatch.settling import Group, Whose
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")
_RECOVERING: Final = queries("recovering")


class Kept(msgspec.Struct, frozen=True):
    """What the ledger has.

    Attributes:
        cluster_id: of the Kafka that it knows.
        topic_id: of the source that it reads.
        marked: the last publication that it has as sent.
        intent: the last one that was about to be.
        first: by partition, the offset with which it begins.
        covered: by partition, the end of what is counted without a gap, and the end of what is counted at all.
        unread: by partition, offsets that the last look saw and that are not counted.
    """

    cluster_id: str
    topic_id: UUID
    marked: int
    intent: int | None
    first: dict[int, int]
    covered: dict[int, tuple[int, int]]
    unread: dict[int, int]


class Seen(msgspec.Struct, frozen=True):
    """What Kafka has.

    Attributes:
        cluster_id: who it is.
        topic_id: of the source.
        ends: of the source.
        cursor: what the group has: a cursor, another text, or None.
        positions: the offsets that the group has, by partition.
        newest: by ledger, the publication of its newest message in the output topics; 0 for what is no cursor.
        empty: result topics into which nothing was ever written, although their tables have results.
    """

    cluster_id: str
    topic_id: UUID
    ends: dict[int, Ends]
    cursor: Cursor | str | None
    positions: dict[int, int]
    newest: dict[str, int]
    empty: list[str]


class Overwritten(msgspec.Struct, frozen=True):
    """The group has a cursor that this ledger has not left there, but its messages are those that the ledger knows of.

    Attributes:
        found: what the group has.
        marked: the last publication that the ledger has as sent.
        sent: the last one that Kafka has: the marked one, or the intended one.
        newest: of our newest message; None: there is none any more.
    """

    found: str
    marked: int
    sent: int
    newest: int | None


class Ahead(msgspec.Struct, frozen=True):
    """Kafka has messages that this ledger does not know: it is an older copy, or another one.

    Attributes:
        ledger: whose messages they are.
        is_ours: they are of this ledger, as it was before it was restored.
        marked: the last publication that this ledger has as sent.
        publication: the highest one of that ledger.
        behind: by partition, how far this ledger has counted, and how far the other one had.
        begins: of another ledger, by partition, with which offset this one begins, if that is not the first of all.
    """

    ledger: str
    is_ours: bool
    marked: int
    publication: int
    behind: dict[int, tuple[int, int]]
    begins: dict[int, int]


class NewLog(msgspec.Struct, frozen=True):
    """The source is another topic of its name, perhaps on another Kafka.

    Attributes:
        clusters: the id of the known Kafka and of this one; None: it is the same.
        topics: the id of the known topic and of this one.
        begins: by partition, the first offset that the new one has.
        unread: by partition, offsets of the old one that were seen and never read.
        sent: the last publication that this Kafka has or, for all that it shows, may have had.
        newest: of our newest message there; None: there is none.
        empty: result topics that are new as well, so that results have to be published again.
    """

    clusters: tuple[str, str] | None
    topics: tuple[UUID, UUID]
    begins: dict[int, int]
    unread: dict[int, int]
    sent: int
    newest: int | None
    empty: list[str]


class Truncated(msgspec.Struct, frozen=True):
    """Partitions of the source end before what was counted.

    Attributes:
        topic_id: of the source.
        ends: by partition, its high watermark and the end of what was counted.
    """

    topic_id: UUID
    ends: dict[int, tuple[int, int]]


Case = Overwritten | Ahead | NewLog | Truncated


def find(
    connection: Connection, pipeline: Known, group: Group, broker: Broker, connections: Connections
) -> Case | None:
    """Which case it is; None: publish and consume explain everything by themselves.

    Raises:
        TopicMissingError: there is no source to look at.
    """
    writes = outlet(connection, pipeline)
    ours = whose(connection, writes)
    newest = group.newest_of_each(writes.topics, ours.names)
    kept = _kept(connection, {"pipeline_id": pipeline.pipeline_id})
    return diagnose(ours, kept, _seen(connection, pipeline, newest, group, broker, connections))


def outlet(connection: Connection, pipeline: Known) -> Outlet:
    """What sending has to know of a registered pipeline."""
    rows = connection.execute(_LEDGER["sink_partitions"], {"pipeline_id": pipeline.pipeline_id}).fetchall()
    topics = [topic for topic, _ in rows]
    return Outlet(pipeline.pipeline_id, pipeline.name, pipeline.ledger, pipeline.source_topic, topics)


def diagnose(ours: Whose, kept: Kept, seen: Seen) -> Case | None:
    """Which case it is. The log comes first: with another one, positions and ends say nothing."""
    newest = seen.newest.get(ours.ledger)
    if kept.cluster_id != seen.cluster_id or kept.topic_id != seen.topic_id:
        return NewLog(
            clusters=None if kept.cluster_id == seen.cluster_id else (kept.cluster_id, seen.cluster_id),
            topics=(kept.topic_id, seen.topic_id),
            begins={partition: at.low_watermark for partition, at in seen.ends.items()},
            unread={partition: count for partition, count in kept.unread.items() if count},
            sent=_sent(kept, newest),
            newest=newest,
            empty=seen.empty if kept.marked else [],
        )
    truncated = {
        partition: (seen.ends[partition].high_watermark, highest)
        for partition, (_, highest) in kept.covered.items()
        if partition in seen.ends and seen.ends[partition].high_watermark < highest
    }
    if truncated:
        return Truncated(kept.topic_id, truncated)
    return _cursor_case(ours, kept, seen)


def _cursor_case(ours: Whose, kept: Kept, seen: Seen) -> Case | None:
    known = [Cursor(ours.ledger, number) for number in (kept.marked, kept.intent) if number is not None]
    newest = seen.newest.get(ours.ledger)
    others = [ledger for ledger, publication in seen.newest.items() if ours.is_strange(Cursor(ledger, publication))]
    if seen.cursor in known or (seen.cursor is None and not others and Cursor(ours.ledger, newest or 0) in known):
        return None
    if strange := _strange(others, newest, seen):
        return _ahead(kept, seen, strange, is_ours=False)
    if max(_publication(seen.cursor, ours.ledger) or 0, newest or 0) > max(kept.marked, kept.intent or 0):
        return _ahead(kept, seen, ours.ledger, is_ours=True)
    return Overwritten(str(seen.cursor or ""), kept.marked, _sent(kept, newest), newest)


def _strange(others: list[str], newest: int | None, seen: Seen) -> str | None:
    """Another ledger that has published as this pipeline: the group's, or the one of which alone there are messages.

    Messages beside ours may be of another deployment that has the same dead-letter topic.
    """
    if isinstance(seen.cursor, Cursor):
        return seen.cursor.ledger if seen.cursor.ledger in others else None
    return next((ledger for ledger in others if seen.newest[ledger]), None) if newest is None else None


def _ahead(kept: Kept, seen: Seen, ledger: str, *, is_ours: bool) -> Ahead:
    of_group, behind = _publication(seen.cursor, ledger), {}
    if of_group is not None:
        behind = {
            partition: (kept.covered[partition][0], position)
            for partition, position in seen.positions.items()
            if partition in kept.covered and kept.covered[partition][0] < position
        }
    return Ahead(
        ledger=ledger,
        is_ours=is_ours,
        marked=kept.marked,
        publication=max(of_group or 0, seen.newest.get(ledger, 0)),
        behind=behind,
        begins={} if is_ours else {partition: first for partition, first in kept.first.items() if first},
    )


def _publication(cursor: Cursor | str | None, ledger: str) -> int | None:
    """Of the group's cursor, if it is of that ledger."""
    return cursor.publication if isinstance(cursor, Cursor) and cursor.ledger == ledger else None


def _sent(kept: Kept, newest: int | None) -> int:
    """What was about to be sent goes in one transaction: a message of it says that all of it is there."""
    if kept.intent is not None and newest is not None and newest > kept.marked:
        return kept.intent
    return kept.marked


def _kept(connection: Connection, facts: dict[str, Any]) -> Kept:
    rows = connection.execute(_RECOVERING["covered"], facts).fetchall()
    marked, intent, _ = one_row(connection, _OUTBOX["publisher"], facts)
    cluster_id, topic_id = one_row(connection, _RECOVERING["log"], facts)
    return Kept(
        cluster_id=cluster_id,
        topic_id=topic_id,
        marked=marked,
        intent=intent,
        first={partition: first_offset for partition, first_offset, *_ in rows},
        covered={partition: (covered_until, highest) for partition, _, covered_until, highest, _ in rows},
        unread={partition: unread for partition, *_, unread in rows},
    )


def _seen(
    connection: Connection,
    pipeline: Known,
    newest: dict[str, int],
    group: Group,
    broker: Broker,
    connections: Connections,
) -> Seen:
    source = broker.topic(pipeline.source_topic)
    if source is None:
        raise TopicMissingError(topic=pipeline.source_topic, bootstrap=connections.bootstrap, pipeline=pipeline.name)
    return Seen(
        cluster_id=broker.cluster_id(),
        topic_id=source.topic_id,
        ends=broker.ends(pipeline.source_topic, range(source.partitions)),
        cursor=group.cursor(pipeline.source_topic),
        positions=group.positions(pipeline.source_topic, source.partitions),
        newest=newest,
        empty=[
            window.topic
            for window in known_windows(connection, pipeline)
            if _is_empty(broker, window.topic) and window.has_results(connection)
        ],
    )


def _is_empty(broker: Broker, topic: str) -> bool:
    """Whether nothing was ever written into it."""
    facts = broker.topic(topic)
    return facts is None or not any(at.high_watermark for at in broker.ends(topic, range(facts.partitions)).values())
