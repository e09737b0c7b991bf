"""Connections to PostgreSQL, and waiting for its locks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.sql import Composed

from microbatch.errors import (
    ConnectionLostError,
    ConnectionStringError,
    PostgresRefusesError,
    PostgresUnreachableError,
    SessionSharedError,
)
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
# What PostgreSQL cannot do now and may do later, and who can help it.
_REMEDIES: Final[dict[type[Exception], str]] = {
    psycopg.errors.DiskFull: "make room on its disk",
    psycopg.errors.OutOfMemory: "give it more memory",
    psycopg.errors.QueryCanceled: "raise statement_timeout for this role, or look who has cancelled it",
    psycopg.errors.LockNotAvailable: "look who holds the lock (pg_locks), or raise lock_timeout for this role",
    psycopg.errors.DeadlockDetected: "look who else locks these tables (pg_locks)",
    psycopg.errors.ReadOnlySqlTransaction: "let the connection lead to the server that takes writes",
}


@contextmanager
def connect(dsn: str, purpose: str) -> Iterator[Connection]:
    """A session in autocommit mode; transactions are explicit.

    Args:
        dsn: a connection string of libpq.
        purpose: shown in pg_stat_activity, after `microbatch `.

    Raises:
        PostgresUnreachableError: no answer, or the login was refused.
        ConnectionStringError: `dsn` is none.
        ConnectionLostError: the session ended while it was used.
        PostgresRefusesError: a statement failed for want of room, time or a lock.
    """
    at = where(dsn)
    # Not as startup options, which PgBouncer refuses.
    limits = {"idle_in_transaction": f"{IDLE_IN_TRANSACTION_S}s", "idle_session": f"{IDLE_SESSION_S}s"}
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            application_name=f"microbatch {purpose}"[:63],
            connect_timeout=CONNECT_TIMEOUT_S,
        )
    except psycopg.OperationalError as error:
        raise PostgresUnreachableError(where=at, reason=_first_line(error)) from error
    with connection:
        try:
            connection.execute(_LEDGER["set_up_session"], limits)
            yield connection
        # A ValueError: of a session that ends inside COPY, PgBouncer tells once more than psycopg thinks possible.
        except (psycopg.Error, ValueError) as error:
            if connection.closed:
                reason = _first_line(error) if isinstance(error, psycopg.Error) else "inside COPY"
                raise ConnectionLostError(purpose=purpose, where=at, reason=reason) from error
            if remedy := _REMEDIES.get(type(error)):
                raise PostgresRefusesError(
                    purpose=purpose, where=at, reason=_first_line(error), remedy=remedy
                ) from error
            raise


def refuse_shared_sessions(connection: Connection, dsn: str) -> None:
    """See that this session is one for as long as it is open, which locks and settings rely on.

    A pooler that gives a session to one client for one transaction only, such as PgBouncer in the mode `transaction`,
    gives the session that was used last to the next who asks, if nobody else is quicker.

    Args:
        connection: to `dsn`, outside a transaction.
        dsn: where another one is opened.

    Raises:
        SessionSharedError: the other one was given the same session.
    """
    mine = connection.execute(_LEDGER["session"]).fetchone()
    with connect(dsn, "check") as other:
        others = other.execute(_LEDGER["session"]).fetchone()
    if mine == others:
        raise SessionSharedError(where=where(dsn))


def where(dsn: str) -> str:
    """Host, port and database of a connection string, without its secrets.

    Raises:
        ConnectionStringError: it is none.
    """
    parts = parts_of(dsn)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def parts_of(dsn: str) -> dict[str, Any]:
    """A connection string, by the names of libpq's parameters.

    Raises:
        ConnectionStringError: it is none.
    """
    try:
        return conninfo_to_dict(dsn)
    except psycopg.Error:
        # The text of libpq quotes what it does not understand.
        raise ConnectionStringError(form="postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE") from None


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
                connection.execute("set local lock_timeout to default")
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
