"""Pairs: the k-th event with number v is paired with the k-th with `sum` - v, in the order of the ledger."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import duckdb
import msgspec
import pyarrow as pa

from microbatch.event import EPOCH
from microbatch.joining import Array
from microbatch.outputs import Pairs
from microbatch.relations import ROWS_A_FETCH, chunks, insert

_WAITING: Final = {
    "value": pa.int64(),
    "batch_id": pa.int64(),
    "kafka_ms": pa.int64(),
    "part": pa.int32(),
    "off": pa.int64(),
}
PAIR_COLUMNS: Final = (
    *("first_value", "first_partition", "first_offset"),
    *("second_value", "second_partition", "second_offset"),
)
_MS: Final = timedelta(milliseconds=1)
# The partner of a number of 64 bits may need more of them. Ranks are unique and follow the order of the ledger; a
# batch that is null is this one, the newest.
_PAIR: Final = """
create table {pairs} as
with ranked as (
    select
        *,
        row_number() over (order by batch_id nulls last, kafka_ms, part, off) as age,
        row_number() over (partition by value order by batch_id nulls last, kafka_ms, part, off) as place
    from {events}
),

partnered as (
    select
        a,
        b
    from ranked as a
    join ranked as b
        on
            b.value = {sum} - a.value::hugeint
            and a.value < b.value
            and b.place = a.place
    union all
    select
        a,
        b
    from ranked as a
    join ranked as b
        on
            b.value = a.value
            and 2 * a.value::hugeint = {sum}
            and a.place % 2 = 1
            and b.place = a.place + 1
),

ordered as (
    select
        case when a.age < b.age then a else b end as f,
        case when a.age < b.age then b else a end as s
    from partnered
)

select
    f.value as first_value,
    f.part as first_part,
    f.off as first_off,
    f.batch_id as first_batch,
    f.kafka_ms as first_ms,
    s.value as second_value,
    s.part as second_part,
    s.off as second_off,
    s.kafka_ms as second_ms,
    s.key as second_key
from ordered
"""


class Waiting(msgspec.Struct, frozen=True):
    """An event that has no partner yet.

    Attributes:
        value: its number.
        batch_id: the batch that booked it.
        kafka_timestamp: aware.
        partition: of the source.
        offset: in that.
    """

    value: int
    batch_id: int
    kafka_timestamp: datetime
    partition: int
    offset: int


class Paired(msgspec.Struct, frozen=True):
    """Some pairs of events whose numbers have the sum that is asked for; the second is the later one.

    Attributes:
        offsets: of the second events.
        keys: of their messages.
        timestamps_ms: Kafka's, of their messages.
        first_batch_ids: the batches that booked the first ones; null: the one that is computed.
        values: of PAIR_COLUMNS.
    """

    offsets: Array
    keys: Array
    timestamps_ms: Array
    first_batch_ids: Array
    values: list[Array]


class PairEvents:
    """The events of one batch for one pairing: gathered in DuckDB, then paired with what waits."""

    def __init__(self, database: duckdb.DuckDBPyConnection, position: int, output: Pairs, column: str) -> None:
        self._database = database
        self._sum = output.sum
        self._column = column
        self._table = f"pair_events_{position}"
        self._pairs = f"pairs_{position}"
        database.execute(
            f"create table {self._table}"
            " (value bigint, batch_id bigint, kafka_ms bigint, part int, off bigint, key blob)"
        )

    def add(self, relation: str) -> None:
        """Add the events of a relation of DuckDB."""
        self._database.execute(
            f"insert into {self._table} select {self._column}, null, _kafka_ms, _partition, _offset, _key"  # noqa: S608
            f" from {relation}"
        )

    def numbers(self) -> dict[int, int]:
        """How many of each number this batch has."""
        found = self._database.execute(f"select value, count(*) from {self._table} group by value")  # noqa: S608
        return dict(found.fetchall())

    def events(self) -> set[tuple[int, int, int]]:
        """Number, partition and offset of each event."""
        return set(self._database.execute(f"select value, part, off from {self._table}").fetchall())  # noqa: S608

    def pair(self, waiting: Iterable[Waiting]) -> None:
        """Pair all, with what waited before: the oldest of each number that this batch has partners for."""
        for some in chunks(waiting, ROWS_A_FETCH):
            rows = [(w.value, w.batch_id, (w.kafka_timestamp - EPOCH) // _MS, w.partition, w.offset) for w in some]
            columns = zip(_WAITING.items(), zip(*rows, strict=True), strict=True)
            insert(self._database, self._table, {name: pa.array(values, kind) for (name, kind), values in columns})
        self._database.execute(_PAIR.format(events=self._table, pairs=self._pairs, sum=self._sum))

    def pairs(self, partition: int, start: int, end: int) -> Iterator[Paired]:
        """The pairs whose later event is in a range of offsets, in their order, some thousand at a time."""
        # A cursor of its own: others go on while this one is read.
        found = self._database.cursor().sql(
            "select second_off, second_key, second_ms, first_batch, first_value, first_part, first_off,"  # noqa: S608
            " second_value, second_part, second_off"
            f" from {self._pairs} where second_part = ? and second_off >= ? and second_off < ? order by second_off",
            params=[partition, start, end],
        )
        for some in found.to_arrow_reader(ROWS_A_FETCH):
            if some.num_rows:
                offsets, keys, timestamps_ms, first_batch_ids, *values = some.columns
                yield Paired(offsets, keys, timestamps_ms, first_batch_ids, values)

    def matched(self) -> Iterator[Waiting]:
        """Those that waited before this batch and have a partner now."""
        yield from self._waiting(
            f"select first_value, first_batch, first_ms, first_part, first_off from {self._pairs}"  # noqa: S608
            " where first_batch is not null"
        )

    def left(self, batch_id: int) -> Iterator[Waiting]:
        """Those of this batch that wait from now on."""
        yield from self._waiting(
            f"select value, {batch_id}, kafka_ms, part, off from {self._table} as e"  # noqa: S608
            f" anti join (select first_part as part, first_off as off from {self._pairs}"
            f" union all select second_part, second_off from {self._pairs}) as p using (part, off)"
            " where batch_id is null"
        )

    def _waiting(self, query: str) -> Iterator[Waiting]:
        found = self._database.cursor().execute(query)
        while rows := found.fetchmany(ROWS_A_FETCH):
            for value, batch_id, kafka_ms, partition, offset in rows:
                yield Waiting(value, batch_id, EPOCH + kafka_ms * _MS, partition, offset)
