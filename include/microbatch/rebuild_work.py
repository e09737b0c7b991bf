"""Rebuild: the batches that another definition has computed are redone, and published now and then."""

import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from microbatch.batching import Task, log_batch
from microbatch.clock import Clock
from microbatch.crash import crash_point
from microbatch.deciding import Known
from microbatch.kafka import Broker
from microbatch.pipeline import Pipeline
from microbatch.postgres import connect
from microbatch.publish import publish
from microbatch.reading import open_reader
from microbatch.rebuild_choice import Counted
from microbatch.rebuilding import Interval, Rebuild, refuse_hindered
from microbatch.redoing import redo_batch
from microbatch.registration import register
from microbatch.runs import PublishSummary, Run
from microbatch.scratch import Scratch
from microbatch.settings import Connections

log: Final = logging.getLogger("microbatch")
DAG_ID: Final = "microbatch rebuild"
PUBLISH_S: Final = 60.0
"""How long batches are redone before what came from them is published."""


class Progress(msgspec.Struct, frozen=True):
    """How far a rebuild is: batches and messages that were redone, and how many there are to redo as yet."""

    batches: int
    messages: int
    batches_left: int
    messages_left: int


class Redoing:
    """Redoes what a decided rebuild has left to do, and publishes it."""

    def __init__(
        self,
        pipeline: Pipeline,
        known: Known,
        connections: Connections,
        interval: Interval,
        decision_id: int,
        tell: Callable[[Progress], None],
        clock: Clock,
    ) -> None:
        """A redoing.

        Args:
            pipeline: as it is declared.
            known: as it is registered.
            connections: to Kafka and PostgreSQL.
            interval: of which batches are meant.
            decision_id: of the rebuild.
            tell: is told after each batch how far it is.
            clock: says when to publish.
        """
        self._pipeline = pipeline
        self._known = known
        self._connections = connections
        self._interval = interval
        self._run = Run(DAG_ID, f"decision {decision_id}")
        self._tell = tell
        self._clock = clock
        self._redone = self._messages = 0

    def work(self) -> list[PublishSummary]:
        """Redo and publish until nothing is left; what publish said, each time.

        Raises:
            MicrobatchError: what is redone stays, the rest is as it was; the same rebuild goes on with it.
        """
        published = []
        is_done = False
        while not is_done:
            is_done = self._redo_for_a_while()
            crash_point("rebuild.before_publish")
            published.append(publish(self._pipeline, self._run, self._connections))
        return published

    def _redo_for_a_while(self) -> bool:
        """Redo until it is time to publish, in a session of its own; whether nothing is left."""
        deadline_s = self._clock.monotonic_s() + PUBLISH_S
        with connect(self._connections.postgres, f"{self._pipeline.name} rebuild") as connection:
            registration = register(self._pipeline, self._connections, connection)
            rebuild = Rebuild(connection, self._pipeline, self._known, self._connections, self._interval)
            with open_reader(self._pipeline.source.name, self._connections) as reader, Scratch() as scratch:
                task = Task(
                    pipeline=self._pipeline,
                    shard=0,
                    run=self._run,
                    registration=registration,
                    connections=self._connections,
                    connection=connection,
                    broker=Broker(self._connections),
                    reader=reader,
                    clock=self._clock,
                    scratch=scratch,
                )
                for batch, others in self._batches(rebuild):
                    self._redo(msgspec.structs.replace(task, shard=batch.shard % self._pipeline.shards), batch)
                    self._tell_left(others)
                    if self._clock.monotonic_s() > deadline_s:
                        return False
                    crash_point("rebuild.between_batches")
        return True

    def _batches(self, rebuild: Rebuild) -> Iterator[tuple[Counted, list[Counted]]]:
        """Each batch to redo, and those after it. A redo may take keys of another batch, which is left again then."""
        while True:
            left = rebuild.left(self._clock.now())
            refuse_hindered(self._pipeline.name, left)
            if not left.batches:
                return
            for number, batch in enumerate(left.batches, 1):
                yield batch, left.batches[number:]

    def _redo(self, task: Task, batch: Counted) -> None:
        summary = redo_batch(task, batch.batch_id, lambda done: done.is_current)
        if summary is not None:
            log_batch(summary, " redone")
        self._redone += 1
        self._messages += batch.messages

    def _tell_left(self, left: list[Counted]) -> None:
        messages_left = sum(batch.messages for batch in left)
        self._tell(Progress(self._redone, self._messages, len(left), messages_left))
