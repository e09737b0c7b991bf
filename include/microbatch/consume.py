"""consume: offsets become rows, one Postgres transaction a batch.

Before its commit nothing has happened, after it everything has; so a crash needs no cleaning up.
"""

import logging
from datetime import datetime
from typing import Final

import msgspec

from microbatch.archives import refuse_archived_run
from microbatch.batching import Attempt, Task, covering, fill, log_batch, record_failure
from microbatch.claiming import claim, interval_offsets, lock_batch, plan, refuse_lost, uncovered
from microbatch.clock import Clock
from microbatch.crash import crash_point
from microbatch.errors import OpenTransactionError
from microbatch.kafka import Broker
from microbatch.pipeline import Pipeline
from microbatch.postgres import connect, one_row
from microbatch.ranges import OffsetRange
from microbatch.reading import open_reader
from microbatch.redoing import redo
from microbatch.registration import margin, register
from microbatch.runs import BatchSummary, ConsumeSummary, Coverage, Run
from microbatch.scratch import Scratch
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.steps import Stopwatch
from microbatch.storing import open_batch

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")


class Look(msgspec.Struct, frozen=True):
    """What the run saw of its partitions, once, and what it makes of it.

    Attributes:
        at: when it looked.
        ends: the high watermark of each partition of the shard: its looked-at end.
        wanted: the offsets that it is to read; None: all from `first_offset` on, as far as can be read.
        until: it has read all once nothing of what is wanted is uncovered below this offset of each partition.
        caught_up_to: the time up to which a partition is caught up, once nothing below its looked-at end is
            uncovered; None: this run does not say.
    """

    at: datetime
    ends: dict[int, int]
    wanted: dict[int, OffsetRange | None]
    until: dict[int, int]
    caught_up_to: datetime | None


class Progress(msgspec.Struct, frozen=True):
    """How far a run got.

    Attributes:
        batches: that it has made.
        left: what it was to read and did not.
        is_blocked: another producer's open transaction keeps it from going on, not its budget.
    """

    batches: list[BatchSummary]
    left: list[OffsetRange]
    is_blocked: bool

    @property
    def behind(self) -> int:
        """How many offsets are left."""
        return sum(item.size for item in self.left)


def consume(
    pipeline: Pipeline, shard: int, run: Run, connections: Connections, clock: Clock | None = None
) -> ConsumeSummary:
    """Turn what a shard's partitions have into rows of the ledger; see the module's docstring.

    Raises:
        MicrobatchError: terminal or transient; what was committed before it stays, the rest never happened.
    """
    with connect(connections.postgres, f"{pipeline.name} consume") as connection:
        registration = register(pipeline, connections, connection)
        with open_reader(pipeline.source.name, connections) as reader, Scratch() as scratch:
            task = Task(
                pipeline=pipeline,
                shard=shard,
                run=run,
                registration=registration,
                connections=connections,
                connection=connection,
                broker=Broker(connections),
                reader=reader,
                clock=clock or Clock(),
                scratch=scratch,
            )
            return _work(task)


def _work(task: Task) -> ConsumeSummary:
    """What there is to do for this run, in this life of it.

    Raises:
        BatchArchivedError: it was cleared, and batches that it had made are archived.
    """
    (completed,) = one_row(task.connection, _LEDGER["run_completed"], task.run_facts)
    if completed is not None and completed >= task.run.clear_number:
        log.info("%s: this run has completed already, nothing to do", task.pipeline.name)
        return ConsumeSummary(task.shard, [], behind=0, completed_before=True, partitions=task.partitions)
    if task.run.clear_number > 0:
        refuse_archived_run(task.connection, task.run_facts, task.pipeline.source.name)
    if completed is not None or task.run.mode == "reprocess":
        return redo(task, completed)
    if task.run.mode == "interval" and task.run.interval is not None:
        return _read_interval(task, task.run.interval)
    return _catch_up(task)


def _catch_up(task: Task) -> ConsumeSummary:
    """Read all that is uncovered, batch by batch, until caught up or the run's budget is spent."""
    look = _look(task)
    deadline_s = task.clock.monotonic_s() + task.pipeline.run_budget.total_seconds()
    progress = _read(task, look, deadline_s)
    if progress.is_blocked:
        log.warning(
            "%s: %d offsets cannot be read yet: another producer's transaction is open below them",
            task.pipeline.name,
            progress.behind,
        )
    elif progress.left:
        log.warning(
            "%s: %d messages behind after %s; the next run goes on",
            task.pipeline.name,
            progress.behind,
            task.pipeline.run_budget,
        )
    task.complete(progress.behind)
    return ConsumeSummary(task.shard, progress.batches, progress.behind, partitions=task.partitions)


def _look(task: Task) -> Look:
    """Wait for the grace, then ask for the high watermarks: what comes later is the next run's."""
    grace, interval = task.pipeline.grace, task.run.interval
    if interval is not None:
        until = interval[1] + grace
        task.clock.wait_until(until, lambda s: log.info("waiting %.1f s, until %s", s, until))
    at = task.clock.now()
    found = task.broker.ends(task.pipeline.source.name, task.partitions)
    ends = {partition: found[partition].high_watermark for partition in task.partitions}
    caught_up_to = interval[1] if interval is not None else at - grace
    return Look(at, ends, dict.fromkeys(ends), until=ends, caught_up_to=caught_up_to)


