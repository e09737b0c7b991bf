"""Store: all that comes from a batch, in the transaction that claimed it.

Dead letters and rows are stored as the chunks come; what gathers (contributions, pairs, rows under `unique`) is copied
once, at the end.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from confluent_kafka import Message as RawMessage

from microbatch.claiming import Claim
from microbatch.computing import Chunk, Computation
from microbatch.crash import crash_point
from microbatch.decoding import Message, Reject, whole
from microbatch.errors import PairsChangedError, TooManyRejectedError
from microbatch.outbox import Origin, dead_letter, pair_bodies, row_bodies
from microbatch.outputs import Pairs, TumblingWindow
from microbatch.pair_tables import PairTables
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange, places
from microbatch.registration import Registration
from microbatch.rejecting import Share, accepted_rejects
from microbatch.resending import SentRows
from microbatch.rows import Rows
from microbatch.scratch import Scratch
from microbatch.segments import BodySegments, Segments
from microbatch.sql import queries
from microbatch.stream_tables import StreamTables
from microbatch.translating import Translate
from microbatch.view import view
from microbatch.window_tables import WindowTables

_LEDGER: Final = queries("ledger")


class Counts(msgspec.Struct):
    """Messages of one range.

    Attributes:
        messages: all of them, tombstones included.
        rejected: those that are dead letters.
        repeated: events that `unique` left out.
        filtered: events that `where` or a transform left out.
    """

    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    filtered: int = 0


class BatchStore:
    """Computes and writes what comes from one claimed batch.

    Attributes:
        counts: of each range, so far.
    """

    def __init__(
        self,
        connection: Connection,
        pipeline: Pipeline,
        registration: Registration,
        claim: Claim,
        computation: Computation,
        accepted: list[OffsetRange],
        *,
        redo: bool,
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._registration = registration
        self._claim = claim
        self._computation = computation
        self._redo = redo
        self._origin = Origin(pipeline.name, pipeline.source.name, claim.batch_id, registration.sink_partitions)
        seen = view(pipeline)
        self._stream = StreamTables(pipeline, pipeline.stream, seen) if pipeline.stream else None
        self._windows = [(window, WindowTables(pipeline, window, seen)) for window in pipeline.windows]
        self._pairs = [(pairs, PairTables(pipeline, pairs)) for pairs in pipeline.pairs]
        # Each kind of message has its own: rows and letters of a range are in the order of their offsets.
        where = connection, registration, claim.batch_id
        self._bodies = {item: BodySegments(*where, item, self._origin) for item in claim.ranges}
        self._letters = {item: Segments(*where, item) for item in claim.ranges}
        self._sent = self._sent_rows() if redo else None
        self._rejected_before: dict[tuple[int, int], bool] = {}
        self._redriven: dict[tuple[int, int], str] = {}
        self._first_reason = ""
        self._share = Share(accepted)
        self.counts: dict[OffsetRange, Counts] = {item: Counts() for item in claim.ranges}

    @property
    def messages(self) -> int:
        """Over all ranges, so far."""
        return sum(counts.messages for counts in self.counts.values())

    @property
    def rejected(self) -> int:
        """Over all ranges, so far."""
        return sum(counts.rejected for counts in self.counts.values())

    def add(self, item: OffsetRange, messages: list[RawMessage]) -> None:
        """Add messages of one range; of those that make a chunk, what need not wait is stored."""
        self.counts[item].messages += len(messages)
        self._share.read(item, messages)
        messages, left_out = self._without_redriven(messages)
        self._store(self._computation.add(item, messages, left_out))

    def _without_redriven(self, messages: list[RawMessage]) -> tuple[list[RawMessage], list[Reject]]:
        """What was redriven counts where it is now, and stays rejected here, even if it would pass."""
        if not self._redriven:
            return messages, []
        redriven = [message for message in map(whole, messages) if _place(message) in self._redriven]
        offsets = {message.offset for message in redriven}
        left_out = [Reject(message, self._redriven[_place(message)], is_invalid=False) for message in redriven]
        return [message for message in messages if message.offset() not in offsets], left_out

    def _store(self, chunks: Iterable[tuple[OffsetRange, Chunk]]) -> None:
        for item, chunk in chunks:
            counts = self.counts[item]
            counts.rejected += len(chunk.rejects)
            counts.filtered += chunk.filtered
            self._share.reject(chunk.rejects)
            if chunk.rejects:
                self._store_rejects(item, chunk.rejects)
            if chunk.rows is not None:
                self._store_rows(item, chunk.rows)

    def finish(self) -> int:
        """Store what has gathered; returns the number of windows that the batch contributes to.

        Raises:
            TooManyRejectedError: more than `max_rejected` of the batch are invalid.
            PairsChangedError: a redo found other events to pair than the batch had booked.
        """
        self._store(self._computation.flush())
        self._refuse_too_many()
        self._decide()
        if self._sent is not None:
            self._sent.finish()
        windows = {start for window, tables in self._windows for start in self._store_contributions(window, tables)}
        for output, tables in self._pairs:
            self._store_pairs(output, tables)
        for item in self._claim.ranges:
            self._letters[item].flush()
            self._bodies[item].flush()
        self._count()
        return len(windows)

    def erase(self) -> None:
        """Take away what the batch has left, to be redone; its windows are touched as a whole.

        Rejects stay, for they say which messages are in the dead-letter topic; so do pairs, which cannot change.
        """
        batch = {"batch_id": self._claim.batch_id}
        for window, tables in self._windows:
            touched = {**batch, "pipeline_id": self._registration.pipeline_id, "output": self._touched_name(window)}
            self._connection.execute(tables.compose("touch_windows_of_batch"), touched)
            self._connection.execute(tables.compose("erase_contributions"), batch)
        self._connection.execute(_LEDGER["erase_late"], batch)
        if self._stream is not None:
            self._stream.erase(self._connection, self._claim.batch_id, self._claim.ranges)
        rows = self._connection.execute(_LEDGER["resolve_rejects"], batch).fetchall()
        self._rejected_before = {(partition, offset): row_sent for partition, offset, row_sent in rows}
        if self._sent is not None:
            self._sent.begin(self._rejected_before)
        # After the rejects, whose batch is locked: a redrive of them was before that, or comes after this redo.
        rows = self._connection.execute(_LEDGER["redriven_of_batch"], batch).fetchall()
        self._redriven = {(partition, offset): reason for partition, offset, reason in rows}

    def _sent_rows(self) -> SentRows | None:
        stream, output = self._stream, self._pipeline.stream
        if stream is None or output is None or output.topic is None:
            return None
        is_known = stream.has_rows or bool(stream.unique)
        ours, batch_id = self._registration, self._claim.batch_id
        return SentRows(self._connection, ours, batch_id, output.topic.name, is_known=is_known)

    # -- rejects -----------------------------------------------------------------------------------------------------

    def _store_rejects(self, item: OffsetRange, rejects: list[Reject]) -> None:
        """Rows and dead letters; of a redo only those that no earlier attempt rejected."""
        self._first_reason = self._first_reason or rejects[0].reason
        old = [reject for reject in rejects if _place(reject.message) in self._rejected_before]
        new = [reject for reject in rejects if _place(reject.message) not in self._rejected_before] if old else rejects
        if old:
            again = {
                "partitions": [reject.message.partition for reject in old],
                "offsets": [reject.message.offset for reject in old],
                "reasons": [reject.reason for reject in old],
            }
            self._connection.execute(_LEDGER["reject_again"], {**self._registration_facts(), **again})
        self._copy_rejects(new)
        topic = self._pipeline.dead_letter_topic.name
        for reject in new:
            self._letters[item].add(dead_letter(self._origin, topic, reject))

    def _copy_rejects(self, rejects: list[Reject]) -> None:
        ours, batch_id = self._registration, self._claim.batch_id
        row_sent = self._sent is not None and not self._sent.is_known
        with self._connection.cursor() as cursor, cursor.copy(_LEDGER["copy_rejects"]) as copy:
            copy.set_types(["int4", "uuid", "int4", "int8", "int8", "text", "bool"])
            for reject in rejects:
                place = _place(reject.message)
                copy.write_row((ours.pipeline_id, ours.topic_id, *place, batch_id, reject.reason, row_sent))

    def _refuse_too_many(self) -> None:
        if self._share.is_too_large(self._pipeline.max_rejected):
            raise TooManyRejectedError(
                pipeline=self._pipeline.name,
                rejected=self._share.invalid,
                messages=self._share.messages,
                ranges=", ".join(map(str, self.counts)),
                allowed=self._pipeline.max_rejected,
                reason=self._first_reason,
            )

    # -- rows of the stream ------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """With `unique`: what nobody booked before counts, and its rows are stored."""
        stream = self._stream
        if stream is None or not stream.unique:
            return
        output = self._pipeline.stream
        topic = output.topic.name if output and output.topic else None
        redone = {**self._registration_facts(), "topic": topic} if self._redo else None
        self._computation.decide(lambda keys: stream.book(self._connection, self._claim.batch_id, keys, redone))
        for item, counts in self.counts.items():
            counts.repeated = self._computation.repeated(item)
            for rows in self._computation.rows_of(item):
                self._store_rows(item, rows)

    def _store_rows(self, item: OffsetRange, rows: Rows) -> None:
        """Into the table, and into the outbox; of a redo only those that no earlier attempt has sent."""
        stream, output = self._stream, self._pipeline.stream
        assert stream is not None  # noqa: S101 - only a stream has rows
        assert output is not None  # noqa: S101 - as above
        stream.copy_rows(self._connection, self._claim.batch_id, rows)
        if output.topic is not None:
            unsent = rows if self._sent is None else self._sent.unsent(rows)
            self._bodies[item].add(output.topic.name, row_bodies(unsent, stream.columns))

    # -- windows and pairs -------------------------------------------------------------------------------------------

    def _store_contributions(self, window: TumblingWindow, tables: WindowTables) -> list[datetime]:
        found = self._computation.contributions(window)
        for count in tables.copy_contributions(self._connection, self._claim.batch_id, found.rows()):
            if count == 1:
                crash_point("consume.inside_copy")
        windows = found.windows()
        facts = {
            "pipeline_id": self._registration.pipeline_id,
            "output": self._touched_name(window),
            "batch_id": self._claim.batch_id,
            "windows": windows,
        }
        self._connection.execute(_LEDGER["touch_windows"], facts)
        self._store_late(window)
        return windows

    def _store_late(self, window: TumblingWindow) -> None:
        late = list(self._computation.late(window).rows())
        if not late:
            return
        output = self._touched_name(window)
        with self._connection.cursor() as cursor, cursor.copy(_LEDGER["copy_late"]) as copy:
            copy.set_types(["int8", "text", "timestamptz", "int8", "interval"])
            for each in late:
                copy.write_row((self._claim.batch_id, output, each.window_start, each.messages, each.lateness))

    def _touched_name(self, window: TumblingWindow) -> str:
        return ".".join(self._pipeline.state(window))

    def _store_pairs(self, output: Pairs, tables: PairTables) -> None:
        """Pair the batch's events with what waits and with each other; the later event's range has the message."""
        events, batch_id = self._computation.pairs(output), self._claim.batch_id
        if self._redo:
            # Pairs depend on what was booked before and after: the same events leave all of them as they are.
            if events.events() != tables.events_of(self._connection, batch_id):
                raise PairsChangedError(pipeline=self._pipeline.name, batch=batch_id)
            return
        events.pair(tables.oldest_waiting(self._connection, events.numbers()))
        for item in self._claim.ranges:
            for pairs in events.pairs(item.partition, item.start, item.end):
                tables.copy_pairs(self._connection, batch_id, pairs)
                if output.topic is not None:
                    self._bodies[item].add(output.topic.name, pair_bodies(pairs))
        tables.remove_waiting(self._connection, events.matched())
        tables.copy_waiting(self._connection, events.left(batch_id))

    # -- counts ------------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        counted = {name: [getattr(each, name) for each in self.counts.values()] for name in Counts.__struct_fields__}
        batch = {"batch_id": self._claim.batch_id}
        of_ranges = {f"{name}_each": numbers for name, numbers in counted.items()}
        self._connection.execute(_LEDGER["count_ranges"], {**batch, **places(self.counts), **of_ranges})
        totals = {name: sum(numbers) for name, numbers in counted.items()}
        self._connection.execute(_LEDGER["finish_batch"], {**batch, **totals})

    def _registration_facts(self) -> dict[str, Any]:
        return {"pipeline_id": self._registration.pipeline_id, "topic_id": self._registration.topic_id}


@contextmanager
def open_batch(
    connection: Connection,
    pipeline: Pipeline,
    registration: Registration,
    claim: Claim,
    scratch: Scratch,
    translate: Translate | None,
    *,
    redo: bool = False,
) -> Iterator[BatchStore]:
    """A store for a batch; with `redo`, what the batch has left is taken away first."""
    accepted = accepted_rejects(connection, registration, claim.ranges)
    with Computation(pipeline, claim.batch_time, scratch, translate) as computation:
        store = BatchStore(connection, pipeline, registration, claim, computation, accepted, redo=redo)
        if redo:
            store.erase()
        yield store


def _place(message: Message) -> tuple[int, int]:
    return message.partition, message.offset
