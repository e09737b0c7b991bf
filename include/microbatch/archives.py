"""Archives: what old batches have become. They cannot be redone, and whoever wants to is told so before he begins."""

from datetime import UTC
from typing import Any, Final, LiteralString

from microbatch.errors import BatchArchivedError
from microbatch.postgres import Connection
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")


def refuse_archived(connection: Connection, pipeline_id: int, topic: str, batches: list[int]) -> None:
    """Raise if one of these batches is an archive, or has become a part of one.

    Raises:
        BatchArchivedError: names the newest archive that is among them.
    """
    facts = {"pipeline_id": pipeline_id, "batches": batches}
    _refuse(connection, _LEDGER["archive_of_batches"], facts, topic, "a batch of these offsets")


def refuse_archived_run(connection: Connection, run_facts: dict[str, Any], topic: str) -> None:
    """Raise if batches of a run have become a part of an archive.

    Args:
        connection: to the ledger.
        run_facts: pipeline, DAG and id of the run.
        topic: the source.

    Raises:
        BatchArchivedError: names the newest archive that has some.
    """
    what = f"run {run_facts['run_id']} of {run_facts['dag_id']}"
    _refuse(connection, _LEDGER["archive_of_run"], run_facts, topic, what)


def _refuse(connection: Connection, query: LiteralString, facts: dict[str, Any], topic: str, what: str) -> None:
    found = connection.execute(query, facts).fetchone()
    if found is not None:
        first, last, *times = found
        since, until = (f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in times)
        raise BatchArchivedError(topic=topic, what=what, first=first, last=last, since=since, until=until)
