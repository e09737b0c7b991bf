"""The tables of a stream: its rows, and the keys of `unique`."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
from psycopg import sql

from microbatch.columntypes import Column
from microbatch.computing import Key
from microbatch.copying import copy_columns
from microbatch.outputs import Stream
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange
from microbatch.rows import Rows
from microbatch.sql import queries
from microbatch.tables import Name, Templates, add_columns, comment, copy_all, definitions, names_of
from microbatch.view import View

_TEMPLATES: Final = queries("streams")


class StreamTables(Templates):
    """The tables of a pipeline's stream.

    Attributes:
        columns: of a row.
        unique: the columns of a key.
        has_rows: whether it has a table of rows; else its rows only go to a topic, or nowhere.
    """

    def __init__(self, pipeline: Pipeline, output: Stream, view: View) -> None:
        schema, name = pipeline.state(output)
        self._rows, self._keys = (schema, name), (schema, f"{name}_key")
        self.columns = [
            Column(name, column.type.postgres or "", column.sql.replace("\0", ""))
            for name, column in view.stream.items()
        ]
        self.unique = [Column(name, view.seen[name].postgres or "", f"column {name}") for name in output.unique]
        self.has_rows = output.table is not None
        super().__init__(
            _TEMPLATES,
            {
                "rows": sql.Identifier(*self._rows),
                "keys": sql.Identifier(*self._keys),
                "columns": definitions([], self.columns),
                "names": names_of(column.name for column in self.columns),
                "key_columns": definitions(self.unique),
                "key": names_of(column.name for column in self.unique),
                **{f"key_of_{alias}": names_of((column.name for column in self.unique), alias) for alias in "kct"},
            },
        )

    @property
    def names(self) -> list[Name]:
        """Its rows and its keys, as far as it has them."""
        return [*([self._rows] if self.has_rows else []), *([self._keys] if self.unique else [])]

    def create(self, connection: Connection, pipeline: str) -> None:
        """Create the tables, with comments."""
        if self.has_rows:
            connection.execute(self.compose("create_rows", pipeline=sql.Literal(pipeline)))
            comment(connection, self._rows, self.columns)
        if self.unique:
            connection.execute(self.compose("create_keys"))

    def add_columns(self, connection: Connection) -> None:
        """Add columns that are not there yet."""
        if self.has_rows:
            add_columns(connection, self._rows, self.columns)

    def copy_rows(self, connection: Connection, batch_id: int, rows: Rows) -> None:
        """COPY rows of a batch."""
        if self.has_rows:
            values = [(column.copied, array) for column, array in zip(self.columns, rows.values, strict=True)]
            partition, batch = (pa.repeat(pa.scalar(number), len(rows)) for number in (rows.partition, batch_id))
            places = [("integer", partition), ("bigint", rows.offsets), ("bigint", batch)]
            copy_columns(connection, self.compose("copy_rows"), [*places, *values])

    def book(
        self, connection: Connection, batch_id: int, keys: Iterator[Key], redone: dict[str, Any] | None
    ) -> Iterator[tuple[int, int]]:
        """Book the keys that nobody booked before; gives partition and offset of their events.

        Args:
            connection: in the batch's transaction.
            batch_id: the batch.
            keys: those that it has, each once.
            redone: of a batch that is redone: pipeline, source and topic, as `take_keys` asks for them.
        """
        connection.execute(self.compose("create_candidates"))
        types = [*(column.copied for column in self.unique), "int4", "int8", "int8"]
        copy_all(connection, self.compose("copy_candidates"), types, ((*key, batch_id) for key in keys))
        if redone is not None:
            connection.execute(self.compose("take_keys"), redone)
        connection.execute(self.compose("book_keys"))
        connection.execute("drop table candidate")
        with connection.cursor(name="booked") as cursor:
            found: Any = cursor.execute(self.compose("keys_of_batch"), {"batch_id": batch_id})
            yield from found

    def erase(self, connection: Connection, batch_id: int, ranges: Iterable[OffsetRange]) -> None:
        """Take away what a batch has left; the messages whose rows or keys they were are in `passed_before` then."""
        connection.execute(self.compose("create_passed_before"))
        if self.has_rows:
            for item in ranges:
                facts = {"partition": item.partition, "start_offset": item.start, "end_offset": item.end}
                connection.execute(self.compose("erase_rows"), facts)
        if self.unique:
            connection.execute(self.compose("erase_keys"), {"batch_id": batch_id})
