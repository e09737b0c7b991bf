"""All that is computed from the messages of one batch: decode -> flow -> unique -> windows, pairs, stream rows.

It happens in a DuckDB of the batch's own, in bounded memory: what gathers there spills to disk. Nothing here knows of
Postgres or Kafka, so `microbatch.testing` runs the very same code.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pyarrow as pa

from microbatch.columntypes import ColumnType
from microbatch.decoding import Decoder, Message, Reject
from microbatch.expressions import OFFSET, PARTITION, connect
from microbatch.flow import KAFKA_MS, KEY, Flow
from microbatch.lateness import LateMessages
from microbatch.outputs import Pairs, TumblingWindow
from microbatch.pairing import PairEvents
from microbatch.pipeline import Pipeline
from microbatch.ranges import OffsetRange
from microbatch.relations import ROWS_A_FETCH, chunks, insert, python_rows
from microbatch.spilling import SpillFolder
from microbatch.view import view
from microbatch.windows import Contributions, exact

MEMORY_LIMIT: Final = "200MB"
_PASSED: Final = "passed"
_GATHERED: Final = "gathered"
_FIRST: Final = "first_of_key"
_ACCEPTED: Final = "accepted"


class Row(msgspec.Struct, frozen=True):
    """A row of the stream.

    Attributes:
        partition: of its event.
        offset: of its event.
        key: of its message.
        timestamp_ms: Kafka's, of its message.
        values: of the stream's columns, in their order.
    """

    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    values: tuple[Any, ...]


class Chunk(msgspec.Struct, frozen=True):
    """What a chunk of messages of one range turned into.

    Attributes:
        rows: of the stream, if they need not wait for the rest of the batch.
        rejects: the messages that do not count.
        filtered: events that `where` or the transform left out.
    """

    rows: list[Row]
    rejects: list[Reject]
    filtered: int


Key = tuple[Any, ...]
"""The values of `unique`'s columns, then partition and offset."""
Accept = Callable[[Iterator[Key]], Iterable[tuple[int, int]]]
"""Is given the first event of each key in this batch; gives partition and offset of those that nobody booked before."""


