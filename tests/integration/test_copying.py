"""Columns of Arrow by binary COPY: PostgreSQL has what was in them, of each type that a column can have."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from fix_stack import Stack
from microbatch.copying import copy_columns
from microbatch.postgres import Connection

FIRST = datetime(1, 1, 8, tzinfo=UTC)
LAST = datetime(9999, 12, 23, 23, 59, 59, 999_999, tzinfo=UTC)
ID = "a41005a7-808a-4b58-b679-f2fd494b810b"
COLUMNS: dict[str, tuple[str, pa.DataType, list[Any]]] = {
    "i": ("integer", pa.int64(), [-(2**31), 0, 2**31 - 1]),
    "b": ("bigint", pa.int64(), [-(2**63), 2**63 - 1, 7]),
    "small": ("bigint", pa.uint8(), [0, 255, 7]),
    "t": ("boolean", pa.bool_(), [True, False, True]),
    "at": ("timestamptz", pa.timestamp("us", tz="UTC"), [FIRST, LAST, datetime(1999, 12, 31, 23, 59, 59, 5, UTC)]),
    "day": ("date", pa.date32(), [FIRST.date(), LAST.date(), date(2000, 1, 1)]),
    "n": ("numeric", pa.decimal128(38, 0), [Decimal(10) ** 37, Decimal(0), Decimal(-12345)]),
    "d": ("numeric", pa.decimal128(17, 2), [Decimal("999999999999999.99"), Decimal("-0.01"), Decimal("1.50")]),
    "u": ("uuid", pa.string(), [ID, ID.replace("a", "f"), ID]),
    "s": ("text", pa.string(), ["", "ü \t\n\\N", "x" * 10_000]),
}


def copied(connection: Connection, columns: dict[str, tuple[str, "pa.Array[Any]"]]) -> list[tuple[Any, ...]]:
    definitions = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    connection.execute(f"create temporary table target (place serial, {definitions})".encode())
    query = sql.SQL("copy target ({}) from stdin (format binary)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    copy_columns(connection, query, list(columns.values()))
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return connection.execute(sql.SQL("select {} from target order by place").format(names)).fetchall()


@pytest.mark.parametrize("missing", [None, 0, 1, 2])
def test_a_table_has_what_was_in_the_columns(stack: Stack, missing: int | None) -> None:
    given = {
        name: (kind, pa.array([None if at == missing else value for at, value in enumerate(values)], type_))
        for name, (kind, type_, values) in COLUMNS.items()
    }
    expected = [[UUID(value) if kind == "uuid" else value for value in values] for kind, _, values in COLUMNS.values()]

    with psycopg.connect(stack.owner_dsn, options="-c timezone=UTC") as connection:
        found = copied(connection, given)

    assert found == [
        tuple(None if at == missing else value for value in row) for at, row in enumerate(zip(*expected, strict=True))
    ]


def test_a_part_of_a_column_is_copied_alone(stack: Stack) -> None:
    texts, numbers = pa.array(["a", "b", None, "d"]).slice(1, 2), pa.array([1, 2, 3, 4]).slice(1, 2)

    with psycopg.connect(stack.owner_dsn) as connection:
        assert copied(connection, {"s": ("text", texts), "n": ("bigint", numbers)}) == [("b", 2), (None, 3)]
