"""What goes to Kafka: segments, result messages, dead letters. Their bytes are a format that others rely on."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import outbox
from microbatch.columntypes import Column
from microbatch.decoding import Message, Reject
from microbatch.outbox import (
    Cursor,
    Origin,
    OutMessage,
    Size,
    dead_letter,
    decode_segment,
    encode_packed,
    encode_segment,
    lot_end,
    pair_bodies,
    redriven_message,
    result_message,
    row_bodies,
    segments,
)
from microbatch.packing import Bodies, packed
from microbatch.pairing import Paired
from microbatch.rows import Rows

TEN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
MINUTE_LATER = datetime(2026, 11, 21, 10, 1, tzinfo=UTC)

some_bytes = st.none() | st.binary(max_size=20)
messages = st.builds(
    OutMessage,
    topic=st.text(max_size=5),
    partition=st.none() | st.integers(0, 2**31 - 1),
    key=some_bytes,
    value=some_bytes,
    timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    headers=st.lists(st.tuples(st.text(max_size=5), some_bytes), max_size=3).map(tuple),
)


@given(st.lists(messages, max_size=5))
def test_a_segment_gives_back_what_went_in(given_messages: list[OutMessage]) -> None:
    assert decode_segment(encode_segment(given_messages)) == given_messages


def test_a_segment_is_known_bytes() -> None:
    """Segments wait in Postgres while the engine is upgraded: what was written must stay readable."""
    written = [OutMessage("t", None, b"k", None, 60_000, (("h", b"\xff"), ("n", None)))]
    payload = b"\x91\x96\xa1t\xc0\xc4\x01k\xc0\xcd\xea\x60\x92\x92\xa1h\xc4\x01\xff\x92\xa1n\xc0"

    assert encode_segment(written) == payload
    assert decode_segment(payload) == written


COLUMNS = {
    "window_start": ("timestamptz", TEN),
    "seller_id": ("text", 'a"da'),
    "window_end": ("timestamptz", MINUTE_LATER),
    "amount_usd": ("numeric", Decimal(7)),
    "sales": ("bigint", 2),
    "is_final": ("boolean", True),
    "revision": ("integer", 1),
    "retracted": ("boolean", False),
}
"""Type and value of each column of a result's history."""


def result(key: tuple[str, ...] = ("window_start", "seller_id"), **changes: Any) -> OutMessage:
    """A result's message; a change is a value, or a type and a value."""
    facts = dict(COLUMNS)
    for name, change in changes.items():
        facts[name] = change if isinstance(change, tuple) else (facts[name][0], change)
    columns = [Column(name, kind, "") for name, (kind, _) in facts.items()]
    return result_message(
        topic="aggregated-sales",
        pipeline="sales",
        key=[column for column in columns if column.name in key],
        columns=columns,
        values=[value for _, value in facts.values()],
    )


def test_a_result_is_json_with_all_columns_under_its_window_and_key() -> None:
    assert result() == OutMessage(
        topic="aggregated-sales",
        partition=None,
        key=b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"a\\"da"}',
        value=(
            b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"a\\"da","window_end":"2026-11-21T10:01:00Z",'
            b'"amount_usd":7,"sales":2,"is_final":true,"revision":1}'
        ),
        timestamp_ms=1_795_255_260_000,
        headers=(("microbatch.pipeline", b"sales"), ("microbatch.revision", b"1")),
    )


def test_a_retraction_is_a_tombstone_with_a_revision() -> None:
    message = result(retracted=True, amount_usd=None, sales=None, revision=3)

    assert message.value is None
    assert message.key == result().key
    assert message.headers == (("microbatch.pipeline", b"sales"), ("microbatch.revision", b"3"))


UUID_ = UUID("6f1c6f2e-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("numeric", Decimal(36893488147419103230), b"36893488147419103230"),
        ("numeric", Decimal("-1E+30"), b"-1" + b"0" * 30),
        ("numeric", Decimal(0), b"0"),
        ("numeric(50,2)", Decimal("7.00"), b'"7.00"'),
        ("numeric(50,2)", Decimal("-0.25"), b'"-0.25"'),
        ("numeric(50,12)", Decimal("1E-12"), b'"0.000000000001"'),
        ("numeric(38,0)", Decimal("1E+20"), b'"1' + b"0" * 20 + b'"'),
        ("bigint", 2**63 - 1, b"9223372036854775807"),
        ("bigint", None, b"null"),
        ("boolean", False, b"false"),
        ("text", "ü\u2028\x7f", '"ü\u2028\x7f"'.encode()),
        ("timestamptz", datetime(2026, 11, 21, 10, 0, 0, 123, tzinfo=UTC), b'"2026-11-21T10:00:00.000123Z"'),
        ("timestamptz", datetime(1, 1, 8, tzinfo=UTC), b'"0001-01-08T00:00:00Z"'),
        ("date", date(2026, 11, 21), b'"2026-11-21"'),
        ("uuid", UUID_, b'"6f1c6f2e-0000-4000-8000-000000000001"'),
    ],
)
def test_each_type_has_one_way_in_json(kind: str, value: Any, shown: bytes) -> None:
    assert b'"amount_usd":' + shown + b"," in (result(amount_usd=(kind, value)).value or b"")


