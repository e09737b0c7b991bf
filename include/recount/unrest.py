"""Whether the engine is at work or has left work behind, and whether a ledger has moved."""

from recount.queries import SQL
from recount.tables import Connection, DbRow


def everything(connection: Connection, pipeline_id: int, *, alone: bool) -> tuple[str, ...]:
    """All of it; `alone`: without other pipelines' open transactions."""
    others = () if alone else open_transactions(connection)
    return (*others, *activity(connection, pipeline_id), *left_work(connection, pipeline_id))


def activity(connection: Connection, pipeline_id: int) -> tuple[str, ...]:
    """What says that somebody works on this very pipeline, one text each: all work begins with a lock."""
    return tuple(
        f"advisory lock, slot {row['slot']}, {'held' if row['granted'] else 'awaited'} by pid {row['pid']}"
        for row in connection.execute(SQL["advisory_locks"], {"pipeline_id": pipeline_id})
    )


def open_transactions(connection: Connection) -> tuple[str, ...]:
    """The engine's open transactions in this database, of any pipeline, one text each."""
    return tuple(
        f"open transaction of {row['application_name']!r} (pid {row['pid']})"
        for row in connection.execute(SQL["open_transactions"])
    )


def left_work(connection: Connection, pipeline_id: int) -> tuple[str, ...]:
    """What has still to be merged or sent, one text each."""
    of = {"pipeline_id": pipeline_id}
    waiting = connection.execute(SQL["waiting"], of).fetchone() or {}
    found = [f"{count} rows in {table}" for table, count in waiting.items() if count]
    row = connection.execute(SQL["publisher"], of).fetchone()
    if row is not None and row["intent"] is not None:
        found.append(f"open intent {row['intent']} (cursor {row['cursor']})")
    if row is not None and row["cursor"] != row["last_publication"]:
        found.append(f"last publication {row['last_publication']}, sent {row['cursor']}")
    return tuple(found)


def marks(connection: Connection, pipeline_id: int) -> DbRow:
    """What cannot stay the same when the ledger moves."""
    return connection.execute(SQL["marks"], {"pipeline_id": pipeline_id}).fetchone() or {}
