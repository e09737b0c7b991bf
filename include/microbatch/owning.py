"""What a pipeline owns: its tables, the views over them, its topics. Two pipelines never write the same."""

from typing import Final

from microbatch.errors import SinkOwnedError, TableExistsError, TopicMissingError
from microbatch.kafka import Broker
from microbatch.output_tables import output_tables
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, one_row
from microbatch.sql import queries
from microbatch.tables import OutputTables
from microbatch.window_tables import WindowTables
from microbatch.window_views import VIEWS

_LEDGER: Final = queries("ledger")


def add_sinks(connection: Connection, broker: Broker, pipeline: Pipeline, pipeline_id: int) -> None:
    """Make the tables of a new pipeline, and book its topics, which are there.

    Raises:
        SinkOwnedError, TableExistsError, TopicMissingError: a sink is not free, or not there.
    """
    for tables in output_tables(pipeline):
        _own_tables(connection, pipeline, pipeline_id, tables)
        tables.create(connection, pipeline.name)
    connection.execute(_LEDGER["set_views"], {"pipeline_id": pipeline_id, "views": VIEWS})
    for output in pipeline.outputs:
        if output.topic is not None:
            _own_topic(connection, broker, pipeline, pipeline_id, "messages", output.topic.name)
    _own_topic(connection, broker, pipeline, pipeline_id, "dead letters", pipeline.dead_letter_topic.name)


def make_views(connection: Connection, pipeline: Pipeline, pipeline_id: int) -> None:
    """Make the views of this engine's edition for a pipeline that an earlier one has registered.

    Under the definition's lock: columns that somebody adds meanwhile would not be in them.

    Raises:
        SinkOwnedError, TableExistsError: a name is not free.
    """
    facts = {"pipeline_id": pipeline_id, "views": VIEWS}
    with connection.transaction():
        acquire(connection, _LEDGER["lock_definition"], facts, pipeline_id)
        if one_row(connection, _LEDGER["has_views"], facts) == (True,):
            return
        for tables in output_tables(pipeline):
            if isinstance(tables, WindowTables):
                _own_tables(connection, pipeline, pipeline_id, tables)
                tables.views.create(connection)
        connection.execute(_LEDGER["set_views"], facts)


def _own_tables(connection: Connection, pipeline: Pipeline, pipeline_id: int, tables: OutputTables) -> None:
    """Own those that it does not own yet; they must not be there."""
    rows = connection.execute(_LEDGER["owned_tables"], {"pipeline_id": pipeline_id}).fetchall()
    owned = {name for (name,) in rows}
    for schema, table in tables.names:
        name = f"{schema}.{table}"
        if name in owned:
            continue
        _own(connection, pipeline, pipeline_id, "table", name, None)
        if one_row(connection, _LEDGER["table_exists"], {"schema": schema, "table": table}) == (True,):
            raise TableExistsError(pipeline=pipeline.name, table=name)


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
        what = "table" if kind == "table" else "topic"
        raise SinkOwnedError(pipeline=pipeline.name, kind=what, name=name, owner=owner[0])
    connection.execute(_LEDGER["insert_sink"], facts)
