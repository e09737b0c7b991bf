"""Register: make a pipeline known to the ledger, in a short transaction of its own, before anything is read.

It survives a first batch that fails: from here on, every partition has its beginning.
"""

from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from microbatch.crash import crash_point
from microbatch.definition import Plain, definition, definition_hash, difference
from microbatch.errors import (
    DefinitionChangedError,
    OtherClusterError,
    SinkOwnedError,
    TableExistsError,
    TopicMissingError,
    TopicRecreatedError,
)
from microbatch.kafka import Broker, TopicFacts
from microbatch.migrations import migrate
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.tables import ResultTables
from microbatch.topics import create_sinks

_LEDGER: Final = queries("ledger")


class Registration(msgspec.Struct, frozen=True):
    """What the ledger calls a pipeline.

    Attributes:
        pipeline_id: its number.
        ledger: names this ledger in Kafka.
        topic_id: of the source topic.
        partitions: of the source topic, as they are now.
        sink_partitions: of each result and dead-letter topic, counted when the pipeline was registered.
        definition_hash: of the declaration, which is the ledger's.
    """

    pipeline_id: int
    ledger: UUID
    topic_id: UUID
    partitions: int
    sink_partitions: dict[str, int]
    definition_hash: str


class _Row(msgspec.Struct, frozen=True):
    """A row of microbatch.pipeline."""

    pipeline_id: int
    ledger: UUID
    cluster_id: str
    source_topic: str
    definition: Plain
    definition_hash: str


def register(pipeline: Pipeline, connections: Connections, connection: Connection) -> Registration:
    """Register a pipeline, or find that it is; new partitions of its source are added, beginning at 0.

    Creates what is missing: the ledger's schema, sink topics, result tables.

    Raises:
        TopicMissingError, TopicRecreatedError, OtherClusterError: the source is not what it was.
        DefinitionChangedError: it is registered with another definition.
        SinkOwnedError, TableExistsError: a sink is not free.
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
        _check(pipeline, connections, row, cluster_id)
    create_sinks(pipeline, broker)
    with connection.transaction():
        connection.execute(_LEDGER["lock_registration"])
        row = _find(connection, pipeline, connections.deployment)
        is_new = row is None
        if row is None:
            row = _insert(connection, pipeline, connections.deployment, cluster_id)
            _add_sinks(connection, broker, pipeline, row.pipeline_id)
        _check(pipeline, connections, row, cluster_id)
        _add_partitions(connection, broker, pipeline, row.pipeline_id, source, is_new=is_new)
        sinks = connection.execute(_LEDGER["sink_partitions"], {"pipeline_id": row.pipeline_id}).fetchall()
    crash_point("consume.after_register")
    return Registration(
        row.pipeline_id, row.ledger, source.topic_id, source.partitions, dict(sinks), row.definition_hash
    )


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


def _check(pipeline: Pipeline, connections: Connections, row: _Row, cluster_id: str) -> None:
    plain = definition(pipeline)
    if row.cluster_id != cluster_id:
        raise OtherClusterError(
            pipeline=pipeline.name,
            registered=row.cluster_id,
            found=cluster_id,
            bootstrap=connections.bootstrap,
        )
    declared = definition_hash(plain)
    if row.definition_hash != declared:
        raise DefinitionChangedError(
            pipeline=pipeline.name,
            registered=row.definition_hash[:12],
            declared=declared[:12],
            difference="; ".join(difference(row.definition, plain)),
        )


def _add_sinks(connection: Connection, broker: Broker, pipeline: Pipeline, pipeline_id: int) -> None:
    for output in pipeline.outputs:
        tables = ResultTables(output, pipeline.fields)
        for name in tables.names:
            _own(connection, pipeline, pipeline_id, "table", name, None)
            there = connection.execute(_LEDGER["table_exists"], {"name": name}).fetchone()
            if there == (True,):
                raise TableExistsError(pipeline=pipeline.name, table=name)
        tables.create(connection, pipeline.name)
        if output.topic:
            _own_topic(connection, broker, pipeline, pipeline_id, "results", output.topic.name)
    _own_topic(connection, broker, pipeline, pipeline_id, "dead letters", pipeline.dead_letter_topic.name)


def _own_topic(
    connection: Connection, broker: Broker, pipeline: Pipeline, pipeline_id: int, kind: str, name: str
) -> None:
    facts = broker.topic(name)
    if facts is None:
        raise TopicMissingError(topic=name, bootstrap="the broker", pipeline=pipeline.name)
    _own(connection, pipeline, pipeline_id, kind, name, facts.partitions)


def _own(
    connection: Connection, pipeline: Pipeline, pipeline_id: int, kind: str, name: str, partitions: int | None
) -> None:
    facts = {"pipeline_id": pipeline_id, "kind": kind, "name": name, "partitions": partitions}
    owner = connection.execute(_LEDGER["owner_of_sink"], facts).fetchone()
    if owner is not None:
        raise SinkOwnedError(pipeline=pipeline.name, kind=kind, name=name, owner=owner[0])
    connection.execute(_LEDGER["insert_sink"], facts)


def _add_partitions(
    connection: Connection,
    broker: Broker,
    pipeline: Pipeline,
    pipeline_id: int,
    source: TopicFacts,
    *,
    is_new: bool,
) -> None:
    """Partitions that a new pipeline finds begin at their low watermark; those that appear later at 0."""
    rows = connection.execute(_LEDGER["progress"], {"pipeline_id": pipeline_id}).fetchall()
    there = {partition: topic_id for partition, topic_id, *_ in rows}
    for topic_id in set(there.values()) - {source.topic_id}:
        raise TopicRecreatedError(topic=pipeline.source.name, found=source.topic_id, registered=topic_id)
    missing = [partition for partition in range(source.partitions) if partition not in there]
    ends = broker.ends(pipeline.source.name, missing) if is_new else {}
    for partition in missing:
        facts = {
            "pipeline_id": pipeline_id,
            "topic_id": source.topic_id,
            "partition": partition,
            "first_offset": ends[partition].low_watermark if is_new else 0,
        }
        connection.execute(_LEDGER["insert_progress"], facts)
