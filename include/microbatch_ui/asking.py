"""Any one query, asked with the role that only reads: bounded in time, in rows and in what a cell may hold.

The query stands in brackets inside one of ours. So it cannot be anything else than a query (no `set`, no `copy`, no
second statement), the server itself cuts rows and cells, and every value comes as PostgreSQL writes it. Its session
ends with it: nothing that a function may have set or locked stays.
"""

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any, Final

import msgspec
import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from microbatch.postgres import Connection
from microbatch_ui.database import TIMEOUT_S, queries, reading

MAX_ROWS: Final = 1_000
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_CELL: Final = 10_000
"""Characters."""
_CATALOG: Final = queries("catalog")
# How many semicolons may stand in a comment behind the last one that ends the query.
_TRIES: Final = 10
_ONLY_QUERIES: Final = "This is no query: only one that starts with select, with, values or table can be asked"


class Column(msgspec.Struct, frozen=True):
    """A column of a result; `type` as PostgreSQL calls it."""

    name: str
    type: str


class Asked(msgspec.Struct, frozen=True):
    """What a query gave.

    Attributes:
        columns: in the order of the query; names may be there twice.
        rows: PostgreSQL's texts; None is null.
        is_cut: there are more rows.
        has_cut_cells: some texts were longer than MAX_CELL; they end with an ellipsis.
        seconds: from the question to the last row.
    """

    columns: list[Column]
    rows: list[list[str | None]]
    is_cut: bool
    has_cut_cells: bool
    seconds: float


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no answer, for people.

    Attributes:
        message: PostgreSQL's, or ours.
        detail: more of it.
        hint: what may help.
        position: of the character in the query, 1 for the first one, if it is about a place.
    """

    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None


class QueryRefusedError(Exception):
    """A query that PostgreSQL, or we, do not run."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


def ask(query: str) -> Asked:
    """The answer to a query.

    Raises:
        QueryRefusedError: it is none, or PostgreSQL refuses it, or it takes longer than TIMEOUT_S.
        MicrobatchError: PostgreSQL cannot be asked.
    """
    began_s = monotonic()
    with reading() as connection:
        try:
            with connection.transaction(force_rollback=True):
                # A statement before the query: from then on nobody can make the transaction one that writes.
                connection.execute(_CATALOG["set_search_path"])
                columns = _columns(connection, query)
                rows, is_cut = _rows(connection, _bounded(connection, query, len(columns)))
        except psycopg.Error as error:
            if connection.closed:
                raise
            raise QueryRefusedError(_refusal(error)) from error
    shown = [[_cell(cell) for cell in row] for row in rows]
    has_cut_cells = any(len(cell or "") > MAX_CELL for row in shown for cell in row)
    return Asked(columns, shown, is_cut, has_cut_cells, monotonic() - began_s)


def _columns(connection: Connection, query: str) -> list[Column]:
    """The columns of a query, which the server takes apart as it is: its errors know places in it."""
    pgconn = connection.pgconn
    _checked(pgconn.prepare(b"", query.encode()))
    described = _checked(pgconn.describe_prepared(b""))
    places = range(described.nfields)
    if not places:
        raise QueryRefusedError(Refusal(_ONLY_QUERIES))
    facts = {"oids": [described.ftype(n) for n in places], "modifiers": [described.fmod(n) for n in places]}
    types: list[tuple[str]] = connection.execute(_CATALOG["names_of_types"], facts).fetchall()
    names = [(described.fname(n) or b"").decode() for n in places]
    return [Column(name, kind) for name, (kind,) in zip(names, types, strict=True)]


def _bounded(connection: Connection, query: str, columns: int) -> bytes:
    """Our query around it.

    Behind its closing semicolon, if it has one, stand at most comments, for the server has found one statement. A cut
    at a semicolon before that one, or in such a comment, is refused by the server, so that only the right one is left.
    """
    for text in islice(_cut_at_semicolons(query), _TRIES):
        bounded = _around(text, columns)
        try:
            with connection.transaction():
                _checked(connection.pgconn.prepare(b"", bounded))
        except psycopg.errors.SyntaxError:
            continue
        return bounded
    raise QueryRefusedError(Refusal(_ONLY_QUERIES))


def _cut_at_semicolons(query: str) -> Iterator[str]:
    yield query
    while ";" in query:
        query = query.rpartition(";")[0]
        yield query


def _around(query: str, columns: int) -> bytes:
    names = [f"c{n}" for n in range(columns)]
    cells = ", ".join(f"left({name}::text, {MAX_CELL + 1})" for name in names)
    return f"select {cells} from (\n{query}\n) as asked ({', '.join(names)}) limit {MAX_ROWS + 1}".encode()  # noqa: S608


def _rows(connection: Connection, query: bytes) -> tuple[list[tuple[str | None, ...]], bool]:
    """Its rows, and whether it has more: they come one by one, so that the most that is in memory is bounded."""
    rows: list[tuple[Any, ...]] = []
    left = MAX_BYTES
    with connection.cursor() as cursor:
        for row in cursor.stream(query):
            left -= sum(len(cell.encode()) for cell in row if cell is not None)
            if left < 0 or len(rows) == MAX_ROWS:
                return rows, True
            rows.append(row)
    return rows, False


def _cell(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def _checked(result: PGresult) -> PGresult:
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)
    return result


def _refusal(error: psycopg.Error) -> Refusal:
    diagnosed = error.diag
    position = int(diagnosed.statement_position) if diagnosed.statement_position else None
    message = diagnosed.message_primary or str(error)
    if isinstance(error, psycopg.errors.QueryCanceled):
        hint = f"A query has {TIMEOUT_S} seconds: ask for fewer windows, for single keys, or with the indexes' columns."
        return Refusal(message, diagnosed.message_detail, hint)
    return Refusal(message, diagnosed.message_detail, diagnosed.message_hint, position)
