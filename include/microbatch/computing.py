"""All that is computed from the messages of one batch: decode -> flow -> unique -> windows, pairs, stream rows.

It happens in a DuckDB of the batch's own, in bounded memory: what gathers there spills to disk. Nothing here knows of
Postgres or Kafka, so `microbatch.testing` runs the very same code.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message as RawMessage

from microbatch.columns import integers
from microbatch.columntypes import ColumnType
from microbatch.decoding import Decoder, Reject
from microbatch.expressions import OFFSET, PARTITION
from microbatch.flow import KAFKA_MS, KEY, Flow, Passed
from microbatch.lateness import LateMessages
from microbatch.outputs import Pairs, TumblingWindow
from microbatch.pairing import PairEvents
from microbatch.pipeline import Pipeline
from microbatch.ranges import OffsetRange
from microbatch.relations import ROWS_A_FETCH, chunks, insert, python_rows
from microbatch.rows import Rows
from microbatch.scratch import Scratch
from microbatch.translating import Translate
from microbatch.view import view
from microbatch.waiting import Waiting
from microbatch.windows import Contributions, exact

_PASSED: Final = "passed"
_GATHERED: Final = "gathered"
_FIRST: Final = "first_of_key"
_ACCEPTED: Final = "accepted"


class Chunk(msgspec.Struct, frozen=True):
    """What a chunk of messages of one range turned into.

    Attributes:
        rows: of the stream, if it has sinks and they need not wait for the rest of the batch.
        rejects: the messages that do not count.
        filtered: events that `where` or the transform left out.
    """

    rows: Rows | None
    rejects: list[Reject]
    filtered: int


Key = tuple[Any, ...]
"""The values of `unique`'s columns, then partition and offset."""
Accept = Callable[[Iterator[Key]], Iterable[tuple[int, int]]]
"""Is given the first event of each key in this batch; gives partition and offset of those that nobody booked before."""


