"""Register: make a pipeline known to the ledger, in a short transaction of its own, before anything is read.

It survives a first batch that fails: from here on, every partition has its beginning.
"""

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from microbatch.clock import Clock
from microbatch.crash import crash_point
from microbatch.definition import Plain, changed_error, definition, definition_hash, difference, only_adds
from microbatch.errors import (
    MicrobatchError,
    OldDefinitionError,
    OtherClusterError,
    TopicMissingError,
    TopicRecreatedError,
)
from microbatch.kafka import Broker, TopicFacts
from microbatch.migrations import migrate
from microbatch.output_tables import output_tables
from microbatch.owning import add_sinks, make_views
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, one_row, refuse_shared_sessions
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.topics import create_sinks
from microbatch.window_views import VIEWS

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_ALWAYS: Final = "-infinity"


class Registration(msgspec.Struct, frozen=True):
    """What the ledger calls a pipeline.

    Attributes:
        pipeline_id: its number.
        ledger: names this ledger in Kafka.
        topic_id: of the source topic.
        partitions: of the source topic, as they are now.
        sink_partitions: of each topic that it writes, counted when the pipeline was registered.
        definition_hash: of the declaration, which is the ledger's.
    """

    pipeline_id: int
    ledger: UUID
    topic_id: UUID
    partitions: int
    sink_partitions: dict[str, int]
    definition_hash: str


class Beginning(msgspec.Struct, frozen=True):
    """Where a partition of a pipeline begins.

    Attributes:
        first_offset: the first one that is read.
        complete_from: the time from which on no window gets anything from messages below it; None: any.
    """

    first_offset: int
    complete_from: datetime | None


class _Row(msgspec.Struct, frozen=True):
    """A row of microbatch.pipeline."""

    pipeline_id: int
    ledger: UUID
    cluster_id: str
    source_topic: str
    definition: Plain
    definition_hash: str
    views: int


def register(pipeline: Pipeline, connections: Connections, connection: Connection) -> Registration:
    """Register a pipeline, or find that it is; new partitions of its source are added, beginning at 0.

    Creates what is missing: the ledger's schema, sink topics, tables, views. A definition that only adds to the
    registered one takes its place; its columns are added to the tables.

    Raises:
        TopicMissingError, TopicRecreatedError, OtherClusterError: the source is not what it was.
        DefinitionChangedError: it is registered with another definition, and more than additions differ.
        OldDefinitionError: the declaration is one that a rebuild has replaced.
        SinkOwnedError, TableExistsError: a sink is not free.
        SessionSharedError: a pooler does not give us a session of our own.
    """
    crash_point("consume.before_register")
    broker = Broker(connections)
    cluster_id = broker.cluster_id()
    source = broker.topic(pipeline.source.name)
    if source is None:
        raise TopicMissingError(topic=pipeline.source.name, bootstrap=connections.bootstrap, pipeline=pipeline.name)
    migrate(connection)
    row = _find(connection, pipeline, connections.deployment)
    if row is not None:
        _refuse_other_cluster(pipeline, connections, row, cluster_id)
        _change_definition(connection, pipeline, row)
        if row.views < VIEWS:
            make_views(connection, pipeline, row.pipeline_id)
    else:
        refuse_shared_sessions(connection, connections.postgres)
    create_sinks(pipeline, broker)
    with connection.transaction():
        connection.execute(_LEDGER["lock_registration"])
        row = _find(connection, pipeline, connections.deployment)
        is_new = row is None
        if row is None:
            row = _insert(connection, pipeline, connections.deployment, cluster_id)
            add_sinks(connection, broker, pipeline, row.pipeline_id)
        _refuse_other_cluster(pipeline, connections, row, cluster_id)
        if row.definition_hash != definition_hash(definition(pipeline)):
            raise _changed(connection, pipeline, row)
        _add_partitions(connection, broker, pipeline, row.pipeline_id, source, is_new=is_new)
        connection.execute(
            _LEDGER["set_keep"], {"pipeline_id": row.pipeline_id, **msgspec.structs.asdict(pipeline.keep)}
        )
        sinks = connection.execute(_LEDGER["sink_partitions"], {"pipeline_id": row.pipeline_id}).fetchall()
    crash_point("consume.after_register")
    return Registration(
        row.pipeline_id, row.ledger, source.topic_id, source.partitions, dict(sinks), row.definition_hash
    )


def margin(pipeline: Pipeline) -> timedelta:
    """How far an event time may be ahead of Kafka's timestamp, by which offsets are found."""
    return pipeline.max_future if pipeline.source.event_time is not None else timedelta(0)


def _find(connection: Connection, pipeline: Pipeline, deployment: str) -> _Row | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_LEDGER["find_pipeline"], {"deployment": deployment, "name": pipeline.name}).fetchone()
    return _Row(**found) if found else None


