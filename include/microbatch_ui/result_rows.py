"""Results as rows, the newest first, a page at a time."""

from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg
from fastapi import HTTPException, status
from psycopg import sql

from microbatch.postgres import Connection
from microbatch_ui.database import queries
from microbatch_ui.series import key_of, refused_key
from microbatch_ui.window_outputs import WindowOutput
from microbatch_ui.windows import Span, windows_in

_RESULTS: Final = queries("results")
_ROWS: Final = 100
_COMMA: Final = sql.SQL(", ")


class Page(msgspec.Struct, frozen=True):
    """Rows of a table of results.

    Attributes:
        columns: name and PostgreSQL's type of each.
        rows: their values.
        next: what `before` asks for the next page with; None: there is none. A page may have less than 100 rows, or
            none, and still a next one: of a key that many windows do not have.
    """

    columns: list[dict[str, str]]
    rows: list[list[Any]]
    next: str | None


def rows_of(connection: Connection, output: WindowOutput, span: Span, key: str | None, before: str | None) -> Page:
    """A page.

    Args:
        connection: to the ledger.
        output: whose results they are.
        span: of their windows.
        key: only its results; as `key_of` reads it.
        before: what the page before this one calls `next`; None: the first page.

    Raises:
        HTTPException: 400, the key or `before` is none of this output.
    """
    after = _cursor(output, before)
    if key is not None:
        return _of_key(connection, output, span, key_of(output, key), after)
    place, facts = _below(output, after)
    names = ["window_start", *(name for name, _ in output.by)]
    parts = {
        "below": place,
        "descending": _COMMA.join(sql.SQL("{} desc").format(sql.Identifier("r", name)) for name in names),
    }
    columns, found = _asked(connection, output, "rows", parts, {**span.facts, **facts})
    return _page(columns, found, None)


def _of_key(connection: Connection, output: WindowOutput, span: Span, key: list[str], after: list[str]) -> Page:
    """By way of the windows, of which each has one row of the key at the most."""
    until = [moment for moment in (span.facts["until"], datetime.fromisoformat(after[0]) if after else None) if moment]
    windows = windows_in(connection, output, Span(span.since, min(until, default=None)))
    values, facts = output.key_parts(key)
    newest_first = windows.starts[::-1]
    try:
        columns, found = _asked(
            connection, output, "rows_of_key", {"values": values}, {**facts, "windows": newest_first}
        )
    except psycopg.DataError as error:
        raise refused_key(output, key, str(error).splitlines()[0]) from error
    return _page(columns, found, windows.starts[0] if windows.is_cut else None)


def _asked(
    connection: Connection, output: WindowOutput, query: str, parts: dict[str, sql.Composable], facts: dict[str, Any]
) -> tuple[list[dict[str, str]], list[list[Any]]]:
    """The columns of the table and, last in each row, its place as a cursor; one row more than a page has."""
    columns = _COMMA.join(sql.Identifier("r", name) for name in output.columns)
    cursor = connection.execute(
        output.compose(_RESULTS[query], columns=columns, **parts), {**facts, "limit": _ROWS + 1}
    )
    described = [{"name": column.name, "type": column.type_display} for column in cursor.description or []]
    return described[:-1], [list(row) for row in cursor]


def _page(columns: list[dict[str, str]], found: list[list[Any]], older: datetime | None) -> Page:
    """What was found, and where to go on: after its last row, or before the oldest window that was looked at."""
    shown = found[:_ROWS]
    place = shown[-1][-1] if len(found) > _ROWS else [older.isoformat()] if older else None
    return Page(columns, [row[:-1] for row in shown], msgspec.json.encode(place).decode() if place else None)


def _cursor(output: WindowOutput, before: str | None) -> list[str]:
    """The window and the key, or the window alone, after which a page begins; empty: the first page."""
    if before is None:
        return []
    try:
        place = msgspec.json.decode(before, type=list[str])
        moment = datetime.fromisoformat(place[0])
    except (msgspec.MsgspecError, ValueError, IndexError):
        moment = None
    if moment is None or moment.tzinfo is None or len(place) not in (1, 1 + len(output.by)):
        raise HTTPException(
            status.HTTP_400_BAD_REQUEST, f"before={before!r} is no place in {output.table}; leave it out to begin anew"
        )
    return place


def _below(output: WindowOutput, after: list[str]) -> tuple[sql.Composable, dict[str, str]]:
    """A condition for what comes after a place, and its parameters."""
    if not after:
        return sql.SQL("true"), {}
    names = ["window_start", *(name for name, _ in output.by)][: len(after)]
    facts = {f"after{number}": value for number, value in enumerate(after)}
    columns = _COMMA.join(sql.Identifier("r", name) for name in names)
    values = _COMMA.join(sql.Placeholder(name) for name in facts)
    return sql.SQL("({}) < ({})").format(columns, values), facts
