"""Rows of a stream on their way out: columns of Arrow, for most of them never become objects of Python."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microbatch.columntypes import ColumnType
from microbatch.event import EPOCH
from microbatch.joining import Array


class Row(msgspec.Struct, frozen=True):
    """A row of the stream.

    Attributes:
        partition: of its event.
        offset: of its event.
        key: of its message.
        timestamp_ms: Kafka's, of its message.
        values: of the stream's columns, in their order.
    """

    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    values: tuple[Any, ...]


class Rows(msgspec.Struct, frozen=True):
    """Rows of one range, in the order of their offsets.

    Attributes:
        partition: of their events.
        offsets: of their events.
        keys: of their messages.
        timestamps_ms: Kafka's, of their messages.
        values: of the stream's columns, in their order.
        types: of those columns; UUIDs are texts in Arrow.
    """

    partition: int
    offsets: Array
    keys: Array
    timestamps_ms: Array
    values: list[Array]
    types: list[ColumnType]

    @classmethod
    def of(cls, partition: int, table: pa.Table, types: list[ColumnType]) -> "Rows":
        """The rows of a table: offset, key, timestamp, and then the stream's columns."""
        arrays = [_whole(column) for column in table.columns]
        return cls(partition, arrays[0], arrays[1], arrays[2], arrays[3:], types)

    def __len__(self) -> int:
        return len(self.offsets)

    def only(self, which: npt.NDArray[np.bool_]) -> "Rows":
        """Those of them for which it is true."""
        mask = pa.array(which)
        return Rows(
            self.partition,
            self.offsets.filter(mask),
            self.keys.filter(mask),
            self.timestamps_ms.filter(mask),
            [values.filter(mask) for values in self.values],
            self.types,
        )

    def __iter__(self) -> Iterator[Row]:
        """As objects of Python: times are aware datetimes in UTC."""
        values = [_python(*column) for column in zip(self.values, self.types, strict=True)]
        places = (self.offsets.to_pylist(), self.keys.to_pylist(), self.timestamps_ms.to_pylist())
        for offset, key, timestamp_ms, *row in zip(*places, *values, strict=True):
            yield Row(self.partition, offset, key, timestamp_ms, tuple(row))


def _whole(column: "pa.ChunkedArray[Any]") -> Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _python(values: Array, kind: ColumnType) -> list[Any]:
    if kind.is_time:
        # As its own type it would need another library.
        found = values.cast(pa.int64()).to_pylist()
        return [None if us is None else EPOCH + timedelta(microseconds=us) for us in found]
    if kind.sql == "UUID":
        return [None if text is None else UUID(text) for text in values.to_pylist()]
    return list(values.to_pylist())
