"""consume: offsets become rows, one Postgres transaction a batch.

Before its commit nothing has happened, after it everything has; so a crash needs no cleaning up.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from microbatch.claiming import claim, lock_batch, plan, refuse_lost
from microbatch.clock import Clock
from microbatch.computing import Contributions
from microbatch.crash import crash_point
from microbatch.decoding import Decoder, Message
from microbatch.errors import MicrobatchError, ReadFailedError, TopicRecreatedError
from microbatch.kafka import Broker
from microbatch.pipeline import Pipeline
from microbatch.postgres import IDLE_IN_TRANSACTION_S, Connection, connect
from microbatch.ranges import OffsetRange, shard_partitions
from microbatch.reading import Reader, open_reader
from microbatch.registration import Registration, register
from microbatch.runs import BatchSummary, ConsumeSummary, Run
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.storing import BatchStore

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_KEEP_ALIVE_S: Final = IDLE_IN_TRANSACTION_S / 6


class Look(msgspec.Struct, frozen=True):
    """What the run saw after its grace, once.

    Attributes:
        ends: the looked-at end (high watermark) of each partition of the shard.
        caught_up_to: the time up to which a partition is caught up, once nothing below its end is uncovered.
    """

    ends: dict[int, int]
    caught_up_to: datetime


class Consume:
    """One consume task: a pipeline's shard, worked on by one run."""

    def __init__(self, pipeline: Pipeline, shard: int, run: Run, connections: Connections, clock: Clock) -> None:
        self._pipeline = pipeline
        self._shard = shard
        self._run = run
        self._connections = connections
        self._clock = clock
        self._broker = Broker(connections)
        self._decoder = Decoder(pipeline)
        self._store: BatchStore | None = None

    def catch_up(self) -> ConsumeSummary:
        """Read all that is uncovered, batch by batch, until caught up or the run's budget is spent."""
        with connect(self._connections.postgres, f"{self._pipeline.name} consume") as connection:
            registration = register(self._pipeline, self._connections, connection)
            if self._completed_before(connection, registration):
                log.info("%s: this run has completed already, nothing to do", self._pipeline.name)
                return ConsumeSummary(self._shard, [], behind=0, completed_before=True)
            look = self._look(registration)
            with open_reader(self._pipeline.source.name, self._connections) as reader:
                batches, behind = self._batches(connection, registration, look, reader)
            crash_point("consume.before_run_completed")
            self._complete(connection, registration, behind)
        return ConsumeSummary(self._shard, batches, behind)

    def _look(self, registration: Registration) -> Look:
        """Wait for the grace, then ask for the high watermarks: what comes later is the next run's."""
        grace, interval = self._pipeline.grace, self._run.interval
        if interval is not None:
            until = interval[1] + grace
            self._clock.wait_until(until, lambda s: log.info("waiting %.1f s, until %s", s, until))
        caught_up_to = interval[1] if interval is not None else self._clock.now() - grace
        partitions = shard_partitions(self._shard, self._pipeline.shards, registration.partitions)
        ends = self._broker.ends(self._pipeline.source.name, partitions)
        return Look({partition: ends[partition].high_watermark for partition in partitions}, caught_up_to)

    def _batches(
        self, connection: Connection, registration: Registration, look: Look, reader: Reader
    ) -> tuple[list[BatchSummary], int]:
        """The batches of this run, and how many offsets below the looked-at ends are still uncovered."""
        deadline_s = self._clock.monotonic_s() + self._pipeline.run_budget.total_seconds()
        batches: list[BatchSummary] = []
        while True:
            batch, behind = self._batch(connection, registration, look, reader)
            if batch is not None:
                batches.append(batch)
                self._log(batch)
            if not behind:
                return batches, 0
            if batch is None:
                log.warning(
                    "%s: %d offsets cannot be read yet: another producer's transaction is open below them",
                    self._pipeline.name,
                    behind,
                )
                return batches, behind
            if self._clock.monotonic_s() > deadline_s:
                log.warning(
                    "%s: %d messages behind after %s; the next run goes on",
                    self._pipeline.name,
                    behind,
                    self._pipeline.run_budget,
                )
                return batches, behind
            crash_point("consume.between_batches")

    def _batch(
        self, connection: Connection, registration: Registration, look: Look, reader: Reader
    ) -> tuple[BatchSummary | None, int]:
        """One batch, whole, or nothing of it; None if there is nothing to read."""
        started_s = self._clock.monotonic_s()
        ranges: list[OffsetRange] = []
        self._store = None
        try:
            with connection.transaction():
                lock_batch(connection, self._pipeline, registration, self._shard)
                ranges = plan(connection, self._broker, self._pipeline, registration, list(look.ends))
                batch = self._read_and_store(connection, registration, reader, ranges) if ranges else None
                behind = self._advance(connection, registration, look)
                crash_point("consume.before_commit")
        except Exception as error:
            self._record_failure(registration, ranges, error)
            raise
        crash_point("consume.after_commit")
        if batch is None:
            return None, behind
        return msgspec.structs.replace(batch, seconds=self._clock.monotonic_s() - started_s), behind

    def _read_and_store(
        self, connection: Connection, registration: Registration, reader: Reader, ranges: list[OffsetRange]
    ) -> BatchSummary:
        claimed = claim(connection, self._pipeline, registration, self._shard, self._run, ranges)
        self._store = store = BatchStore(connection, self._pipeline, registration, claimed)
        spoken_s = self._clock.monotonic_s()
        with Contributions(self._pipeline) as contributions:
            for item, messages in self._read(reader, registration, ranges):
                decoded = self._decoder.decode(messages)
                contributions.add(decoded)
                store.add(item, decoded)
                crash_point("consume.reading")
                if self._clock.monotonic_s() - spoken_s > _KEEP_ALIVE_S:
                    # A batch that works is never idle for the server, however long it only reads.
                    connection.execute("select 1")
                    spoken_s = self._clock.monotonic_s()
            self._look_again(registration, ranges)
            windows = store.finish(contributions)
        return BatchSummary(claimed.batch_id, ranges, store.messages, store.rejected, windows, 0.0)

    def _read(
        self, reader: Reader, registration: Registration, ranges: list[OffsetRange]
    ) -> Iterator[tuple[OffsetRange, list[Message]]]:
        """The messages of the ranges; what retention takes away while we read gets its own error."""
        try:
            yield from reader.read(ranges)
        except ReadFailedError:
            self._look_again(registration, ranges)
            raise

    def _look_again(self, registration: Registration, ranges: list[OffsetRange]) -> None:
        """What was deleted while we read was perhaps not read: then nothing of the batch counts."""
        topic = self._pipeline.source.name
        found = self._broker.topic(topic)
        if found is None or found.topic_id != registration.topic_id:
            raise TopicRecreatedError(
                topic=topic, found=found.topic_id if found else "none", registered=registration.topic_id
            )
        ends = self._broker.ends(topic, {item.partition for item in ranges})
        refuse_lost(self._pipeline, ranges, ends)

    def _advance(self, connection: Connection, registration: Registration, look: Look) -> int:
        """Write how far the partitions are covered; returns how many offsets below their ends are not."""
        facts = {
            "pipeline_id": registration.pipeline_id,
            "topic_id": registration.topic_id,
            "partitions": list(look.ends),
            "looked_at_ends": list(look.ends.values()),
            "caught_up_to": look.caught_up_to,
        }
        connection.execute(_LEDGER["lock_progress"], facts)
        rows = connection.execute(_LEDGER["advance_progress"], facts).fetchall()
        return sum(max(0, looked_at_end - covered_until) for _, covered_until, looked_at_end in rows)

    def _completed_before(self, connection: Connection, registration: Registration) -> bool:
        return connection.execute(_LEDGER["run_completed"], self._run_facts(registration)).fetchone() is not None

    def _complete(self, connection: Connection, registration: Registration, behind: int) -> None:
        connection.execute(_LEDGER["complete_run"], {**self._run_facts(registration), "behind": behind})

    def _run_facts(self, registration: Registration) -> dict[str, object]:
        return {
            "pipeline_id": registration.pipeline_id,
            "dag_id": self._run.dag_id,
            "run_id": self._run.run_id,
            "shard": self._shard,
            "clear_number": self._run.clear_number,
        }

    def _record_failure(self, registration: Registration, ranges: list[OffsetRange], error: Exception) -> None:
        """A row for `freshness`, after the rollback, if Postgres can take it."""
        facts = {
            **self._run_facts(registration),
            "ranges": Jsonb([msgspec.to_builtins(item) for item in ranges]),
            "messages": self._store.messages if self._store else 0,
            "rejected": self._store.rejected if self._store else 0,
            "error": f"{type(error).__name__}: {error}".replace("\0", ""),
        }
        try:
            with connect(self._connections.postgres, f"{self._pipeline.name} failure") as connection:
                connection.execute(_LEDGER["insert_failure"], facts)
        except (psycopg.Error, MicrobatchError) as lost:
            log.warning("%s: the failure could not be recorded: %s", self._pipeline.name, lost)

    def _log(self, batch: BatchSummary) -> None:
        log.info(
            "batch %d: %d messages from %s, %d rejected, %d windows, in %.2f s",
            batch.batch_id,
            batch.messages,
            ", ".join(map(str, batch.ranges)),
            batch.rejected,
            batch.windows,
            batch.seconds,
        )


def consume(
    pipeline: Pipeline, shard: int, run: Run, connections: Connections, clock: Clock | None = None
) -> ConsumeSummary:
    """Turn what a shard's partitions have into rows of the ledger; see the module's docstring.

    Raises:
        MicrobatchError: terminal or transient; what was committed before it stays, the rest never happened.
    """
    return Consume(pipeline, shard, run, connections, clock or Clock()).catch_up()
