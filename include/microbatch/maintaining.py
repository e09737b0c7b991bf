"""Maintain: what a pipeline no longer needs is folded and pruned, and PostgreSQL may use the room again.

Everything is done in short transactions beside runs, redos and readers, and can be cut off and begun again at any
time. The ledger says what to do, by what the pipeline declared when it was registered last: no DAG file is asked.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from microbatch.clock import Clock
from microbatch.deciding import Known, known, session
from microbatch.folding import Folded, fold
from microbatch.keeping import Keep
from microbatch.postgres import Connection, one_row
from microbatch.pruning import prune_history, prune_records, prune_rows
from microbatch.settings import Connections
from microbatch.sql import queries

log: Final = logging.getLogger("microbatch")
_MAINTAINING: Final = queries("maintaining")
# A table that takes longer is left to autovacuum.
VACUUM_S: Final = 600


class Maintained(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        pipeline: for which.
        folded: batches that became archives.
        revisions: superseded ones that were deleted.
        rows: of its stream, likewise.
        records: of runs, failures and merges, likewise.
        tables: that were vacuumed.
        seconds: that it took.
    """

    pipeline: str
    folded: Folded
    revisions: int
    rows: int
    records: int
    tables: int
    seconds: float

    def describe(self) -> str:
        """One line for people."""
        pruned = f"{self.revisions:,} revisions, {self.rows:,} rows and {self.records:,} records pruned"
        done = f"{self.folded.batches:,} batches folded into {self.folded.archives:,} archives, {pruned}"
        return f"{self.pipeline}: {done}, {self.tables} tables vacuumed, in {self.seconds:.1f} s"


def registered(connections: Connections) -> list[str]:
    """The names of all pipelines of the deployment."""
    with session(connections, "maintain") as connection:
        rows = connection.execute(_MAINTAINING["registered"], {"deployment": connections.deployment}).fetchall()
    return [name for (name,) in rows]


def longest_redo(connections: Connections) -> timedelta:
    """How long batches can be redone at the most; pipelines that keep them for ever do not count."""
    with session(connections, "maintain") as connection:
        (found,) = one_row(connection, _MAINTAINING["longest_redo"], {"deployment": connections.deployment})
    return timedelta(0) if found is None else found


def maintain(pipeline_name: str, connections: Connections, now: datetime) -> Maintained:
    """Fold and prune one pipeline, and vacuum its tables and the ledger's.

    Args:
        pipeline_name: which; it is registered.
        connections: with the role that owns the tables.
        now: from when ages are counted, aware.

    Raises:
        NotRegisteredError: the ledger has no such pipeline.
    """
    clock = Clock()
    started_s = clock.monotonic_s()
    with session(connections, f"{pipeline_name} maintain") as connection:
        pipeline = known(connection, connections.deployment, pipeline_name)
        keep = _keep(connection, pipeline)
        folded, records = Folded(0, 0), 0
        if keep.contributions is not None:
            folded = fold(connection, pipeline.pipeline_id, now - keep.contributions)
            records = prune_records(connection, pipeline, now - keep.contributions)
        return Maintained(
            pipeline=pipeline.name,
            folded=folded,
            revisions=prune_history(connection, pipeline, now - keep.history) if keep.history is not None else 0,
            rows=prune_rows(connection, pipeline, now - keep.rows) if keep.rows is not None else 0,
            records=records,
            tables=_vacuum(connection, pipeline),
            seconds=clock.monotonic_s() - started_s,
        )


def _keep(connection: Connection, pipeline: Known) -> Keep:
    """As it was registered last; nothing is declared for a pipeline that no engine with archives has run yet."""
    contributions, history, rows = one_row(connection, _MAINTAINING["keep"], {"pipeline_id": pipeline.pipeline_id})
    return Keep(contributions=contributions, history=history, rows=rows)


def _vacuum(connection: Connection, pipeline: Known) -> int:
    """Vacuum and analyze, outside transactions; returns the number of tables."""
    tables = connection.execute(_MAINTAINING["tables_of"], {"pipeline_id": pipeline.pipeline_id}).fetchall()
    connection.execute("select set_config('statement_timeout', %s, false)", [f"{VACUUM_S}s"])
    vacuumed = 0
    for schema, table in tables:
        log.info("vacuum of %s.%s", schema, table)
        try:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(schema, table)))
            vacuumed += 1
        except psycopg.errors.QueryCanceled:
            log.warning("vacuum of %s.%s takes longer than %d s: left to autovacuum", schema, table, VACUUM_S)
    connection.execute("reset statement_timeout")
    return vacuumed
