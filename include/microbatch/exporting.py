"""Results, or all their revisions, as a Parquet file: exact types, one snapshot, memory bounded by the chunk.

Decimals have at most 38 digits, though PostgreSQL's columns for sums and means are wider: what reads Parquet takes
wider ones for floats. No sum of real events needs them; one that does is an error.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow.parquet import ParquetWriter

from microbatch.errors import ExportRefusedError
from microbatch.explaining import Output

ROWS_A_CHUNK: Final = 50_000
_DIGITS: Final = 38
# By PostgreSQL's name of the type; what is not here is a numeric.
_ARROW: Final[dict[str, pa.DataType]] = {
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "uuid": pa.uuid(),
    "int8[]": pa.list_(pa.int64()),
}


class Wanted(msgspec.Struct, frozen=True):
    """What is to be exported.

    Attributes:
        output: whose results.
        history: all revisions instead of the results that hold.
        start: only windows that start at this time or later, if it is given.
        end: only windows that start before it, likewise.
    """

    output: Output
    history: bool
    start: datetime | None
    end: datetime | None


def export(connection: psycopg.Connection, wanted: Wanted, file: Path, tell: Callable[[int], None]) -> int:
    """Write a file; until it is whole, it is beside its place under another name. Returns the number of rows.

    Args:
        connection: of a role that reads, without an open transaction.
        wanted: the rows, in the order of windows and keys.
        file: its place; what is there is replaced.
        tell: is called after each chunk with the number of rows so far.

    Raises:
        ExportRefusedError: a number has too many digits, or the file cannot be written. Nothing is left behind.
    """
    rows = 0
    with _written(file) as stream, connection.transaction(), connection.cursor(name="export", binary=True) as cursor:
        cursor.execute(_query(wanted), {"start": wanted.start, "end": wanted.end})
        schema = pa.schema([pa.field(column.name, _type(connection, column)) for column in cursor.description or []])
        with ParquetWriter(stream, schema, compression="zstd") as writer:
            while chunk := cursor.fetchmany(ROWS_A_CHUNK):
                writer.write_table(_table(chunk, schema, file))
                rows += len(chunk)
                tell(rows)
    return rows


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(file)
    except OSError as error:
        raise ExportRefusedError(file=str(file), reason=f"it cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _query(wanted: Wanted) -> sql.Composed:
    output = wanted.output
    key = [sql.Identifier(name) for name in ("window_start", *(name for name, _ in output.by))]
    conditions = [
        sql.SQL(condition)
        for condition, bound in (("window_start >= %(start)s", wanted.start), ("window_start < %(end)s", wanted.end))
        if bound is not None
    ]
    return sql.SQL("select * from {} {}{} order by {}").format(
        sql.Identifier(output.schema, f"{output.table}_history" if wanted.history else output.table),
        sql.SQL("where " if conditions else ""),
        sql.SQL(" and ").join(conditions),
        sql.SQL(", ").join([*key, *([sql.Identifier("revision")] if wanted.history else [])]),
    )


def _type(connection: psycopg.Connection, column: psycopg.Column) -> pa.DataType:
    """The type in the file; a numeric without a scale is a sum of integers."""
    known = connection.adapters.types.get(column.type_code)
    name = "" if known is None else known.name + ("[]" if column.type_code == known.array_oid else "")
    if name == "numeric":
        return pa.decimal128(min(column.precision or _DIGITS, _DIGITS), column.scale or 0)
    return _ARROW[name]


def _table(rows: list[Any], schema: pa.Schema, file: Path) -> pa.Table:
    columns = []
    for field, values in zip(schema, zip(*rows, strict=True), strict=True):
        try:
            columns.append(pa.array(_stored(values, field.type), field.type))
        except pa.ArrowInvalid as error:
            reason = f"column {field.name!r} has a number of more than {_DIGITS} digits: {error}"
            raise ExportRefusedError(file=str(file), reason=reason) from error
    return pa.table(columns, schema=schema)


def _stored(values: tuple[Any, ...], kind: pa.DataType) -> list[Any]:
    if kind == pa.uuid():
        return [value if value is None else value.bytes for value in values]
    return list(values)
