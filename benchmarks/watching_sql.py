"""What each statement of the engine takes in PostgreSQL, watched from outside: seconds, CPU seconds, and pages."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from weakref import WeakKeyDictionary

import msgspec
import psycopg
from psycopg import sql

from microbatch.pipeline import Pipeline
from microbatch.sql import queries
from microbatch.view import view
from microbatch.window_tables import WindowTables

AnyCursor = psycopg.Cursor[Any] | psycopg.ServerCursor[Any]

OTHER: Final = "other"
_FILES: Final = ("ledger", "outbox")
_OF_WINDOWS: Final = ("publish_changes", "note_final_days", "revisions_of_merge")


class Statement(msgspec.Struct, frozen=True):
    """A statement that was executed.

    Attributes:
        name: its name in `microbatch/sql`; OTHER if it has none.
        wall_s: as its client saw it.
        cpu_s: of the server process that has executed it.
        pages: that were read, from memory or disk; None if that was not asked.
    """

    name: str
    wall_s: float
    cpu_s: float
    pages: int | None


class Watcher:
    """Notes all statements that cursors of this process execute while it watches.

    Attributes:
        statements: in their order.
    """

    def __init__(self, pipeline: Pipeline, *, explain: bool = False) -> None:
        self._names = _names(pipeline)
        self._explain = explain
        self._executed: WeakKeyDictionary[AnyCursor, str] = WeakKeyDictionary()
        self.statements: list[Statement] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch, until the end of the block."""
        client, server = psycopg.Cursor, psycopg.ServerCursor
        with (
            patch.object(client, "execute", self._watched(client.execute)),
            patch.object(server, "execute", self._watched(server.execute)),
            patch.object(server, "fetchmany", self._fetching(server.fetchmany)),
        ):
            yield

    def _watched(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def watched(cursor: AnyCursor, query: Any, *arguments: Any, **options: Any) -> Any:
            name = self._names.get(_text(query, cursor), OTHER)
            pages = self._pages(cursor.connection, query, arguments) if self._explain and name != OTHER else None
            self._executed[cursor] = name
            return self._noted(name, pages, cursor, partial(execute, cursor, query, *arguments, **options))

        return watched

    def _fetching(self, fetch: Callable[..., Any]) -> Callable[..., Any]:
        """What a cursor of the server fetches counts for the statement that it has executed."""

        def fetching(cursor: AnyCursor, *arguments: Any) -> Any:
            return self._noted(self._executed[cursor], 0, cursor, partial(fetch, cursor, *arguments))

        return fetching

    def _noted(self, name: str, pages: int | None, cursor: AnyCursor, do: Callable[[], Any]) -> Any:
        pid = cursor.connection.info.backend_pid
        cpu_s, began_s = _cpu_s(pid), time.perf_counter()
        done = do()
        wall_s = time.perf_counter() - began_s
        self.statements.append(Statement(name, wall_s, _cpu_s(pid) - cpu_s, pages))
        return done

    def _pages(self, connection: psycopg.Connection[Any], query: Any, arguments: tuple[Any, ...]) -> int:
        """Execute it once before, undo that, and say how many pages that took; planning is not counted."""
        asked = sql.SQL("explain (analyze, buffers, format json) ") + sql.SQL(_text(query, connection))
        with connection.transaction(force_rollback=True):
            ((found,),) = psycopg.ClientCursor(connection).execute(asked, *arguments).fetchall()
        plan = found[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _names(pipeline: Pipeline) -> dict[str, str]:
    """The names of statements, by their texts."""
    named = {text: name for file in _FILES for name, text in queries(file).items()}
    for output in pipeline.windows:
        tables = WindowTables(pipeline, output, view(pipeline))
        named |= {tables.compose(name).as_string(): name for name in _OF_WINDOWS}
    return named


def _text(query: Any, context: Any) -> str:
    return query.as_string(context) if isinstance(query, sql.Composable) else str(query)


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process, to the nanosecond; its times in `stat` are hundredths of seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
