"""Rebuild: what a pipeline has counted is counted again by the definition that its file has now. Looking and deciding.

    look      what differs, which batches that concerns, and which of them cannot be redone
    decide    on record, and the definition takes the place of the old one                    one transaction
    redo      the batches that another definition has computed, oldest first                  one transaction a batch
    publish   now and then, and at the end                                      (these two are in rebuild_work.py)

It can be killed anywhere and run again: a batch knows by which generation of the definition it was computed, so what is
left is what is not of the last one. Runs with the new file go on beside it; tasks with the old one may not write.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from microbatch.accepting import source_id
from microbatch.claiming import interval_offsets
from microbatch.crash import crash_point
from microbatch.deciding import Known, Why, record
from microbatch.definition import beyond_rebuild, definition, definition_hash, difference, only_adds
from microbatch.errors import NotAsShownError, RebuildRefusedError
from microbatch.event import EPOCH
from microbatch.kafka import Broker, Ends
from microbatch.output_tables import output_tables
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, one_row
from microbatch.ranges import OffsetRange
from microbatch.rebuild_choice import Counted, chosen, earliest, hindrance
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.view import view
from microbatch.window_tables import WindowTables

_LEDGER: Final = queries("ledger")
_REBUILDING: Final = queries("rebuilding")
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Interval(msgspec.Struct, frozen=True):
    """Of which time batches are meant: those that a reprocess of it would redo. Without bounds, all of them.

    Attributes:
        start: Kafka's timestamp from which on, included; None: from the first.
        end: until which, excluded; None: to the last.
    """

    start: datetime | None = None
    end: datetime | None = None


class Left(msgspec.Struct, frozen=True):
    """Batches of an interval that another definition has computed.

    Attributes:
        batches: to be redone, oldest first.
        losses: of which nobody has read anything; there is nothing to redo.
        hindered: those that cannot be redone, by reason.
        possible_from: from when on none is hindered; None: none is, or no time helps.
    """

    batches: list[Counted]
    losses: list[Counted]
    hindered: dict[str, list[Counted]]
    possible_from: datetime | None

    @property
    def messages(self) -> int:
        """In all batches to be redone."""
        return sum(batch.messages for batch in self.batches)


class Found(msgspec.Struct, frozen=True):
    """What a rebuild would do.

    Attributes:
        differences: between the registered definition and the declared one; empty: there are none.
        generation: of the definition, once it is raised.
        left: the batches that this concerns.
        windows: to which those to be redone contribute, by result table.
    """

    differences: list[str]
    generation: int
    left: Left
    windows: dict[str, int]


class Rebuild:
    """The rebuild of a registered pipeline by its declaration."""

    def __init__(
        self,
        connection: Connection,
        pipeline: Pipeline,
        known: Known,
        connections: Connections,
        interval: Interval,
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._known = known
        self._connections = connections
        self._interval = interval
        self._declared = definition(pipeline)
        self._hash = definition_hash(self._declared)
        self._facts: dict[str, Any] = {"pipeline_id": known.pipeline_id, "topic_id": known.topic_id}

    def look(self, now: datetime) -> Found:
        """What there is to do; nothing is written.

        Raises:
            RebuildRefusedError: more differs than a rebuild can change.
            OtherClusterError, TopicRecreatedError: the source is not the log that was read.
        """
        registered, registered_hash, generation = self._registered()
        if registered_hash != self._hash:
            self._refuse_other_shape(registered)
            generation += not only_adds(registered, self._declared)
        left = self.left(now, generation)
        windows = self._windows([batch.batch_id for batch in left.batches])
        return Found(difference(registered, self._declared), generation, left, windows)

    def left(self, now: datetime, generation: int | None = None) -> Left:
        """What of the interval the declared definition has not computed, as the generation that it is or will be."""
        if generation is None:
            _, _, generation = self._registered()
        broker = Broker(self._connections)
        source_id(self._known, broker, self._connections)
        batches = self._batches(generation)
        ends = broker.ends(self._known.source_topic, _partitions(batches))

        def meant(interval: Interval) -> list[Counted]:
            wanted = self._offsets(broker, ends, interval)
            return [batch for batch in chosen(batches, wanted, is_chained=self._is_chained) if not batch.is_current]

        def is_possible(start: datetime) -> bool:
            return not any(hindrance(batch, ends) for batch in meant(Interval(start, self._interval.end)))

        found = meant(self._interval)
        hindered: dict[str, list[Counted]] = {}
        for batch in found:
            if reason := hindrance(batch, ends):
                hindered.setdefault(reason, []).append(batch)
        return Left(
            batches=[batch for batch in found if not batch.is_loss and not hindrance(batch, ends)],
            losses=[batch for batch in found if batch.is_loss],
            hindered=hindered,
            possible_from=earliest(is_possible, self._interval.end or now) if hindered else None,
        )

    def decide(self, found: Found, why: Why) -> int:
        """Put the decision on record and let the declaration be the definition; returns the decision's number.

        From then on tasks with the old file may not write. The batches are still to be redone.

        Raises:
            NotAsShownError: the definition has changed since it was looked at; nothing was written.
        """
        with self._connection.transaction():
            acquire(self._connection, _LEDGER["lock_definition"], self._facts, self._known.pipeline_id)
            registered, registered_hash, _ = self._registered()
            if difference(registered, self._declared) != found.differences:
                raise NotAsShownError(pipeline=self._known.name, command="rebuild")
            is_changed = registered_hash != self._hash
            details = {
                **msgspec.to_builtins(self._interval),
                "differences": found.differences,
                "replaced": registered_hash if is_changed else None,
                "generation": found.generation,
                "batches": len(found.left.batches),
                "messages": found.left.messages,
            }
            decision_id = record(self._connection, self._known.pipeline_id, "rebuild", details, why)
            if is_changed:
                self._raise(found.generation)
        crash_point("rebuild.after_decision")
        return decision_id

    @property
    def _is_chained(self) -> bool:
        """Whether what a batch counts depends on those before it."""
        return self._pipeline.stream is not None and bool(self._pipeline.stream.unique)

    def _registered(self) -> tuple[dict[str, Any], str, int]:
        found, found_hash, generation = one_row(self._connection, _REBUILDING["pipeline_to_rebuild"], self._facts)
        return found, found_hash, generation

    def _offsets(self, broker: Broker, ends: dict[int, Ends], interval: Interval) -> dict[int, OffsetRange] | None:
        if interval == Interval():
            return None
        bounds = interval.start or EPOCH, interval.end or _END_OF_TIME
        return interval_offsets(broker, self._known.source_topic, ends, bounds)

    def _refuse_other_shape(self, registered: dict[str, Any]) -> None:
        beyond = beyond_rebuild(registered, self._declared)
        if beyond:
            has_pairs = " (pairs stay as they were paired)" if self._pipeline.pairs else ""
            raise RebuildRefusedError(
                pipeline=self._known.name,
                reason=f"source, sinks, keys and columns have to stay what they are{has_pairs}, and there differs: "
                f"{'; '.join(beyond)}; nothing was changed",
                remedy="Undo that, or give the changed pipeline another name and sinks of its own",
            )

    def _raise(self, generation: int) -> None:
        for tables in output_tables(self._pipeline):
            tables.add_columns(self._connection)
        facts = {**self._facts, "definition": Jsonb(self._declared), "definition_hash": self._hash}
        self._connection.execute(_REBUILDING["raise_definition"], {**facts, "generation": generation})

    def _batches(self, generation: int) -> list[Counted]:
        facts = {**self._facts, "generation": generation, "definition_hash": self._hash}
        return [_counted(row) for row in self._connection.execute(_REBUILDING["batches_to_rebuild"], facts)]

    def _windows(self, batches: list[int]) -> dict[str, int]:
        return {
            tables.name: one_row(self._connection, tables.compose("count_windows"), {"batches": batches})[0]
            for tables in _window_tables(self._pipeline)
        }


def refuse_hindered(pipeline: str, left: Left) -> None:
    """Raise if some batches cannot be redone: part of them is only redone if somebody says from when on.

    Raises:
        RebuildRefusedError: names the `--from` that works.
    """
    if not left.hindered:
        return
    reasons = [f"{len(batches):,} batches were {reason}" for reason, batches in left.hindered.items()]
    remedy = "Give the changed pipeline another name and sinks of its own"
    if left.possible_from:
        remedy = f"What is younger can be: --from {left.possible_from:%Y-%m-%dT%H:%M:%SZ}"
    raise RebuildRefusedError(
        pipeline=pipeline, reason=f"{' and '.join(reasons)}; they stay as they are", remedy=remedy
    )


def mixed(pipeline: Pipeline, connection: Connection) -> dict[str, int]:
    """How many results of each table sum batches of more than one generation."""
    return {
        tables.name: one_row(connection, tables.views.compose("count_mixed"), {})[0]
        for tables in _window_tables(pipeline)
    }


def _partitions(batches: list[Counted]) -> list[int]:
    return sorted({item.partition for batch in batches if not batch.is_retired for item in batch.ranges})


def _counted(row: Any) -> Counted:
    batch_id, shard, kind, batch_time, messages, partitions, starts, ends, is_current, is_retired = row
    ranges = [OffsetRange(*item) for item in zip(partitions, starts, ends, strict=True)]
    return Counted(batch_id, shard, kind, batch_time, messages, ranges, is_current, is_retired)


def _window_tables(pipeline: Pipeline) -> list[WindowTables]:
    seen = view(pipeline)
    return [WindowTables(pipeline, window, seen) for window in pipeline.windows]
