"""What a run is told, and what it says afterwards. Values for people and logs: the ledger has the truth."""

from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

from microbatch.ranges import OffsetRange
from microbatch.steps import Step

Mode = Literal["catch up", "interval", "reprocess"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
NAMED_BATCHES: Final = 5
"""How many a summary names before it says how many more there are."""


class Run(msgspec.Struct, frozen=True):
    """Who works, and on what.

    Attributes:
        dag_id: the DAG, or the command, that runs the pipeline.
        run_id: names the run within it.
        clear_number: 0 in a run's first life and its retries, +1 each time it is cleared (Airflow's).
        mode: `catch up` reads all that is uncovered, `interval` what is uncovered of an interval's offsets,
            `reprocess` redoes the batches whose ranges meet an interval's offsets.
        interval: start and end, aware. In mode `catch up` only a scheduled run has one: it waits for its end, and
            closes windows up to it. The other modes always have one.
        max_records: bounds a batch, instead of the pipeline's own bound.
    """

    dag_id: str
    run_id: str
    clear_number: int = 0
    mode: Mode = "catch up"
    interval: tuple[datetime, datetime] | None = None
    max_records: int | None = None


class BatchSummary(msgspec.Struct, frozen=True):
    """One batch, as the ledger has it after its commit.

    Attributes:
        batch_id: its number.
        ranges: what it has read.
        messages: how many there were.
        rejected: how many of them it has rejected.
        windows: how many it has contributed to.
        seconds: from its locks to its commit.
        steps: what these were spent on: claim (with waiting for locks), read (and compute), store.
    """

    batch_id: int
    ranges: list[OffsetRange]
    messages: int
    rejected: int
    windows: int
    seconds: float
    steps: list[Step] = []


class Coverage(msgspec.Struct, frozen=True):
    """What had been read of an interval before a run that found nothing to read in it.

    Attributes:
        batches: how many there are; 0: the topic has no messages in the interval.
        oldest: a few of them.
    """

    batches: int
    oldest: list[int]

    @classmethod
    def of(cls, batches: list[int]) -> "Coverage":
        """By these batches, oldest first."""
        return cls(len(batches), batches[:NAMED_BATCHES])

    def describe(self) -> str:
        """Why there was nothing to read, for people."""
        if not self.batches:
            return "the topic has no messages in the interval"
        named = ", ".join(map(str, self.oldest))
        left = self.batches - len(self.oldest)
        more = f" and {left:,} more" if left else ""
        which = "batch" if self.batches == 1 else "batches"
        return f"all of the interval was read before, by {which} {named}{more}; mode=reprocess would redo them"


class ConsumeSummary(msgspec.Struct, frozen=True):
    """What consume did for one shard.

    Attributes:
        batches: in the order of their commits; those that were redone, if `work` is `redo`.
        behind: messages below the looked-at ends that are still to be read.
        completed_before: the run had completed already, and nothing was done.
        work: what there was to do. A run that was cleared redoes its batches, whatever its mode.
        partitions: of the source, that belong to the shard.
        coverage: by what an interval was covered before in which there was nothing to read.
    """

    shard: int
    batches: list[BatchSummary]
    behind: int
    completed_before: bool = False
    work: Literal["catch up", "interval", "redo"] = "catch up"
    partitions: list[int] = []
    coverage: Coverage | None = None

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
        return f"shard {self.shard}: {self._what()}"

    def _what(self) -> str:
        if self.completed_before:
            return "this run had completed before; nothing was done"
        if self.coverage is not None:
            return self.coverage.describe()
        if self.work == "redo" and not self.batches:
            return "no batch to redo"
        batches = f"{len(self.batches)} batch{'' if len(self.batches) == 1 else 'es'}"
        counted = f"{self.messages:,} messages in {batches}, {self.rejected:,} rejected"
        if self.work == "redo":
            return f"{counted}; all of them redone"
        if self.work == "interval":
            return f"{counted}; the interval is read"
        end = f"{self.behind:,} messages behind; the next run goes on" if self.behind else "caught up"
        return f"{counted}; {end}"


class Revised(msgspec.Struct, frozen=True):
    """What publish has changed in one table of results.

    Attributes:
        output: the table, with its schema.
        revisions: results published, retractions among them.
        corrections: those among them whose result had been final.
        since: the start of the first window of them.
        until: the end of the last one.
    """

    output: str
    revisions: int
    corrections: int
    since: datetime
    until: datetime


class PublishSummary(msgspec.Struct, frozen=True):
    """What publish did.

    Attributes:
        closed_until: windows that end at or before it are closed; None: none is yet.
        revised: the tables of results that have changed.
        sent_to: messages that reached Kafka, by topic.
        stored: messages in the batches that the run has read or redone.
        untold: final days of which Airflow has still to be told.
        waiting: segments that wait for a gap below them to be filled.
        steps: lock (waiting for another publish, and registering), merge, send.
    """

    closed_until: datetime | None
    revised: list[Revised]
    sent_to: dict[str, int]
    stored: int
    untold: int
    waiting: int
    steps: list[Step] = []

    @property
    def revisions(self) -> int:
        """Over all tables."""
        return sum(revised.revisions for revised in self.revised)

    @property
    def corrections(self) -> int:
        """Over all tables."""
        return sum(revised.corrections for revised in self.revised)

    @property
    def sent(self) -> int:
        """Over all topics."""
        return sum(self.sent_to.values())

    def describe(self) -> str:
        """One line for people."""
        closed = f"closed until {self.closed_until:%Y-%m-%d %H:%M:%S} UTC" if self.closed_until else "no window closed"
        waiting = f"; {self.waiting:,} segments wait for a gap" if self.waiting else ""
        return (
            f"{closed}: {self.revisions:,} revisions ({self.corrections:,} of them corrections), "
            f"{self.sent:,} messages sent{waiting}"
        )