class Computation:
    """What comes from the messages of one batch."""

    def __init__(
        self, pipeline: Pipeline, batch_time: datetime, scratch: Scratch, translate: Translate | None = None
    ) -> None:
        self._pipeline = pipeline
        self._view = view(pipeline)
        self._types = self._view.seen
        self._scratch = scratch
        self._database = scratch.database
        self._decoder = Decoder(pipeline, translate)
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
        self._row_types = [self._types[name] for name in self._view.stream]
        self._row_columns = [OFFSET, KEY, KAFKA_MS, *(self._flow.columns[name] for name in self._view.stream)]
        self._has_gathered = False
        self._waiting = Waiting()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scratch.clear()

    def add(
        self, item: OffsetRange, messages: list[RawMessage], left_out: Iterable[Reject] = ()
    ) -> Iterator[tuple[OffsetRange, Chunk]]:
        """Add messages of one range, in its order; gives chunks once enough messages wait for it.

        Args:
            item: the range; of each partition one after the other.
            messages: those that are to be decoded.
            left_out: others of the range, which do not count.
        """
        if self._waiting.items.get(item.partition, item) != item:
            yield from self.flush()
        decoded = self._decoder.decode(messages)
        events = self._flow.columns_of(decoded)
        self._waiting.add(item, decoded, events, keep_messages=self._flow.may_reject(decoded))
        self._waiting.rejects += left_out
        if self._waiting.is_full:
            yield from self.flush()

    def flush(self) -> Iterator[tuple[OffsetRange, Chunk]]:
        """Chunks of all messages that wait: to be called after the last of them, too."""
        waiting, self._waiting = self._waiting, Waiting()
        passed = None
        if waiting.messages:
            passed = self._flow.run(waiting.events(), waiting.messages, waiting.longest)
            self._take(passed)
        rejects = by_partition(waiting.rejects, passed.rejects if passed else [])
        filtered = self._filtered(waiting, passed) if passed and passed.filtered else Counter()
        for partition, item in sorted(waiting.items.items()):
            rows = self._rows(partition, passed.events) if passed and not self._unique else None
            yield item, Chunk(rows, rejects[partition], filtered[partition])

    def _filtered(self, waiting: Waiting, passed: Passed) -> Counter[int]:
        """How many events of each partition `where` or the transform left out: there are places, for they ask."""
        left: Counter[int] = Counter(integers(passed.events[PARTITION]).tolist())
        left.update(reject.message.partition for reject in passed.rejects)
        return waiting.counts - left

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
        self._use(_PASSED, [True] * len(self._late))

    def repeated(self, item: OffsetRange) -> int:
        """With `unique`, after `decide`: how many events of a range were not the first of their key."""
        if not self._has_gathered:
            return 0
        counts = [
            self._database.execute(f"select count(*) from {relation} {_within(item)}").fetchall()[0][0]  # noqa: S608
            for relation in (_GATHERED, _PASSED)
        ]
        return int(counts[0] - counts[1])

    def rows_of(self, item: OffsetRange) -> Iterator[Rows]:
        """With `unique`, after `decide`: the stream's rows of a range, in the order of their offsets."""
        if self._has_gathered and self._has_rows:
            columns = ", ".join(self._row_columns)
            query = f"select {columns} from {_PASSED} {_within(item)} order by {OFFSET}"  # noqa: S608 - names are ours
            for some in self._database.cursor().sql(query).to_arrow_reader(ROWS_A_FETCH):
                if some.num_rows:
                    yield Rows.of(item.partition, pa.Table.from_batches([some]), self._row_types)

    def contributions(self, window: TumblingWindow) -> Contributions:
        """What the batch contributes to a window's output."""
        return self._windows[self._pipeline.windows.index(window)]

    def late(self, window: TumblingWindow) -> LateMessages:
        """The batch's late messages of a window's output; those that are dead letters are not among them."""
        return self._late[self._pipeline.windows.index(window)]

    def pairs(self, output: Pairs) -> PairEvents:
        """The batch's events for a pairing."""
        return self._pairs[self._pipeline.pairs.index(output)]

    def _take(self, passed: Passed) -> None:
        if passed.events.num_rows:
            self._database.register(_PASSED, passed.events)
            if self._unique:
                self._gather()
            else:
                self._use(_PASSED, passed.may_be_late)
            self._database.unregister(_PASSED)

    def _gather(self) -> None:
        target = f"insert into {_GATHERED}" if self._has_gathered else f"create table {_GATHERED} as"
        self._database.execute(f"{target} select * from {_PASSED}")  # noqa: S608
        self._has_gathered = True

    def _use(self, relation: str, may_be_late: list[bool]) -> None:
        for contributions, late, is_possible in zip(self._windows, self._late, may_be_late, strict=True):
            contributions.add(relation)
            if is_possible:
                late.add(relation)
        for events in self._pairs:
            events.add(relation)

    def _keys(self, names: list[str]) -> Iterator[Key]:
        kinds = [self._types[name] for name in self._unique]
        shown = [_shown(name, kind) for name, kind in zip(names, kinds, strict=True)]
        query = f"select {', '.join(shown)}, {PARTITION}, {OFFSET} from {_FIRST} order by {PARTITION}, {OFFSET}"  # noqa: S608
        times = [*(kind.is_time for kind in kinds), False, False]
        yield from python_rows(self._database.cursor().execute(query), times)

    def _rows(self, partition: int, passed: pa.Table) -> Rows | None:
        """The rows of the events of a partition, which are in the order of their offsets."""
        if not self._has_rows:
            return None
        mine = passed.select(self._row_columns).filter(pc.equal(passed[PARTITION], pa.scalar(partition, pa.int32())))
        return Rows.of(partition, mine, self._row_types) if mine.num_rows else None


def _within(item: OffsetRange) -> str:
    return f"where {PARTITION} = {item.partition} and {OFFSET} >= {item.start} and {OFFSET} < {item.end}"


def _shown(column: str, kind: ColumnType) -> str:
    """Times leave DuckDB as microseconds: as its own type they would need another library."""
    return f"epoch_us({column})" if kind.is_time else exact(column, kind)


def by_partition(left: list[Reject], right: list[Reject]) -> defaultdict[int, list[Reject]]:
    """Rejects of both, in the order of their offsets."""
    found: defaultdict[int, list[Reject]] = defaultdict(list)
    for reject in sorted([*left, *right], key=lambda reject: reject.message.offset):
        found[reject.message.partition].append(reject)
    return found
