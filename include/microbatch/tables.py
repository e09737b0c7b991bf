"""The tables of a pipeline's outputs. Only here and in the modules of each kind do declared identifiers become SQL.

Templates are in `sql/`; what stands there in braces is composed here, quoted by psycopg.
"""

from collections.abc import Iterable, Iterator
from typing import Any, LiteralString, Protocol

from psycopg import sql

from microbatch.columntypes import Column
from microbatch.postgres import Connection

Name = tuple[str, str]
"""Schema and name of a table."""


class OutputTables(Protocol):
    """The tables of one output."""

    @property
    def names(self) -> list[Name]:
        """All of them."""

    def create(self, connection: Connection, pipeline: str) -> None:
        """Create them, with comments; `pipeline` says whose they are."""

    def add_columns(self, connection: Connection) -> None:
        """Add the declared columns that are not there yet."""


class Templates:
    """Queries of one file, composed for the tables of one output."""

    def __init__(self, templates: dict[str, LiteralString], parts: dict[str, sql.Composable]) -> None:
        self._templates = templates
        self._parts = parts

    def compose(self, name: str, **parts: sql.Composable) -> sql.Composed:
        """A query, ready to be executed."""
        return sql.SQL(self._templates[name]).format(**self._parts, **parts)


def names_of(columns: Iterable[str], alias: str | None = None) -> sql.Composed:
    """Columns, separated by commas."""
    qualified = [sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in columns]
    return sql.SQL(", ").join(qualified)


def definitions(needed: Iterable[Column], nullable: Iterable[Column] = ()) -> sql.Composed:
    """Column definitions; the types are the engine's own words."""
    found = [_definition(column, " not null") for column in needed]
    return sql.SQL(",\n    ").join(found + [_definition(column, "") for column in nullable])


def comment(connection: Connection, table: Name, columns: Iterable[Column]) -> None:
    """Write the comments of a table's columns."""
    for column in columns:
        statement = sql.SQL("comment on column {}.{} is {}").format(
            sql.Identifier(*table), sql.Identifier(column.name), sql.Literal(column.comment)
        )
        connection.execute(statement)


def add_columns(connection: Connection, table: Name, columns: Iterable[Column]) -> None:
    """Add columns that are not there yet; what is in the table already gets null."""
    for column in columns:
        statement = sql.SQL("alter table {} add column if not exists {}").format(
            sql.Identifier(*table), _definition(column, "")
        )
        connection.execute(statement)
    comment(connection, table, columns)


def copy(
    connection: Connection, query: sql.Composed, types: list[str], rows: Iterable[tuple[Any, ...]]
) -> Iterator[int]:
    """Binary COPY; yields the number of rows so far after each, inside the COPY."""
    with connection.cursor() as cursor, cursor.copy(query) as copying:
        copying.set_types(types)
        for count, row in enumerate(rows, 1):
            copying.write_row(row)
            yield count


def copy_all(connection: Connection, query: sql.Composed, types: list[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """Binary COPY of all rows; returns how many."""
    count = 0
    for count in copy(connection, query, types, rows):  # noqa: B007 - the last one is the number
        pass
    return count


def _definition(column: Column, constraint: str) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(_words(column.kind + constraint)))


def _words(kind: str) -> Any:
    """A type, which is the engine's own text; psycopg wants literals only, for good reason."""
    return kind
