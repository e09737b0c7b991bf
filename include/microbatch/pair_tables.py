"""The tables of a pairing: its pairs, and the events that wait for a partner."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
from psycopg import sql

from microbatch.copying import copy_columns
from microbatch.outputs import Pairs
from microbatch.pairing import Paired, Waiting
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.relations import ROWS_A_FETCH, chunks
from microbatch.sql import queries
from microbatch.tables import Name, Templates, copy_all

_TEMPLATES: Final = queries("pairs")


class PairTables(Templates):
    """The tables of one pairing."""

    def __init__(self, pipeline: Pipeline, output: Pairs) -> None:
        schema, name = pipeline.state(output)
        self._sum = output.sum
        self.names: list[Name] = [(schema, name), (schema, f"{name}_waiting")]
        pairs, waiting = (sql.Identifier(*table) for table in self.names)
        super().__init__(_TEMPLATES, {"pairs": pairs, "waiting": waiting})

    def create(self, connection: Connection, pipeline: str) -> None:
        """Create the tables, with comments."""
        connection.execute(self.compose("create_pairs", pipeline=sql.Literal(pipeline)))
        connection.execute(self.compose("create_waiting"))

    def add_columns(self, connection: Connection) -> None:
        """Nothing: its columns are always the same."""

    def oldest_waiting(self, connection: Connection, numbers: dict[int, int]) -> Iterator[Waiting]:
        """What waits for partners.

        Args:
            connection: to the ledger.
            numbers: how many events of each number want to be paired.
        """
        # Partners of more than 64 bits do not exist.
        wanted = {
            partner: count for number, count in numbers.items() if -(2**63) <= (partner := self._sum - number) < 2**63
        }
        facts = {"numbers": list(wanted), "limits": list(wanted.values())}
        with connection.cursor(name="waiting") as cursor:
            found: Any = cursor.execute(self.compose("oldest_waiting"), facts)
            for row in found:
                yield Waiting(*row)

    def copy_pairs(self, connection: Connection, batch_id: int, pairs: Paired) -> None:
        """COPY pairs of a batch."""
        values = list(zip(["bigint", "integer", "bigint"] * 2, pairs.values, strict=True))
        first = ("bigint", pairs.first_batch_ids.fill_null(batch_id))
        second = ("bigint", pa.repeat(pa.scalar(batch_id), len(pairs.offsets)))
        copy_columns(connection, self.compose("copy_pairs"), [*values[:3], first, *values[3:], second])

    def remove_waiting(self, connection: Connection, matched: Iterator[Waiting]) -> None:
        """Take away those that have a partner now."""
        for some in chunks(matched, ROWS_A_FETCH):
            facts = {
                "values": [item.value for item in some],
                "batches": [item.batch_id for item in some],
                "timestamps": [item.kafka_timestamp for item in some],
                "partitions": [item.partition for item in some],
                "offsets": [item.offset for item in some],
            }
            connection.execute(self.compose("remove_waiting"), facts)

    def copy_waiting(self, connection: Connection, waiting: Iterable[Waiting]) -> None:
        """COPY those that wait from now on."""
        types = ["int8", "int8", "timestamptz", "int4", "int8"]
        rows = ((w.value, w.batch_id, w.kafka_timestamp, w.partition, w.offset) for w in waiting)
        copy_all(connection, self.compose("copy_waiting"), types, rows)

    def events_of(self, connection: Connection, batch_id: int) -> set[tuple[int, int, int]]:
        """Number, partition and offset of each event that a batch has booked, paired or not."""
        found: Any = connection.execute(self.compose("events_of_batch"), {"batch_id": batch_id}).fetchall()
        return set(found)
