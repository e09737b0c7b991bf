"""The messages behind a result: the batches that it sums are read again, with the engine's own decoding and flow."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import duckdb
import msgspec
import psycopg
import pyarrow as pa

from microbatch.columntypes import ColumnType
from microbatch.decoding import Decoded, Decoder, Message, whole
from microbatch.definition import changed_error, definition, definition_hash
from microbatch.event import EPOCH
from microbatch.explaining import Batch, Explanation
from microbatch.flow import POSITION, Flow
from microbatch.kafka import Broker
from microbatch.pipeline import Pipeline
from microbatch.ranges import OffsetRange
from microbatch.reading import open_reader
from microbatch.scratch import Scratch
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.stream_tables import StreamTables
from microbatch.translating import translator
from microbatch.view import view
from microbatch.window_tables import WindowTables
from microbatch.windows import Contributions, exact

_EXPLAINING: Final = queries("explaining")
_PASSED: Final = "passed"
_MINE: Final = "mine"
_US: Final = timedelta(microseconds=1)


class Traced(msgspec.Struct):
    """What reading a batch again has found of a window and key.

    Attributes:
        messages: how many contribute.
        deleted: ranges of the batch that Kafka does not have any more.
        numbers: what the messages give, by the columns of a contribution; empty: there were none.
    """

    messages: int
    deleted: list[OffsetRange]
    numbers: dict[str, Any]


class Tracer:
    """Reads the batches of an explanation again."""

    def __init__(
        self, connection: psycopg.Connection, pipeline: Pipeline, explanation: Explanation, connections: Connections
    ) -> None:
        """A tracer with the pipeline's declaration.

        Raises:
            DefinitionChangedError: it is not the one that the ledger has.
            SettingMissingError, SchemaRegistrySettingsError: it needs a schema registry, which cannot be asked.
        """
        output = explanation.output
        if definition_hash(definition(pipeline)) != output.definition_hash:
            raise changed_error(pipeline, output.definition)
        self._connection = connection
        self._pipeline = pipeline
        self._explanation = explanation
        self._connections = connections
        self._view = view(pipeline)
        states = [pipeline.state(window) for window in pipeline.windows]
        self._position = states.index((output.schema, output.table))
        self._window = pipeline.windows[self._position]
        self._partials = WindowTables(pipeline, self._window, self._view).partials
        self._translate = translator(pipeline.source, connections.schema_registry)
        self.traced = Traced(0, [], {})

    def shown(self, message: Message) -> bytes | None:
        """The value of a message that contributes, for people: what is no JSON as the JSON that was decoded."""
        return self._translate(message.value) if self._translate and message.value is not None else message.value

    def messages(self, batch: Batch) -> Iterator[Message]:
        """The messages of a batch that contribute, in the order in which they come; afterwards `traced` sums them up.

        Raises:
            KafkaUnreachableError, ReadFailedError, ReadStalledError: Kafka does not give them.
        """
        ranges, deleted = self._ranges(batch)
        self.traced = Traced(0, deleted, {})
        first_of_key = self._first_of_key(batch)
        with (
            Scratch() as scratch,
        ):
            database = scratch.database
            decoder, flow = Decoder(self._pipeline, self._translate), Flow(self._pipeline, batch.batch_time, database)
            contributions = Contributions(database, self._position, self._window, flow.columns, self._view.seen)
            if ranges:
                with open_reader(self._pipeline.source.name, self._connections) as reader:
                    for _, messages in reader.read(ranges):
                        decoded = decoder.decode(messages)
                        if decoded.events:
                            yield from self._mine(database, flow, decoded, contributions, first_of_key)
            names = [column.name for column in self._partials]
            for row in contributions.rows():
                self.traced.numbers = dict(zip(names, row[-len(names) :], strict=True))

    def _mine(
        self,
        database: duckdb.DuckDBPyConnection,
        flow: Flow,
        decoded: Decoded,
        contributions: Contributions,
        first_of_key: set[tuple[int, int]] | None,
    ) -> Iterator[Message]:
        """Those of a chunk that fall into the window and key; they are added to the contributions."""
        events = pa.Table.from_batches([flow.columns_of(decoded)])
        database.register(_PASSED, flow.run(events, decoded.messages, decoded.longest).events)
        columns = [(flow.columns[name], self._view.seen[name]) for name in self._window.by]
        conditions = [f"_start{self._position} = ?", *(_is(column, kind) for column, kind in columns)]
        values = [_us(self._explanation.window[0]), *map(_value, self._explanation.key.values())]
        database.execute(
            f"create or replace table {_MINE} as select * from {_PASSED} where {' and '.join(conditions)}",  # noqa: S608
            values,
        )
        database.unregister(_PASSED)
        found = database.execute(f"select {POSITION} from {_MINE} order by {POSITION}").fetchall()  # noqa: S608
        mine = {position: whole(decoded.messages[position]) for (position,) in found}
        kept = {
            position: message
            for position, message in mine.items()
            if first_of_key is None or (message.partition, message.offset) in first_of_key
        }
        if len(kept) < len(mine):
            database.execute(f"delete from {_MINE} where not list_contains(?, {POSITION})", [list(kept)])  # noqa: S608
        if kept:
            contributions.add(_MINE)
        self.traced.messages += len(kept)
        yield from kept.values()

    def _ranges(self, batch: Batch) -> tuple[list[OffsetRange], list[OffsetRange]]:
        """What of a batch's ranges can be read, and what Kafka does not have any more."""
        topic = self._pipeline.source.name
        broker = Broker(self._connections)
        facts = broker.topic(topic)
        ends = broker.ends(topic, range(facts.partitions)) if facts else {}
        readable, deleted = [], []
        rows: list[tuple[UUID, int, int, int]] = self._connection.execute(
            _EXPLAINING["ranges_to_read"], {"batch_id": batch.batch_id}
        ).fetchall()
        for topic_id, partition, start, end in rows:
            is_there = facts is not None and facts.topic_id == topic_id and partition in ends
            low = min(end, max(start, ends[partition].low_watermark)) if is_there else end
            readable += [OffsetRange(partition, low, end)] * (low < end)
            deleted += [OffsetRange(partition, start, low)] * (start < low)
        return readable, deleted

    def _first_of_key(self, batch: Batch) -> set[tuple[int, int]] | None:
        """With `unique`: the places of the batch's events that were the first of their key; None: all count."""
        stream = self._pipeline.stream
        if stream is None or not stream.unique:
            return None
        query = StreamTables(self._pipeline, stream, self._view).compose("keys_of_batch")
        return set(self._connection.execute(query, {"batch_id": batch.batch_id}).fetchall())


def _is(column: str, kind: ColumnType) -> str:
    """A condition of DuckDB; the value comes as text, so that nothing of it is lost."""
    return f"epoch_us({column}) = ?::bigint" if kind.is_time else f"{exact(column, kind)} = ?::{kind.sql}"


def _value(value: Any) -> str:
    return str(_us(value)) if isinstance(value, datetime) else str(value)


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // _US
