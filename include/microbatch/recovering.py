"""Recover: cursor and ledger disagree, or the log is not the one that was read; a person has seen it and goes on.

    lock    the publish lock, for the session: nobody merges or sends meanwhile
    fence   a fresh producer of the pipeline's transactional id: no zombie sends any more, no transaction is open
    find    the case again: if it is not the one that was shown, nothing is done
    write   the decision and all that follows from it in the ledger, with the definition locked exclusively, so that no
            batch is at work: one Postgres transaction
    cursor  the marked cursor and the positions into the group, by a transaction of that producer

What a kill leaves, and who goes on:

| killed                 | left behind                     | who goes on                                            |
| ---------------------- | ------------------------------- | ------------------------------------------------------ |
| before the commit      | nothing; locks end with us      | the same case again                                    |
| before the cursor:     |                                 |                                                        |
| - an overwritten one   | it                              | publish stops; `recover` is the same case, writes it   |
| - a new log            | none, or one of an earlier time | publish, if our newest message explains it; else as    |
|                        |                                 | above: an overwritten one                              |
| - after an older dump  | the one that the ledger has now | publish                                                |
| - of another ledger    | one of a former ledger now      | publish stops; `recover` finds an overwritten one      |
| after the cursor       | nothing                         | publish                                                |

A publish that waits for the lock finds all of it done. A batch that was planned before, from a log that is retired by
now, fails: it looks at the topic's id once it has read.
"""

from typing import Any, Final

import msgspec

from microbatch.adopting import Adoption, refuse_adopting
from microbatch.crash import crash_point
from microbatch.deciding import Known, Why, record
from microbatch.diagnosing import Ahead, Case, NewLog, Overwritten, Truncated, find, outlet
from microbatch.errors import NotAsShownError
from microbatch.kafka import Broker
from microbatch.postgres import Connection, acquire
from microbatch.retiring import cut_off, refuse_retiring, retire
from microbatch.sending import Sender, whose
from microbatch.settings import Connections
from microbatch.settling import group_name, open_group
from microbatch.sql import queries

_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


def look(connection: Connection, pipeline: Known, connections: Connections) -> Case | None:
    """Which case it is; None: there is nothing to recover. Changes nothing.

    Raises:
        MicrobatchError: Kafka does not answer, or has no source.
    """
    broker = Broker(connections)
    with open_group(group_name(connections, pipeline.name), connections, broker) as group:
        return find(connection, pipeline, group, broker, connections)


def refuse(pipeline: Known, case: Case) -> None:
    """Refuse what cannot be recovered, or not yet.

    Raises:
        RecoverRefusedError: not each message would count and be sent exactly once; the text says what else can be done.
    """
    if isinstance(case, Ahead):
        refuse_adopting(pipeline, case)
    elif isinstance(case, NewLog | Truncated):
        refuse_retiring(pipeline)


def recover(connection: Connection, pipeline: Known, connections: Connections, shown: Case, why: Why) -> Case | None:
    """Do what the case asks for; see the module's docstring. Returns what is to be recovered then, mostly nothing.

    Raises:
        RecoverRefusedError: see `refuse`.
        NotAsShownError: it is another case by now; nothing was changed.
        MicrobatchError: what publish raises; try again.
    """
    refuse(pipeline, shown)
    facts = {"pipeline_id": pipeline.pipeline_id}
    with connection.transaction():
        # Taken for the session: it outlives this transaction.
        acquire(connection, _LEDGER["lock_publish"], facts, pipeline.pipeline_id)
    crash_point("recover.after_lock")
    writes = outlet(connection, pipeline)
    sender, broker = Sender(connection, writes, connections), Broker(connections)
    with sender.fenced() as group:
        found = find(connection, pipeline, group, broker, connections)
        if not _is_as_shown(shown, found):
            raise NotAsShownError(pipeline=pipeline.name, command="recover")
        adoption = Adoption(connection, pipeline, connections, shown) if isinstance(shown, Ahead) else None
        if adoption is not None:
            adoption.read(whose(connection, writes))
        with connection.transaction():
            acquire(connection, _LEDGER["lock_definition"], facts, pipeline.pipeline_id)
            decision_id = record(connection, pipeline.pipeline_id, "recover", _details(shown), why)
            if adoption is not None:
                adoption.write(decision_id)
            elif isinstance(shown, NewLog):
                retire(connection, pipeline, shown, decision_id)
            elif isinstance(shown, Truncated):
                cut_off(connection, pipeline, shown, decision_id)
            elif isinstance(shown, Overwritten) and shown.sent > shown.marked:
                connection.execute(_OUTBOX["mark"], {**facts, "number": shown.sent})
            crash_point("recover.before_commit")
        crash_point("recover.after_commit")
        left = find(connection, pipeline, group, broker, connections)
        if not isinstance(left, Overwritten | None):
            return left
        sender.write_cursor(group)
    crash_point("recover.after_cursor")
    return None


def _is_as_shown(shown: Case, found: Case | None) -> bool:
    """Whether it is that case still. A truncated log may have grown: what is new was not to be counted."""
    if isinstance(shown, Truncated) and isinstance(found, Truncated) and shown.topic_id == found.topic_id:
        return shown.ends.keys() == found.ends.keys() and all(
            end <= found.ends[partition][0] for partition, (end, _) in shown.ends.items()
        )
    return shown == found


def _details(case: Case) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(case)
    return {"case": type(case).__name__, **plain}