def _read_interval(task: Task, interval: tuple[datetime, datetime]) -> ConsumeSummary:
    """Read all that is uncovered of an interval, whatever the budget, and extend what is complete down to it.

    Raises:
        OpenTransactionError: not all can be read yet; what could be is stored.
    """
    at = task.clock.now()
    ends = task.broker.ends(task.pipeline.source.name, task.partitions)
    wanted = interval_offsets(task.broker, task.pipeline.source.name, ends, interval)
    look = Look(
        at,
        ends={partition: end.high_watermark for partition, end in ends.items()},
        wanted=dict(wanted),
        until={partition: item.end for partition, item in wanted.items()},
        caught_up_to=None,
    )
    progress = _read(task, look, deadline_s=None)
    if progress.left:
        first = progress.left[0]
        raise OpenTransactionError(
            pipeline=task.pipeline.name,
            offsets=progress.behind,
            first=f"{task.pipeline.source.name}[{first.partition}] {first.start}",
        )
    coverage = None
    if not progress.batches:
        coverage = Coverage.of([batch_id for batch_id, _ in covering(task, wanted.values())])
        log.info("%s: %s", task.pipeline.name, coverage.describe())
    with task.connection.transaction():
        # What begins at the low watermark may have begun before it: retention leaves no trace of that.
        whole = {
            p: item for p, item in wanted.items() if not ends[p].low_watermark or item.start > ends[p].low_watermark
        }
        _reach_back(task, whole, interval[0])
        task.complete(behind=0)
    return ConsumeSummary(
        task.shard, progress.batches, behind=0, work="interval", partitions=task.partitions, coverage=coverage
    )


def _reach_back(task: Task, wanted: dict[int, OffsetRange], start: datetime) -> None:
    """Partitions of which nothing from an interval's start to `first_offset` is uncovered are complete from there.

    Intervals are read in any order, and the last of them may not be the one that begins first: each leaves a note.
    """
    facts = {
        **task.source_facts,
        "partitions": list(wanted),
        "start_offsets": [item.start for item in wanted.values()],
        "complete_from": start + margin(task.pipeline),
    }
    task.connection.execute(_LEDGER["lock_progress"], facts)
    task.connection.execute(_LEDGER["note_reach"], facts)
    task.connection.execute(_LEDGER["reach_back"], facts)
    task.connection.execute(_LEDGER["forget_reach"], facts)


def _read(task: Task, look: Look, deadline_s: float | None) -> Progress:
    """Batch after batch, until all is read, or nothing can be, or the deadline (of the clock) has passed."""
    batches: list[BatchSummary] = []
    while True:
        batch, left = _batch(task, look)
        if batch is not None:
            batches.append(batch)
            log_batch(batch, "")
        out_of_time = deadline_s is not None and task.clock.monotonic_s() > deadline_s
        if not left or batch is None or out_of_time:
            return Progress(batches, left, is_blocked=bool(left) and batch is None)
        crash_point("consume.between_batches")


def _batch(task: Task, look: Look) -> tuple[BatchSummary | None, list[OffsetRange]]:
    """One batch, whole, or nothing of it; None if there is nothing to read. And what is left to read."""
    attempt = Attempt(Stopwatch(task.clock))
    batch_id, windows = 0, 0
    try:
        with task.connection.transaction():
            lock_batch(task.connection, task.pipeline, task.registration, task.shard)
            limit = task.run.max_records or task.pipeline.max_records
            attempt.ranges = plan(task.connection, task.broker, task.pipeline, task.registration, look.wanted, limit)
            if attempt.ranges:
                batch_id, windows = _claim_and_store(task, attempt)
            _advance(task, look)
            left = uncovered(task.connection, task.registration, look.wanted, look.until)
            crash_point("consume.before_commit")
    except Exception as error:
        record_failure(task, attempt, error)
        raise
    crash_point("consume.after_commit")
    if not attempt.ranges:
        return None, left
    return attempt.summary(batch_id, windows), left


def _claim_and_store(task: Task, attempt: Attempt) -> tuple[int, int]:
    """The batch and the number of its windows."""
    claimed = claim(task.connection, task.pipeline, task.registration, task.shard, task.run, attempt.ranges)
    attempt.watch.lap("claim")
    with open_batch(task.connection, task.pipeline, task.registration, claimed, task.scratch, task.translate) as store:
        attempt.store = store
        fill(task, claimed, store, lambda ends: refuse_lost(task.pipeline, claimed.ranges, ends))
        attempt.watch.lap("read")
        return claimed.batch_id, store.finish()


def _advance(task: Task, look: Look) -> None:
    """Write how far the partitions are covered, and what was seen of them."""
    facts = {
        **task.source_facts,
        "partitions": list(look.ends),
        "looked_at_ends": list(look.ends.values()),
        "looked_at": look.at,
        "caught_up_to": look.caught_up_to,
    }
    task.connection.execute(_LEDGER["lock_progress"], facts)
    task.connection.execute(_LEDGER["advance_progress"], facts)
