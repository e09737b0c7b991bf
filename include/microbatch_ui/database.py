"""The ledger and the results, read with a role that only reads: Airflow's connection `postgres_reader`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from microbatch.airflow_connections import postgres_conninfo
from microbatch.postgres import Connection, connect
from microbatch.sql import queries_of

READER: Final = "postgres_reader"
TIMEOUT_S: Final = 10


@contextmanager
def reading(timeout_s: int = TIMEOUT_S) -> Iterator[Connection]:
    """A session in which nothing can be written, and no statement takes longer than `timeout_s`.

    Raises:
        SettingMissingError: Airflow has no such connection.
        PostgresUnreachableError: no answer.
        PostgresRefusesError: a statement took longer.
    """
    with connect(postgres_conninfo(READER), "ui") as connection:
        connection.execute("set default_transaction_read_only = on")
        connection.execute("select set_config('statement_timeout', %s, false)", [f"{timeout_s}s"])
        yield connection


def rows(connection: Connection, query: Any, facts: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a query, by the names of their columns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, facts).fetchall()


def queries(file: str) -> dict[str, LiteralString]:
    """The named queries of one file of `microbatch_ui/sql`."""
    return queries_of("microbatch_ui.sql", file)
