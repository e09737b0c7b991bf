"""Rows for a binary COPY, made of columns of Arrow (PostgreSQL's manual, COPY, "Binary Format")."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from psycopg.types.numeric import DecimalBinaryDumper

from microbatch.columns import integers
from microbatch.joining import BINARY, Array, Bytes, Part, content, joined, lengths, of_one_width
from microbatch.postgres import Connection

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
# PostgreSQL counts from 2000-01-01.
_EPOCH_US: Final = 946_684_800_000_000
_EPOCH_DAYS: Final = 10_957
_INTEGERS: Final = {"integer": ">i4", "bigint": ">i8", "boolean": ">i1", "timestamptz": ">i8", "date": ">i4"}
_EPOCHS: Final = {"timestamptz": _EPOCH_US, "date": _EPOCH_DAYS}

Typed: TypeAlias = tuple[str, Array]
"""PostgreSQL's type, without parameters, and the values of a column."""


def copy_columns(connection: Connection, query: sql.Composed, columns: list[Typed]) -> None:
    """Binary COPY of columns with as many rows each, in the order in which the COPY names them."""
    with connection.cursor() as cursor, cursor.copy(query) as copying:
        copying.write(_SIGNATURE)
        copying.write(content(copy_rows(columns)))
        copying.write(_TRAILER)


def copy_rows(columns: list[Typed]) -> Array:
    """The rows of a binary COPY, without what stands before and after them."""
    fields = [part for kind, values in columns for part in _field(kind, values)]
    return joined([len(columns).to_bytes(2, "big"), *fields])


def _field(kind: str, values: Array) -> Iterator[Part]:
    if kind not in _INTEGERS:
        yield from _with_lengths(_SENT[kind](values))
        return
    data = _big_endian(_numbers(values) - _EPOCHS.get(kind, 0), _INTEGERS[kind])
    if values.null_count:
        yield from _with_lengths(pc.if_else(values.is_valid(), of_one_width(data), pa.scalar(None, BINARY)))
    else:
        yield data.shape[1].to_bytes(4, "big")
        yield data


def _with_lengths(values: Array) -> Iterator[Part]:
    """Each with its length before it; null has the length -1."""
    yield _big_endian(lengths(values), ">i4")
    yield values.fill_null(b"") if values.null_count else values


def _numbers(values: Array) -> npt.NDArray[np.int64]:
    """Booleans, days and microseconds are numbers too."""
    plain = values.cast(pa.int32()) if pa.types.is_date32(values.type) else values
    return integers(plain.cast(pa.int64()).fill_null(0))


def _big_endian(numbers: npt.NDArray[Any], kind: str) -> Bytes:
    found: Bytes = numbers.astype(kind).view(np.uint8).reshape(len(numbers), -1)
    return found


def _each(encode: Callable[[Any], bytes | bytearray | memoryview]) -> Callable[[Array], Array]:
    def sent(values: Array) -> Array:
        return pa.array([None if value is None else bytes(encode(value)) for value in values.to_pylist()], BINARY)

    return sent


def _dumped(value: Decimal) -> bytes:
    return bytes(DecimalBinaryDumper(Decimal).dump(value) or b"")


_SENT: Final[dict[str, Callable[[Array], Array]]] = {
    "text": lambda values: values.cast(BINARY),
    "numeric": _each(_dumped),
    "uuid": _each(lambda text: UUID(text).bytes),
}
