"""SQL expressions of a declaration: whether they can be computed for one event at a time, and their types.

DuckDB parses them: what stands in a declaration is an expression of one row, or it is refused. Its value may
depend on the row alone: aggregates, subqueries, and functions whose value changes by themselves are no part of it.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final

import duckdb

from microbatch.columntypes import TIME, ColumnType, quoted
from microbatch.fields import Field

EVENT_TIME: Final = "_event_time"
BATCH_TIME: Final = "_batch_time"
KAFKA_TIMESTAMP: Final = "_kafka_timestamp"
PARTITION: Final = "_partition"
OFFSET: Final = "_offset"

ENGINE_COLUMNS: Final = {
    EVENT_TIME: TIME,
    BATCH_TIME: TIME,
    KAFKA_TIMESTAMP: TIME,
    PARTITION: "INTEGER",
    OFFSET: "BIGINT",
}
"""What an expression may use beside the event's fields: name and DuckDB's type."""

_REFUSED_CLASSES: Final = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column by its position",
}
# DuckDB knows these without parentheses, unless there is a column of the name.
_WORDS: Final = (
    *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"),
)
# DuckDB calls these consistent.
_CLOCKS: Final = ("current_localtime", "current_localtimestamp")
# What was found before, in this process: a declaration is looked at several times.
_KNOWN: Final[dict[tuple[Any, str], ColumnType]] = {}
_ITS_VALUE_CHANGES: Final = f"whose value changes by itself (use {BATCH_TIME} for now)"


def connect(**config: Any) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, in which times are UTC."""
    database = duckdb.connect(config={"threads": 1, **config})
    database.execute("set TimeZone = 'UTC'")
    return database


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for all declarations of a process: to make it takes longer than to ask it."""
    return connect()


class Expressions:
    """The expressions over the events of one type."""

    def __init__(self, event: Mapping[str, Field]) -> None:
        self._event = event
        self._types = {**{name: field.type.sql for name, field in event.items()}, **ENGINE_COLUMNS}
        self._key = tuple((name, field.type.sql, field.optional) for name, field in event.items())

    def type_of(self, sql: str) -> ColumnType:
        """The type of an expression; known as nullable if it is a field that is.

        Raises:
            ValueError: it cannot be computed for a row; the text says why and what would help.
        """
        known = _KNOWN.get((self._key, sql))
        if known is None:
            known = _KNOWN[self._key, sql] = self._found(sql)
        return known

    def _found(self, sql: str) -> ColumnType:
        tree = self._parsed(sql)
        for refused in _refused(_database(), tree, [name.casefold() for name in self._types]):
            raise ValueError(f"{sql!r} has {refused}; write an expression of the columns of one event")
        empty = ", ".join(f"null::{kind} as {quoted(name)}" for name, kind in self._types.items())
        try:
            found = _database().execute(f"describe select (\n{sql}\n) from (select {empty}) as event").fetchall()  # noqa: S608
        except duckdb.Error as error:
            raise ValueError(
                f"{sql!r} is refused by DuckDB: {first_line(error)}; it has {', '.join(self._types)}"
            ) from error
        return ColumnType(found[0][1], nullable=self._is_optional(tree))

    def _parsed(self, sql: str) -> dict[str, Any]:
        """The parse tree of the expression."""
        if "\0" in sql or sql.encode(errors="replace").decode() != sql:
            raise ValueError(
                f"{sql!r} has a NUL or half a surrogate pair, which no text of PostgreSQL holds; write chr(0)"
            )
        # The line break ends a comment that the expression may end with.
        found = _database().execute("select json_serialize_sql(?)", [f"select (\n{sql}\n)"]).fetchone()
        tree: dict[str, Any] = json.loads(found[0]) if found else {"error": True}
        if tree["error"]:
            why = tree.get("error_message", "")
            raise ValueError(f'{sql!r} is no SQL expression: {why} (quote names that are words of SQL: "order")')
        node = tree["statements"][0]["node"] if len(tree["statements"]) == 1 else {}
        is_one = len(node.get("select_list", [])) == 1 and node.get("from_table", {}).get("type") == "EMPTY"
        if not is_one or node.get("where_clause"):
            raise ValueError(f"{sql!r} is more than one SQL expression")
        expression: dict[str, Any] = node["select_list"][0]
        return expression

    def _is_optional(self, tree: dict[str, Any]) -> bool:
        names = tree["column_names"] if tree["class"] == "COLUMN_REF" else []
        return len(names) == 1 and names[0] in self._event and self._event[names[0]].optional


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return str(error).strip().split("\n")[0]


def _refused(database: duckdb.DuckDBPyConnection, tree: Any, columns: Collection[str]) -> Iterator[str]:
    """What of a parse tree is not an expression of one row with these columns, in words."""
    for node in _nodes(tree):
        if node["class"] in _REFUSED_CLASSES:
            yield _REFUSED_CLASSES[node["class"]]
        elif node["class"] == "FUNCTION":
            yield from _refused_function(database, node)
        elif node["class"] == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = node["column_names"][0].casefold()
            if name in _WORDS and name not in columns:
                yield f"{name}, {_ITS_VALUE_CHANGES}"


def _refused_function(database: duckdb.DuckDBPyConnection, node: dict[str, Any]) -> Iterator[str]:
    name = node["function_name"]
    rows = duckdb_functions().get(name, [])
    if any(kind == "aggregate" for kind, *_ in rows):
        yield f"the aggregate {name}()"
    elif rows and not any(kind in ("scalar", "macro") for kind, *_ in rows):
        yield f"the function {name}(), which gives rows"
    elif (
        any(stability not in ("CONSISTENT", None) for _, stability, _ in rows)
        or name in _CLOCKS
        or (name == "age" and len(node["arguments"]) == 1)  # without a second time it is the age today
    ):
        yield f"the function {name}(), {_ITS_VALUE_CHANGES}"
    for definition in {definition for *_, definition in rows if definition}:
        inner = database.execute("select json_serialize_sql(?)", [f"select {definition}"]).fetchone()
        yield from _refused(database, json.loads(inner[0]) if inner else {}, [])


@cache
def duckdb_functions() -> dict[str, list[tuple[str, str | None, str | None]]]:
    """Type, stability and definition (of a macro) of DuckDB's functions by name; to ask for one takes as long.

    A process may ask before it forks: children then know, and no connection stays open.
    """
    with connect() as database:
        rows = database.execute(
            "select function_name, function_type, stability, macro_definition from duckdb_functions()"
        ).fetchall()
    found = defaultdict(list)
    for name, *facts in rows:
        found[name].append((*facts,))
    return dict(found)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a parse tree that are expressions."""
    if isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)
    elif isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for item in tree.values():
            yield from _nodes(item)
