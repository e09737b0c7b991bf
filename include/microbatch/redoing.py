"""Redo: batches that are done are read again, and what came from them is replaced, one transaction a batch.

The ranges and the time of a batch stay as they were; a redo moves no progress. If the input is not there any more,
it fails before anything has changed, and the good history stays.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from microbatch.archives import refuse_archived
from microbatch.batching import Attempt, Task, covering, fill, log_batch, record_failure
from microbatch.claiming import Claim, interval_offsets, lock_definition, lock_shard
from microbatch.crash import crash_point
from microbatch.errors import BatchDeletedError, BatchRetiredError, BatchShrunkError
from microbatch.kafka import Ends
from microbatch.postgres import acquire, one_row
from microbatch.ranges import OffsetRange
from microbatch.runs import BatchSummary, ConsumeSummary
from microbatch.sql import queries
from microbatch.steps import Stopwatch
from microbatch.storing import BatchStore, open_batch

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")


class Done(msgspec.Struct, frozen=True):
    """A batch as the ledger has it.

    Attributes:
        claim: as it was claimed when it was read first.
        recorded: the messages that were found in each range.
        is_redone: this run has redone it already.
        is_current: what came from it is what the definition of now gives.
    """

    claim: Claim
    recorded: dict[OffsetRange, int]
    is_redone: bool
    is_current: bool


def redo(task: Task, completed: int | None) -> ConsumeSummary:
    """Redo the batches of a run that was cleared, or those that meet an interval if the run's mode is reprocess.

    A run that did not get to its end goes on with the batches that it has not redone yet.

    Args:
        task: which run, and for which shard.
        completed: the clear number of the life in which the run completed last; None: it never did.

    Raises:
        BatchArchivedError: one of the batches is in an archive; it was not redone, nor was any after it.
        BatchDeletedError, BatchShrunkError: the input of a batch is not there any more; that batch is as it was.
    """
    chosen = _chosen(task)
    log.info("%s: %d batches to redo", task.pipeline.name, len(chosen))
    batches = []
    for batch_id in chosen:
        batch = redo_batch(task, batch_id, lambda done: done.is_redone, completed)
        if batch is None:
            log.info("batch %d: this run has redone it before", batch_id)
        else:
            log_batch(batch, " redone")
            batches.append(batch)
    task.complete(behind=0)
    return ConsumeSummary(task.shard, batches, behind=0, work="redo", partitions=task.partitions)


def _chosen(task: Task) -> list[int]:
    """The batches to redo, oldest first: those that belong to this shard now.

    Raises:
        BatchArchivedError: one of them, of whatever shard, is in an archive.
    """
    interval = task.run.interval if task.run.mode == "reprocess" else None
    found = _meeting(task, interval) if interval is not None else _made_by_run(task)
    _refuse_archived(task, [batch_id for batch_id, _ in found])
    return [batch_id for batch_id, shard in found if shard % task.pipeline.shards == task.shard]


def _refuse_archived(task: Task, batches: list[int]) -> None:
    refuse_archived(task.connection, task.registration.pipeline_id, task.pipeline.source.name, batches)


def _made_by_run(task: Task) -> list[tuple[int, int]]:
    return task.connection.execute(_LEDGER["batches_of_run"], task.run_facts).fetchall()


def _meeting(task: Task, interval: tuple[datetime, datetime]) -> list[tuple[int, int]]:
    """Batches, of whatever shard, with a range that meets the interval's offsets."""
    ends = task.broker.ends(task.pipeline.source.name, range(task.registration.partitions))
    wanted = interval_offsets(task.broker, task.pipeline.source.name, ends, interval)
    return covering(task, wanted.values())