class Computation:
    """What comes from the messages of one batch."""

    def __init__(self, pipeline: Pipeline, batch_time: datetime) -> None:
        self._pipeline = pipeline
        self._view = view(pipeline)
        self._types = self._view.seen
        self._spill = SpillFolder()
        self._database = connect(
            memory_limit=MEMORY_LIMIT, temp_directory=str(self._spill.path), preserve_insertion_order=False
        )
        self._decoder = Decoder(pipeline)
        self._flow = Flow(pipeline, batch_time, self._database)
        columns = self._flow.columns
        self._windows = [
            Contributions(self._database, position, window, columns, self._types)
            for position, window in enumerate(pipeline.windows)
        ]
        self._late = [LateMessages(self._database, position) for position in range(len(pipeline.windows))]
        self._pairs = [
            PairEvents(self._database, position, output, columns[output.field])
            for position, output in enumerate(pipeline.pairs)
        ]
        stream = pipeline.stream
        self._unique = stream.unique if stream else []
        self._has_rows = stream is not None and bool(stream.to)
        self._has_gathered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._spill.close()

    def add(self, messages: list[Message]) -> Chunk:
        """Add a chunk of messages of one range."""
        decoded = self._decoder.decode(messages)
        if not decoded.events:
            return Chunk([], decoded.rejects, 0)
        passed = self._flow.run(decoded)
        rows: list[Row] = []
        if passed.events.num_rows:
            self._database.register(_PASSED, passed.events)
            if self._unique:
                self._gather()
            else:
                self._use(_PASSED)
                rows = list(self._rows(_PASSED))
            self._database.unregister(_PASSED)
        return Chunk(rows, in_order(decoded.rejects, passed.rejects), passed.filtered)

    def decide(self, accept: Accept) -> None:
        """With `unique`: keep what is the first of its key, in this batch and for `accept`; nothing else counts."""
        if not self._has_gathered:
            return
        names = [self._flow.columns[name] for name in self._unique]
        by = ", ".join(names)
        self._database.execute(
            f"create table {_FIRST} as select {PARTITION}, {OFFSET}, {by} from {_GATHERED} qualify row_number() over"  # noqa: S608
            f" (partition by {by} order by {KAFKA_MS}, {PARTITION}, {OFFSET}) = 1"
        )
        self._database.execute(f"create table {_ACCEPTED} ({PARTITION} int, {OFFSET} bigint)")
        for some in chunks(accept(self._keys(names)), ROWS_A_FETCH):
            partitions, offsets = zip(*some, strict=True)
            insert(
                self._database,
                _ACCEPTED,
                {PARTITION: pa.array(partitions, pa.int32()), OFFSET: pa.array(offsets, pa.int64())},
            )
        self._database.execute(
            f"create table {_PASSED} as select * from {_GATHERED} semi join {_ACCEPTED} using ({PARTITION}, {OFFSET})"  # noqa: S608
        )
        self._use(_PASSED)

    def repeated(self, item: OffsetRange) -> int:
        """With `unique`, after `decide`: how many events of a range were not the first of their key."""
        if not self._has_gathered:
            return 0
        counts = [
            self._database.execute(f"select count(*) from {relation} {_within(item)}").fetchall()[0][0]  # noqa: S608
            for relation in (_GATHERED, _PASSED)
        ]
        return int(counts[0] - counts[1])

    def rows_of(self, item: OffsetRange) -> Iterator[Row]:
        """With `unique`, after `decide`: the stream's rows of a range, in the order of their offsets."""
        if self._has_gathered:
            yield from self._rows(_PASSED, _within(item))

    def contributions(self, window: TumblingWindow) -> Contributions:
        """What the batch contributes to a window's output."""
        return self._windows[self._pipeline.windows.index(window)]

    def late(self, window: TumblingWindow) -> LateMessages:
        """The batch's late messages of a window's output; those that are dead letters are not among them."""
        return self._late[self._pipeline.windows.index(window)]

    def pairs(self, output: Pairs) -> PairEvents:
        """The batch's events for a pairing."""
        return self._pairs[self._pipeline.pairs.index(output)]

    def _gather(self) -> None:
        target = f"insert into {_GATHERED}" if self._has_gathered else f"create table {_GATHERED} as"
        self._database.execute(f"{target} select * from {_PASSED}")  # noqa: S608
        self._has_gathered = True

    def _use(self, relation: str) -> None:
        for contributions, late in zip(self._windows, self._late, strict=True):
            contributions.add(relation)
            late.add(relation)
        for events in self._pairs:
            events.add(relation)

    def _keys(self, names: list[str]) -> Iterator[Key]:
        kinds = [self._types[name] for name in self._unique]
        shown = [_shown(name, kind) for name, kind in zip(names, kinds, strict=True)]
        query = f"select {', '.join(shown)}, {PARTITION}, {OFFSET} from {_FIRST} order by {PARTITION}, {OFFSET}"  # noqa: S608
        times = [*(kind.is_time for kind in kinds), False, False]
        yield from python_rows(self._database.cursor().execute(query), times)

    def _rows(self, relation: str, where: str = "") -> Iterator[Row]:
        if not self._has_rows:
            return
        names = list(self._view.stream)
        kinds = [self._types[name] for name in names]
        shown = [_shown(self._flow.columns[name], kind) for name, kind in zip(names, kinds, strict=True)]
        query = (
            f"select {PARTITION}, {OFFSET}, {KEY}, {KAFKA_MS}, {', '.join(shown)} from {relation} {where}"  # noqa: S608
            f" order by {PARTITION}, {OFFSET}"
        )
        times = [False] * 4 + [kind.is_time for kind in kinds]
        for partition, offset, key, timestamp_ms, *values in python_rows(self._database.execute(query), times):
            yield Row(partition, offset, key, timestamp_ms, tuple(values))


def _within(item: OffsetRange) -> str:
    return f"where {PARTITION} = {item.partition} and {OFFSET} >= {item.start} and {OFFSET} < {item.end}"


def _shown(column: str, kind: ColumnType) -> str:
    """Times leave DuckDB as microseconds: as its own type they would need another library."""
    return f"epoch_us({column})" if kind.is_time else exact(column, kind)


def in_order(left: list[Reject], right: list[Reject]) -> list[Reject]:
    """Rejects of both, in the order of their places."""
    return sorted([*left, *right], key=lambda reject: (reject.message.partition, reject.message.offset))
