"""Rename a pipeline whose name was changed in its file. What it has counted and published stays as it is.

Kafka knows a pipeline by its name: the transactional id that fences its zombies, and the group that keeps its
positions and the cursor. So a rename moves the cursor from one group to another. All of it happens under the publish
lock, so nobody sends meanwhile; consume may go on under the old name until the last step.

    send    all that is numbered, as publish does it, under the old name: fences, settles, sends, marks
    cursor  positions and cursor into the new name's group, by a transaction of the new name's producer
    rename  name, definition and former names in the ledger, and tables that are named after the pipeline: one
            Postgres transaction, with the definition locked exclusively
    forget  delete the old name's group: nobody moves it any more, and lag tools would show it for ever

Killed before `rename` commits, the ledger has the old name: publish under it goes on with the old group, in which
nothing has changed, and a rename that is tried again replaces the cursor that it finds in the new group, for it is of
the same ledger. Killed after it, the ledger has the new name, whose group has the cursor that Postgres has marked, for
nobody could send since; a rename that is tried again only forgets. A task of the old name that still runs may not write
any more: batches and merges look at the name once they have the definition's lock.

Messages that were made before carry the old name in a header, those that wait for their number too. The ledger
remembers former names, so a cursor that is missing later is explained by the newest message under any of them.
"""

import logging
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace
from psycopg import sql
from psycopg.types.json import Jsonb

from microbatch.crash import crash_point
from microbatch.definition import definition, definition_hash
from microbatch.errors import RenameRefusedError
from microbatch.kafka import KAFKA_TIMEOUT_S, client_config
from microbatch.migrations import migrate
from microbatch.output_tables import output_tables
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, connect, one_row
from microbatch.registration import Registration, register
from microbatch.sending import Outlet, Sender
from microbatch.settings import Connections
from microbatch.sql import queries

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_RENAMING: Final = queries("renaming")


def rename(old: str, pipeline: Pipeline, connections: Connections) -> None:
    """Give a registered pipeline the name that its file declares now; harmless when that is done already.

    Args:
        old: the name that the ledger has.
        pipeline: as it is declared now, with the new name and nothing else changed.
        connections: of the role that runs pipelines.

    Raises:
        RenameRefusedError: there is no pipeline of the old name, or one has or had the new one.
        DefinitionChangedError: more than the name differs.
        MicrobatchError: what publish raises; try again.
    """
    with connect(connections.postgres, f"{pipeline.name} rename") as connection:
        migrate(connection)
        if not _is_renamed(connection, old, pipeline.name, connections.deployment):
            _rename(connection, old, pipeline, connections)
    _forget(old, connections)


def _rename(connection: Connection, old: str, pipeline: Pipeline, connections: Connections) -> None:
    before = replace(pipeline, name=old)
    registration = register(before, connections, connection)
    slot = {"pipeline_id": registration.pipeline_id}
    with connection.transaction():
        # Taken for the session: it outlives this transaction.
        acquire(connection, _LEDGER["lock_publish"], slot, registration.pipeline_id)
    if _is_renamed(connection, old, pipeline.name, connections.deployment):
        return  # by somebody else, before we had the lock
    sender = Sender(connection, Outlet.of(before, registration), connections)
    sender.send()
    if sender.refused:
        log.warning("%s: Kafka refused %d messages; they are in microbatch.set_aside", old, len(sender.refused))
    crash_point("rename.after_sent")
    Sender(connection, Outlet.of(pipeline, registration), connections).begin_group()
    crash_point("rename.after_cursor")
    with connection.transaction():
        # In the order in which registration takes them.
        connection.execute(_LEDGER["lock_registration"])
        acquire(connection, _LEDGER["lock_definition"], slot, registration.pipeline_id)
        # The new name may have been taken meanwhile.
        _is_renamed(connection, old, pipeline.name, connections.deployment)
        _change_ledger(connection, before, pipeline, registration)
    crash_point("rename.after_renamed")
    log.info("%s: renamed to %s", old, pipeline.name)


def _is_renamed(connection: Connection, old: str, new: str, deployment: str) -> bool:
    """Whether it has the new name already.

    Raises:
        RenameRefusedError: it has not, and cannot get it.
    """
    found = connection.execute(_RENAMING["names"], {"deployment": deployment, "names": [old, new]}).fetchall()
    has: dict[str, list[str]] = dict(found)
    if old not in has:
        if old in has.get(new, []):
            return True
        raise RenameRefusedError(old=old, new=new, reason=f"deployment {deployment!r} has no pipeline {old!r}")
    if new in has:
        raise RenameRefusedError(old=old, new=new, reason=f"there is a pipeline {new!r} already")
    for owner, former_names in found:
        if owner != old and new in former_names:
            reason = f"pipeline {owner!r} had that name, and messages of it carry it"
            raise RenameRefusedError(old=old, new=new, reason=reason)
    return False


def _change_ledger(connection: Connection, before: Pipeline, pipeline: Pipeline, registration: Registration) -> None:
    plain = definition(pipeline)
    facts = {
        "pipeline_id": registration.pipeline_id,
        "name": pipeline.name,
        "definition": Jsonb(plain),
        "definition_hash": definition_hash(plain),
        "registered_hash": registration.definition_hash,
    }
    if connection.execute(_RENAMING["rename_pipeline"], facts).rowcount != 1:
        raise RenameRefusedError(old=before.name, new=pipeline.name, reason="its definition has changed meanwhile")
    for was, now in zip(output_tables(before), output_tables(pipeline), strict=True):
        for (schema, old_table), (_, table) in zip(was.names, now.names, strict=True):
            if old_table != table:
                # Without sinks, a stream's state has the pipeline's name.
                statement = sql.SQL("alter table {} rename to {}")
                connection.execute(statement.format(sql.Identifier(schema, old_table), sql.Identifier(table)))
                tables = {"old": f"{schema}.{old_table}", "new": f"{schema}.{table}"}
                connection.execute(_RENAMING["rename_sink"], {**facts, **tables})
            identifier = sql.Identifier(schema, table)
            if one_row(connection, _RENAMING["comment"], {"table": identifier.as_string()}) == (before.name,):
                statement = sql.SQL("comment on table {} is {}")
                connection.execute(statement.format(identifier, sql.Literal(pipeline.name)))


def _forget(old: str, connections: Connections) -> None:
    """Delete the group of the old name. If that fails, it expires by itself."""
    group = f"microbatch.{connections.deployment}.{old}"
    admin = AdminClient(client_config(connections))
    try:
        for future in admin.delete_consumer_groups([group], request_timeout=KAFKA_TIMEOUT_S).values():
            future.result(KAFKA_TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        if not (isinstance(error, KafkaException) and error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND):
            log.warning("group %s could not be deleted: %s", group, error)
