"""Commands by which a person accepts what trying again does not end: lost messages, and too many rejects."""

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from microbatch import accepting
from microbatch.cli_asking import agreed
from microbatch.deciding import known, session
from microbatch.kafka import Broker
from microbatch.ranges import OffsetRange
from microbatch.settings import connections


def accept_loss(name: str, reason: str | None, *, yes: bool) -> None:
    """Show what retention deleted unread, and go on without it."""
    there = connections()
    with session(there, f"{name} accept-loss") as connection:
        pipeline = known(connection, there.deployment, name)
        loss = accepting.find_loss(connection, pipeline, Broker(there), there)
        if loss is None:
            print(f"{name}: nothing is lost; Kafka still has all that is not counted yet")
            return
        table = _offsets(pipeline.source_topic, loss.ranges)
        table.title = f"{escape(pipeline.source_topic)}: deleted before {escape(name)} has read it"
        _print(table)
        print(
            "These messages are not counted and never will be. Windows close without them; the ledger has them as lost."
        )
        why = agreed(f"Accept the loss of {loss.offsets:,} offsets?", reason, yes=yes)
        batch_id = accepting.accept_loss(connection, pipeline, loss, why)
    print(f"on record as batch {batch_id}, a loss; the next run goes on after it: microbatch run {name}")


def accept_rejects(name: str, reason: str | None, *, yes: bool) -> None:
    """Show what batches failed on because too much of it was rejected, and let it go to the dead letters."""
    there = connections()
    with session(there, f"{name} accept-rejects") as connection:
        pipeline = known(connection, there.deployment, name)
        refused = accepting.find_refused(connection, pipeline)
        if refused is None:
            print(f"{name}: no batch waits that had too many rejects")
            return
        table = _offsets(pipeline.source_topic, refused.ranges)
        table.title = f"{escape(pipeline.source_topic)}: what was not stored, for too much of it was rejected"
        _print(table)
        print(f"Last try, at {refused.failed_at:%Y-%m-%d %H:%M:%S} UTC: {refused.error}")
        print("Rejects among them will be dead letters, and the other messages counted, whatever their share.")
        why = agreed("Accept the rejects among these messages?", reason, yes=yes)
        accepting.accept_rejects(connection, pipeline, refused, why)
    print(f"on record; the next run stores them: microbatch run {name}")


def _offsets(topic: str, ranges: list[OffsetRange]) -> Table:
    table = Table("source", "offsets", Column("messages at most", justify="right"), title_justify="left")
    for item in ranges:
        table.add_row(escape(f"{topic}[{item.partition}]"), f"{item.start}..{item.end - 1}", f"{item.size:,}")
    return table


def _print(table: Table) -> None:
    Console(highlight=False).print(table)