def test_without_keys_the_window_alone_is_the_key() -> None:
    assert result(key=("window_start",)).key == b'{"window_start":"2026-11-21T10:00:00Z"}'


ORIGIN = Origin(pipeline="sales", source="src", batch_id=9, sink_partitions={"dlq": 3, "rows": 2})
FROM = (
    ("microbatch.topic", b"src"),
    ("microbatch.partition", b"7"),
    ("microbatch.offset", b"4711"),
    ("microbatch.pipeline", b"sales"),
    ("microbatch.batch", b"9"),
)


def test_a_dead_letter_is_its_message_with_the_reason_and_the_origin() -> None:
    message = Message(7, 4711, 1_795_255_200_123, b"\x00k", b"\xff{", (("trace", b"1"), ("trace", None)))

    assert dead_letter(ORIGIN, "dlq", Reject(message, "JSON is malformed: ü")) == OutMessage(
        topic="dlq",
        partition=1,
        key=b"\x00k",
        value=b"\xff{",
        timestamp_ms=1_795_255_200_123,
        headers=(("trace", b"1"), ("trace", None), ("microbatch.reason", "JSON is malformed: ü".encode()), *FROM),
    )


def sent(bodies: Bodies) -> list[OutMessage]:
    """What becomes of messages of partition 7, through a segment."""
    return decode_segment(encode_packed(packed(ORIGIN.common("rows", 7), [bodies])))


def test_a_row_keeps_key_timestamp_and_place_of_its_source() -> None:
    columns = [Column("at", "timestamptz", ""), Column("price", "numeric(17,2)", ""), Column('a "b"', "text", "")]
    at = pa.array([TEN], pa.timestamp("us", tz="UTC"))
    values = [at, pa.array([Decimal("1.50")], pa.decimal128(17, 2)), pa.array([None], pa.string())]
    rows = Rows(7, pa.array([4711]), pa.array([b"k"], pa.binary()), pa.array([1_795_255_200_123]), values, [])

    assert sent(row_bodies(rows, columns)) == [
        OutMessage(
            topic="rows",
            partition=1,
            key=b"k",
            value=b'{"at":"2026-11-21T10:00:00Z","price":"1.50","a \\"b\\"":null}',
            timestamp_ms=1_795_255_200_123,
            headers=FROM,
        )
    ]


def test_a_pair_goes_where_its_later_event_came_from() -> None:
    values = [pa.array([number]) for number in (5, 1, 8, 7, 7, 4711)]
    pairs = Paired(
        pa.array([4711]), pa.array([None], pa.binary()), pa.array([1_795_255_200_123]), pa.array([3]), values
    )

    assert sent(pair_bodies(pairs)) == [
        OutMessage(
            topic="rows",
            partition=1,
            key=None,
            value=(
                b'{"first_value":5,"first_partition":1,"first_offset":8,'
                b'"second_value":7,"second_partition":7,"second_offset":4711}'
            ),
            timestamp_ms=1_795_255_200_123,
            headers=FROM,
        )
    ]


@given(
    st.lists(st.tuples(st.integers(0, 2**62), some_bytes, st.integers(-(2**63), 2**63 - 1), st.binary()), min_size=1)
)
def test_messages_that_are_alike_come_out_of_a_segment_as_they_went_in(
    given_bodies: list[tuple[int, bytes | None, int, bytes]],
) -> None:
    offsets, keys, timestamps_ms, values = zip(*given_bodies, strict=True)
    bodies = Bodies(
        pa.array(offsets, pa.int64()),
        pa.array(keys, pa.binary()),
        pa.array(timestamps_ms, pa.int64()),
        pa.array(values, pa.large_binary()),
    )

    assert sent(bodies) == [
        ORIGIN.message("rows", 7, offset, timestamp_ms, key, value) for offset, key, timestamp_ms, value in given_bodies
    ]