def _insert(connection: Connection, pipeline: Pipeline, deployment: str, cluster_id: str) -> _Row:
    plain = definition(pipeline)
    facts = {
        "deployment": deployment,
        "name": pipeline.name,
        "cluster_id": cluster_id,
        "source_topic": pipeline.source.name,
        "definition": Jsonb(plain),
        "definition_hash": definition_hash(plain),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        inserted = cursor.execute(_LEDGER["insert_pipeline"], facts).fetchone()
    row = _Row(**inserted or {})
    connection.execute(_LEDGER["insert_publisher"], {"pipeline_id": row.pipeline_id})
    return row


def _refuse_other_cluster(pipeline: Pipeline, connections: Connections, row: _Row, cluster_id: str) -> None:
    if row.cluster_id != cluster_id:
        raise OtherClusterError(
            pipeline=pipeline.name,
            registered=row.cluster_id,
            found=cluster_id,
            bootstrap=connections.bootstrap,
        )


def _change_definition(connection: Connection, pipeline: Pipeline, row: _Row) -> None:
    """Let a definition that only adds take the place of the registered one, once nobody works with that.

    In a transaction of its own: the lock of registrations, which all pipelines share, is not held while we wait.

    Raises:
        DefinitionChangedError, OldDefinitionError: more than additions differ.
    """
    declared = definition(pipeline)
    if row.definition_hash == definition_hash(declared):
        return
    if not only_adds(row.definition, declared):
        raise _changed(connection, pipeline, row)
    with connection.transaction():
        acquire(connection, _LEDGER["lock_definition"], {"pipeline_id": row.pipeline_id}, row.pipeline_id)
        (registered,) = one_row(connection, _LEDGER["definition"], {"pipeline_id": row.pipeline_id})
        if not only_adds(registered, declared):
            # Somebody was faster: with the same change, or with one that the caller will refuse.
            return
        for tables in output_tables(pipeline):
            tables.add_columns(connection)
        facts = {
            "pipeline_id": row.pipeline_id,
            "definition": Jsonb(declared),
            "definition_hash": definition_hash(declared),
        }
        connection.execute(_LEDGER["set_definition"], facts)
    log.info("%s: the definition has changed: %s", pipeline.name, "; ".join(difference(registered, declared)))


def _changed(connection: Connection, pipeline: Pipeline, row: _Row) -> MicrobatchError:
    """Whoever has a file from before a rebuild is to get the new one, not to rebuild everything back."""
    declared = definition_hash(definition(pipeline))
    facts = {"pipeline_id": row.pipeline_id, "definition_hash": declared}
    if one_row(connection, _LEDGER["was_rebuilt_from"], facts) == (True,):
        registered = row.definition_hash[:12]
        return OldDefinitionError(pipeline=pipeline.name, declared=declared[:12], registered=registered)
    return changed_error(pipeline, row.definition)


def _add_partitions(
    connection: Connection,
    broker: Broker,
    pipeline: Pipeline,
    pipeline_id: int,
    source: TopicFacts,
    *,
    is_new: bool,
) -> None:
    """Partitions that a new pipeline finds begin where it is to start; those that appear later begin at 0."""
    rows = connection.execute(_LEDGER["progress"], {"pipeline_id": pipeline_id}).fetchall()
    there = {partition: topic_id for partition, topic_id, *_ in rows}
    for topic_id in set(there.values()) - {source.topic_id}:
        raise TopicRecreatedError(
            pipeline=pipeline.name, topic=pipeline.source.name, found=source.topic_id, registered=topic_id
        )
    missing = [partition for partition in range(source.partitions) if partition not in there]
    first = Beginning(0, complete_from=None)
    beginnings = _beginnings(broker, pipeline, missing) if is_new else dict.fromkeys(missing, first)
    for partition, begins in beginnings.items():
        facts = {
            "pipeline_id": pipeline_id,
            "topic_id": source.topic_id,
            "partition": partition,
            "first_offset": begins.first_offset,
            "complete_from": begins.complete_from or _ALWAYS,
        }
        connection.execute(_LEDGER["insert_progress"], facts)
    if is_new:
        connection.execute(_LEDGER["update_complete_from"], {"pipeline_id": pipeline_id})


def _beginnings(broker: Broker, pipeline: Pipeline, partitions: list[int]) -> dict[int, Beginning]:
    """Where the partitions of a new pipeline begin. One of which nothing is skipped is complete from ever."""
    topic, start = pipeline.source.name, pipeline.start
    ends = broker.ends(topic, partitions)
    if start == "earliest":
        return {partition: Beginning(at.low_watermark, complete_from=None) for partition, at in ends.items()}
    if isinstance(start, datetime):
        found, since = broker.offsets_at(topic, partitions, start), dict.fromkeys(partitions, start)
    else:
        # What is skipped may have a timestamp of the future: Kafka takes an hour.
        now, newest = Clock().now(), broker.newest_times(topic, partitions)
        found, since = dict.fromkeys(partitions), {p: max(now, newest.get(p, now)) for p in partitions}
    beginnings = {}
    for partition, at in ends.items():
        offset = found[partition]
        first_offset = at.high_watermark if offset is None else offset
        beginnings[partition] = Beginning(first_offset, since[partition] + margin(pipeline) if first_offset else None)
    return beginnings
