"""What a run is told, and what it says afterwards. Values for people and logs: the ledger has the truth."""

from datetime import datetime

import msgspec

from microbatch.ranges import OffsetRange


class Run(msgspec.Struct, frozen=True):
    """Who works.

    Attributes:
        dag_id: the DAG, or the command, that runs the pipeline.
        run_id: names the run within it.
        clear_number: 0 in a run's first life and its retries, +1 each time it is cleared (Airflow's).
        interval: start and end of a scheduled run's data interval, aware; None for any other run.
    """

    dag_id: str
    run_id: str
    clear_number: int = 0
    interval: tuple[datetime, datetime] | None = None


class BatchSummary(msgspec.Struct, frozen=True):
    """One batch, as the ledger has it after its commit."""

    batch_id: int
    ranges: list[OffsetRange]
    messages: int
    rejected: int
    windows: int
    seconds: float


class ConsumeSummary(msgspec.Struct, frozen=True):
    """What consume did for one shard.

    Attributes:
        batches: in the order of their commits.
        behind: messages below the looked-at ends that are still to be read.
        completed_before: the run had completed already, and nothing was done.
    """

    shard: int
    batches: list[BatchSummary]
    behind: int
    completed_before: bool = False

    @property
    def messages(self) -> int:
        """Over all batches."""
        return sum(batch.messages for batch in self.batches)

    @property
    def rejected(self) -> int:
        """Over all batches."""
        return sum(batch.rejected for batch in self.batches)

    def describe(self) -> str:
        """One line for people."""
        shard = f"shard {self.shard}"
        if self.completed_before:
            return f"{shard}: this run had completed before; nothing was done"
        end = f"{self.behind:,} messages behind; the next run goes on" if self.behind else "caught up"
        batches = f"{len(self.batches)} batch{'' if len(self.batches) == 1 else 'es'}"
        return f"{shard}: {self.messages:,} messages in {batches}, {self.rejected:,} rejected; {end}"


class PublishSummary(msgspec.Struct, frozen=True):
    """What publish did.

    Attributes:
        closed_until: windows that end at or before it are closed; None: none is yet.
        revisions: results published, retractions among them.
        corrections: those among them whose result had been final.
        sent: messages that reached Kafka.
        waiting: segments that wait for a gap below them to be filled.
    """

    closed_until: datetime | None
    revisions: int
    corrections: int
    sent: int
    waiting: int

    def describe(self) -> str:
        """One line for people."""
        closed = f"closed until {self.closed_until:%Y-%m-%d %H:%M:%S} UTC" if self.closed_until else "no window closed"
        waiting = f"; {self.waiting:,} segments wait for a gap" if self.waiting else ""
        return (
            f"{closed}: {self.revisions:,} revisions ({self.corrections:,} of them corrections), "
            f"{self.sent:,} messages sent{waiting}"
        )
