"""What every batch has in common, read for the first time or redone: its task, how it is read, and its failure."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import psycopg
from confluent_kafka import Message as RawMessage
from psycopg.types.json import Jsonb

from microbatch.claiming import Claim
from microbatch.clock import Clock
from microbatch.crash import crash_point
from microbatch.errors import MicrobatchError, ReadFailedError, TopicRecreatedError
from microbatch.kafka import Broker, Ends
from microbatch.pipeline import Pipeline
from microbatch.postgres import IDLE_IN_TRANSACTION_S, Connection, connect
from microbatch.ranges import OffsetRange, places, shard_partitions
from microbatch.reading import Reader
from microbatch.registration import Registration
from microbatch.runs import BatchSummary, Run
from microbatch.scratch import Scratch
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.steps import Stopwatch
from microbatch.storing import BatchStore
from microbatch.translating import Translate, translator

log: Final = logging.getLogger("microbatch")
PROGRESS_S: Final = 5.0
"""How often somebody who waits is told how far we are."""
_KEEP_ALIVE_S: Final = IDLE_IN_TRANSACTION_S / 6
_LEDGER: Final = queries("ledger")


class Task(msgspec.Struct, frozen=True):
    """A consume task at work: what it is to do, and all that it needs for it."""

    pipeline: Pipeline
    shard: int
    run: Run
    registration: Registration
    connections: Connections
    connection: Connection
    broker: Broker
    reader: Reader
    clock: Clock
    scratch: Scratch

    @property
    def partitions(self) -> list[int]:
        """The partitions of the source that it works on."""
        return shard_partitions(self.shard, self.pipeline.shards, self.registration.partitions)

    @property
    def translate(self) -> Translate | None:
        """What makes JSON of the source's values, if they are none."""
        return translator(self.pipeline.source, self.connections.schema_registry)

    @property
    def source_facts(self) -> dict[str, Any]:
        """What a query over offsets asks for."""
        return {"pipeline_id": self.registration.pipeline_id, "topic_id": self.registration.topic_id}

    @property
    def run_facts(self) -> dict[str, Any]:
        """What a query over runs asks for."""
        return {
            "pipeline_id": self.registration.pipeline_id,
            "dag_id": self.run.dag_id,
            "run_id": self.run.run_id,
            "shard": self.shard,
            "clear_number": self.run.clear_number,
        }

    def complete(self, behind: int) -> None:
        """Write that the run has completed this shard, and how many offsets it leaves for the next one."""
        crash_point("consume.before_run_completed")
        self.connection.execute(_LEDGER["complete_run"], {**self.run_facts, "behind": behind})


class Attempt(msgspec.Struct):
    """How far a batch has come: what its failure will say."""

    watch: Stopwatch
    ranges: list[OffsetRange] = []
    store: BatchStore | None = None

    def summary(self, batch_id: int, windows: int) -> BatchSummary:
        """What it became, now that it is committed."""
        assert self.store is not None  # noqa: S101 - a batch that is committed has stored something
        self.watch.lap("store")
        counts = (self.store.messages, self.store.rejected, windows)
        return BatchSummary(batch_id, self.ranges, *counts, self.watch.seconds, self.watch.steps)


def covering(task: Task, ranges: Iterable[OffsetRange]) -> list[tuple[int, int]]:
    """The batches of which a range meets one of these, and their shards, oldest first."""
    return task.connection.execute(_LEDGER["covering"], {**task.source_facts, **places(ranges)}).fetchall()


def fill(task: Task, claim: Claim, store: BatchStore, refuse_lost: Callable[[dict[int, Ends]], None]) -> None:
    """Read the ranges of a batch into its store, and look again: what was deleted meanwhile was perhaps not read.

    Args:
        task: whose batch it is.
        claim: the batch.
        store: takes the messages.
        refuse_lost: gets the ends of the partitions after the reading; raises if they say that something is gone.

    Raises:
        TopicRecreatedError: it is another topic by now.
        ReadFailedError, ReadStalledError, KafkaUnreachableError: Kafka does not give the messages.
    """
    with without_collector():
        _fill(task, claim, store, refuse_lost)
    _look_again(task, claim, refuse_lost)


def _fill(task: Task, claim: Claim, store: BatchStore, refuse_lost: Callable[[dict[int, Ends]], None]) -> None:
    started_s = spoken_s = told_s = task.clock.monotonic_s()
    for item, messages in _read(task, claim, refuse_lost):
        store.add(item, messages)
        crash_point("consume.reading")
        now_s = task.clock.monotonic_s()
        if now_s - spoken_s > _KEEP_ALIVE_S:
            # A batch that works is never idle for the server, however long it only reads.
            task.connection.execute("select 1")
            spoken_s = now_s
        if now_s - told_s > PROGRESS_S:
            wanted = sum(each.size for each in claim.ranges)
            log.info(
                "batch %d: %d messages of at most %d after %.0f s",
                claim.batch_id,
                store.messages,
                wanted,
                now_s - started_s,
            )
            told_s = now_s


@contextmanager
def without_collector() -> Iterator[None]:
    """Let Python's cycle collector rest: the messages that come by the million have no cycles, but make it search."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(
    task: Task, claim: Claim, refuse_lost: Callable[[dict[int, Ends]], None]
) -> Iterator[tuple[OffsetRange, list[RawMessage]]]:
    """The messages of the ranges; what retention takes away while we read gets its own error."""
    try:
        yield from task.reader.read(claim.ranges)
    except ReadFailedError:
        _look_again(task, claim, refuse_lost)
        raise


def _look_again(task: Task, claim: Claim, refuse_lost: Callable[[dict[int, Ends]], None]) -> None:
    topic, registered = task.pipeline.source.name, task.registration.topic_id
    found = task.broker.topic(topic)
    if found is None or found.topic_id != registered:
        raise TopicRecreatedError(
            pipeline=task.pipeline.name,
            topic=topic,
            found=found.topic_id if found else "none",
            registered=registered,
        )
    refuse_lost(task.broker.ends(topic, {item.partition for item in claim.ranges}))


def record_failure(task: Task, attempt: Attempt, error: Exception) -> None:
    """Write a row for `freshness`, after the rollback, if Postgres can take it."""
    store = attempt.store
    facts = {
        **task.run_facts,
        "topic_id": task.registration.topic_id,
        "ranges": Jsonb([msgspec.to_builtins(item) for item in attempt.ranges]),
        "messages": store.messages if store else 0,
        "rejected": store.rejected if store else 0,
        "error": f"{type(error).__name__}: {error}".replace("\0", ""),
    }
    try:
        with connect(task.connections.postgres, f"{task.pipeline.name} failure") as connection:
            connection.execute(_LEDGER["insert_failure"], facts)
    except (psycopg.Error, MicrobatchError) as lost:
        log.warning("%s: the failure could not be recorded: %s", task.pipeline.name, lost)


def log_batch(batch: BatchSummary, done: str) -> None:
    """One line for each batch; `done` says what was done with it."""
    log.info(
        "batch %d%s: %d messages from %s, %d rejected, %d windows, in %.2f s",
        batch.batch_id,
        done,
        batch.messages,
        ", ".join(map(str, batch.ranges)),
        batch.rejected,
        batch.windows,
        batch.seconds,
    )
