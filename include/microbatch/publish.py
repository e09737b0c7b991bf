"""publish: contributions become results, and the outbox goes to Kafka. The only writer to Kafka."""

import logging
from typing import Final

from microbatch.clock import Clock
from microbatch.crash import crash_point
from microbatch.errors import MessagesRefusedError
from microbatch.merging import Merge, Merged
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, connect, one_row
from microbatch.registration import Registration, register
from microbatch.runs import PublishSummary, Run
from microbatch.sending import Outlet, Sender
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.steps import Stopwatch

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


def publish(pipeline: Pipeline, run: Run, connections: Connections) -> PublishSummary:
    """Merge, then send, all on one session that holds the publish lock from beginning to end.

    Raises:
        MicrobatchError: terminal or transient; what is not sent stays in the outbox for the next run.
    """
    watch = Stopwatch(Clock())
    with connect(connections.postgres, f"{pipeline.name} publish") as connection:
        registration = register(pipeline, connections, connection)
        _lock(connection, registration)
        watch.lap("lock")
        merged = Merge(connection, pipeline, registration, run).merge()
        watch.lap("merge")
        crash_point("publish.after_merge")
        _log(pipeline, merged)
        sender = Sender(connection, Outlet.of(pipeline, registration), connections)
        sender.send()
        watch.lap("send")
        left = {"pipeline_id": registration.pipeline_id, "dag_id": run.dag_id, "run_id": run.run_id}
        waiting, untold, stored = one_row(connection, _OUTBOX["left"], left)
    if sender.refused:
        first = sender.refused[0]
        raise MessagesRefusedError(
            pipeline=pipeline.name,
            count=len(sender.refused),
            first=f"publication {first.publication}, message {first.position}, to {first.message.topic}: {first.error}",
        )
    return PublishSummary(
        closed_until=merged.closed_until,
        revised=merged.revised,
        sent_to=dict(sender.sent_to),
        stored=stored,
        untold=untold,
        waiting=waiting,
        steps=watch.steps,
    )


def _lock(connection: Connection, registration: Registration) -> None:
    slot = {"pipeline_id": registration.pipeline_id}
    with connection.transaction():
        # Taken for the session: it outlives this transaction.
        acquire(connection, _LEDGER["lock_publish"], slot, registration.pipeline_id)
    crash_point("publish.after_lock")


def _log(pipeline: Pipeline, merged: Merged) -> None:
    closed = f"windows closed until {merged.closed_until}" if merged.closed_until else "no window closed yet"
    revisions = sum(revised.revisions for revised in merged.revised)
    corrections = sum(revised.corrections for revised in merged.revised)
    log.info("%s: %s, %d revisions, %d of them corrections", pipeline.name, closed, revisions, corrections)
