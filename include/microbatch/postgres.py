"""Connections to PostgreSQL, and waiting for its locks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.sql import Composed

from microbatch.errors import ConnectionLostError, PostgresUnreachableError
from microbatch.sql import queries

Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S: Final = 10
# A transaction that waits for its client for as long is rolled back: its process was stopped or cut off.
IDLE_IN_TRANSACTION_S: Final = 30
# Longer than every timeout of Kafka: a publisher may wait for Kafka without losing its session.
IDLE_SESSION_S: Final = 180
# Whoever has waited this long for a lock ends a holder that the timeouts above cannot end.
LOCK_PATIENCE_S: Final = 30
_LEDGER: Final = queries("ledger")


@contextmanager
def connect(dsn: str, purpose: str) -> Iterator[Connection]:
    """A session in autocommit mode; transactions are explicit.

    Args:
        dsn: a connection string of libpq.
        purpose: shown in pg_stat_activity, after `microbatch `.

    Raises:
        PostgresUnreachableError: no answer, or the login was refused.
        ConnectionLostError: the session ended while it was used.
    """
    options = (
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_S}s"
        f" -c idle_session_timeout={IDLE_SESSION_S}s -c timezone=UTC"
    )
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            application_name=f"microbatch {purpose}"[:63],
            connect_timeout=CONNECT_TIMEOUT_S,
            options=options,
        )
    except psycopg.OperationalError as error:
        raise PostgresUnreachableError(where=where(dsn), reason=_first_line(error)) from error
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            if connection.closed:
                raise ConnectionLostError(purpose=purpose, where=where(dsn), reason=_first_line(error)) from error
            raise


def where(dsn: str) -> str:
    """Host, port and database of a connection string, without its secrets."""
    parts = conninfo_to_dict(dsn)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def acquire(connection: Connection, query: LiteralString, parameters: dict[str, Any], pipeline_id: int) -> None:
    """Run a statement that may wait for a lock, however long that takes.

    After each LOCK_PATIENCE_S it terminates holders of the pipeline's locks whose client was stopped inside COPY:
    they are `active` for the server, which no timeout of its own ends.
    """
    while True:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_PATIENCE_S}s'")
                connection.execute(query, parameters)
                # The setting would outlive the savepoint that this transaction may be.
                connection.execute("set local lock_timeout = 0")
        except psycopg.errors.LockNotAvailable:
            stuck = {"pipeline_id": pipeline_id, "stuck_s": LOCK_PATIENCE_S}
            connection.execute(_LEDGER["terminate_stuck_holders"], stuck)
        else:
            return


def one_row(connection: Connection, query: LiteralString | Composed, parameters: Mapping[str, Any]) -> TupleRow:
    """The row of a statement that always gives one: an aggregate, RETURNING, or what registration has inserted."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None  # noqa: S101 - see above
    return row


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