def redo_batch(
    task: Task, batch_id: int, is_left: Callable[[Done], bool], completed: int | None = None
) -> BatchSummary | None:
    """Redo one batch, whole, or leave it as it is; None if it is to be left.

    Args:
        task: which run, and for which shard.
        batch_id: the batch.
        is_left: judges it once it is locked: somebody may have redone it meanwhile.
        completed: as in `redo`.

    Raises:
        BatchDeletedError, BatchRetiredError, BatchShrunkError: its input is not there any more; it is as it was.
    """
    attempt = Attempt(Stopwatch(task.clock))
    try:
        with task.connection.transaction():
            _lock(task, batch_id)
            done = _load(task, batch_id, completed)
            if is_left(done):
                return None
            attempt.ranges = done.claim.ranges
            attempt.watch.lap("claim")
            windows = _replace(task, done, attempt)
            task.connection.execute(
                _LEDGER["mark_redone"],
                {**task.run_facts, "batch_id": batch_id, "definition_hash": task.registration.definition_hash},
            )
            crash_point("redo.before_commit")
    except Exception as error:
        record_failure(task, attempt, error)
        raise
    return attempt.summary(batch_id, windows)


def _lock(task: Task, batch_id: int) -> None:
    """Take the locks of a redo, and check that the definition is still ours.

    The row of the batch comes first: the shard's lock has another number once the shards have changed, and two
    redos of one batch must meet. Both sides take the definition's lock before anything else, and the first reading
    of a batch locks no row that was there before it, so whoever holds the shard's lock never waits for a row.

    Raises:
        OldDefinitionError: the definition is not ours.
        BatchArchivedError: it was folded since it was chosen.
    """
    pipeline_id = task.registration.pipeline_id
    lock_definition(task.connection, task.pipeline, task.registration)
    acquire(task.connection, _LEDGER["lock_batch"], {"batch_id": batch_id}, pipeline_id)
    _refuse_archived(task, [batch_id])
    lock_shard(task.connection, task.registration, task.shard)
    crash_point("redo.after_lock")


def _load(task: Task, batch_id: int, completed: int | None) -> Done:
    facts = {**task.run_facts, "batch_id": batch_id, "completed": completed}
    batch_time, is_redone, is_current = one_row(task.connection, _LEDGER["batch_to_redo"], facts)
    rows = task.connection.execute(_LEDGER["ranges_of_batch"], facts).fetchall()
    if any(topic_id != task.registration.topic_id for *_, topic_id in rows):
        raise BatchRetiredError(topic=task.pipeline.source.name, batch_id=batch_id)
    recorded = {OffsetRange(partition, start, end): messages for partition, start, end, messages, _ in rows}
    return Done(Claim(batch_id, batch_time, list(recorded)), recorded, is_redone, is_current)


def _replace(task: Task, done: Done, attempt: Attempt) -> int:
    """Read the batch again and replace what came from it; returns the number of its windows."""
    claim = done.claim

    def refuse_deleted(ends: dict[int, Ends]) -> None:
        _refuse_deleted(task, claim, ends)

    refuse_deleted(task.broker.ends(task.pipeline.source.name, {item.partition for item in claim.ranges}))
    with open_batch(
        task.connection, task.pipeline, task.registration, claim, task.scratch, task.translate, redo=True
    ) as store:
        attempt.store = store
        fill(task, claim, store, refuse_deleted)
        attempt.watch.lap("read")
        _refuse_shrunk(task, done, store)
        return store.finish()


def _refuse_deleted(task: Task, claim: Claim, ends: dict[int, Ends]) -> None:
    for item in claim.ranges:
        low_watermark = ends[item.partition].low_watermark
        if item.start < low_watermark:
            raise BatchDeletedError(
                topic=task.pipeline.source.name, batch_id=claim.batch_id, range=item, low_watermark=low_watermark
            )


def _refuse_shrunk(task: Task, done: Done, store: BatchStore) -> None:
    for item, recorded in done.recorded.items():
        found = store.counts[item].messages
        if found < recorded:
            raise BatchShrunkError(
                topic=task.pipeline.source.name,
                batch_id=done.claim.batch_id,
                range=item,
                found=found,
                recorded=recorded,
            )