@given(st.integers(0, 1000), st.integers(1, 50))
def test_a_source_partition_always_goes_to_the_same_sink_partition(partition: int, partitions: int) -> None:
    origin = Origin("p", "s", 1, {"t": partitions})

    assert origin.message("t", partition, 0, 0, None, None).partition == partition % partitions


def test_a_cursor_is_json_of_ledger_and_publication() -> None:
    assert str(Cursor("6f1c6f2e-0000-4000-8000-000000000001", 12)) == (
        '{"ledger":"6f1c6f2e-0000-4000-8000-000000000001","publication":12}'
    )


def test_the_size_of_a_message_is_not_below_its_bytes() -> None:
    message = OutMessage("t", 0, b"k" * 10, b"v" * 100, 0, (("h", b"x" * 1000), ("n", None)))

    assert message.size >= 1110


# -- lots --------------------------------------------------------------------------------------------------

sizes = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 500)), min_size=1, max_size=12).map(
    lambda drawn: [Size(number, *size) for number, size in enumerate(drawn, 7)]
)


@given(sizes, st.integers(1, 100), st.integers(1, 1000))
def test_a_lot_is_as_many_whole_publications_as_fit_and_at_least_one(
    waiting: list[Size], max_messages: int, max_bytes: int
) -> None:
    last = lot_end(waiting, max_messages, max_bytes)

    def fits(count: int) -> bool:
        lot = waiting[:count]
        return sum(item.messages for item in lot) <= max_messages and sum(item.bytes for item in lot) <= max_bytes

    taken = last - 7 + 1
    assert taken == 1 or fits(taken)
    assert taken == len(waiting) or not fits(taken + 1)


@pytest.mark.parametrize(
    ("messages", "bytes_", "last"), [(10, 1000, 9), (5, 1000, 9), (4, 1000, 8), (10, 29, 8), (1, 1, 7), (2, 20, 7)]
)
def test_lots(messages: int, bytes_: int, last: int) -> None:
    waiting = [Size(7, 2, 10), Size(8, 2, 15), Size(9, 1, 5)]

    assert lot_end(waiting, messages, bytes_) == last


# -- redriven messages, and segments of whatever comes -------------------------------------------------------------


REDRIVEN_BEFORE = Message(
    *(3, 7, 60_000, b"k", b"v"),
    headers=(
        ("trace", b"1"),
        ("microbatch.redriven", b"sales-usd[3]@2"),
        ("microbatch.pipeline", b"another"),
        ("microbatch.cursor", b"{}"),
    ),
)


def test_a_redriven_message_has_its_own_headers_and_says_where_it_was() -> None:
    letter = dead_letter(ORIGIN, "dlq", Reject(REDRIVEN_BEFORE, "bad"))
    back = Message(3, 7, 60_000, letter.key, letter.value, letter.headers)

    assert redriven_message("sales", "sales-usd", 4, back) == OutMessage(
        topic="sales-usd",
        partition=3,
        key=b"k",
        value=b"v",
        timestamp_ms=60_000,
        headers=(("trace", b"1"), ("microbatch.redriven", b"sales-usd[3]@7"), ("microbatch.pipeline", b"sales")),
    )


def test_of_a_dead_letter_that_was_redriven_the_last_headers_are_those_of_its_new_place() -> None:
    letter = dead_letter(ORIGIN, "dlq", Reject(REDRIVEN_BEFORE, "bad"))

    assert letter.headers[: len(REDRIVEN_BEFORE.headers)] == REDRIVEN_BEFORE.headers
    assert dict(letter.headers)["microbatch.pipeline"] == b"sales"
    assert dict(letter.headers)["microbatch.offset"] == str(REDRIVEN_BEFORE.offset).encode()


def test_of_a_partition_that_is_no_more_any_other_will_do() -> None:
    assert redriven_message("sales", "sales-usd", 3, REDRIVEN_BEFORE).partition is None


@given(st.lists(messages, max_size=12), st.integers(1, 5), st.integers(1, 400))
def test_segments_hold_all_messages_in_their_order_and_no_more_than_fit(
    given_messages: list[OutMessage], most: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "SEGMENT_MESSAGES", most)
        patch.setattr(outbox, "SEGMENT_BYTES", size)
        found = list(segments(given_messages))

    assert [message for some in found for message in some] == given_messages
    assert all(0 < len(some) <= most for some in found)
    assert all(sum(message.size for message in some[:-1]) < size for some in found)
