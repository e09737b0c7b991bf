"""Rows on their way into and out of DuckDB, as many at a time as memory is meant to hold."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from microbatch.event import EPOCH

T = TypeVar("T")

ROWS_A_FETCH: Final = 10_000


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of at most so many."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def insert(database: duckdb.DuckDBPyConnection, table: str, columns: dict[str, "pa.Array[Any]"]) -> None:
    """Add rows to a table of DuckDB."""
    database.register("more", pa.table(columns))
    database.execute(f"insert into {table} by name select * from more")  # noqa: S608 - names are ours
    database.unregister("more")


def python_rows(found: duckdb.DuckDBPyConnection, times: list[bool]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, with those columns as datetimes that are microseconds in it."""
    at = [position for position, is_time in enumerate(times) if is_time]
    while rows := found.fetchmany(ROWS_A_FETCH):
        for row in rows:
            columns = list(row)
            for position in at:
                if columns[position] is not None:
                    columns[position] = EPOCH + timedelta(microseconds=columns[position])
            yield tuple(columns)
