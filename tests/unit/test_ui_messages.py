"""Messages for people: bytes as texts without loss, and pages that neither miss nor repeat a message."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE
from confluent_kafka import Message as RawMessage
from hypothesis import given
from hypothesis import strategies as st

from microbatch_ui.messages import CUT_BYTES, MOST_BYTES, Look, Page, Shown, newest, oldest, shown


def text(value: bytes) -> str:
    found = shown(value)
    assert found is not None
    return found.text


def raw(offset: int, at_ms: int = 0, partition: int = 0, **given: Any) -> RawMessage:
    return RawMessage(partition=partition, offset=offset, timestamp=(TIMESTAMP_CREATE_TIME, at_ms), **given)


def places(page: Page) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in page.messages]


# -- bytes -------------------------------------------------------------------------------------------------


def test_json_is_spread_over_lines_and_every_digit_and_escape_stays() -> None:
    sent = rb'{"b":12345678901234567890.10,"a":[1e400,-0.0],"b":"\u00e4\/<script>"}'

    assert shown(sent) == Shown(
        '{\n  "b": 12345678901234567890.10,\n  "a": [\n    1e400,\n    -0.0\n  ],\n  "b": "\\u00e4\\/<script>"\n}',
        is_json=True,
        is_hex=False,
        size=len(sent),
        is_cut=False,
    )


@pytest.mark.parametrize(
    "sent", [b"", b"ada", "ä 😀".encode(), b"NaN", b"{", b"01", b'{"a":1} {}', b"\x00\r\n\xef\xbb\xbf1"]
)
def test_other_texts_stay_as_they_are(sent: bytes) -> None:
    assert shown(sent) == Shown(sent.decode(), is_json=False, is_hex=False, size=len(sent), is_cut=False)


@pytest.mark.parametrize("sent", [b"\xff\x00a", b'"\xff"', b"caf\xe9", b"\xed\xa0\x80"])
def test_what_is_no_utf_8_is_hexadecimal(sent: bytes) -> None:
    assert shown(sent) == Shown(sent.hex(), is_json=False, is_hex=True, size=len(sent), is_cut=False)


def test_null_is_not_an_empty_text() -> None:
    assert shown(None) is None


@pytest.mark.parametrize(
    ("sent", "start", "is_hex"),
    [
        (b"x" * (CUT_BYTES + 1), "x" * CUT_BYTES, False),
        # A character of two bytes stands across the cut.
        (b"x" + "ä".encode() * CUT_BYTES, "x" + "ä" * (CUT_BYTES // 2 - 1), False),
        (b"[" + b"1," * CUT_BYTES + b"1]", "[" + "1," * (CUT_BYTES // 2 - 1) + "1", False),
        (b"\xff" * (CUT_BYTES + 1), "ff" * CUT_BYTES, True),
    ],
)
def test_a_long_value_is_cut_and_says_so(sent: bytes, start: str, is_hex: bool) -> None:
    assert shown(sent) == Shown(start, is_json=False, is_hex=is_hex, size=len(sent), is_cut=True)


@pytest.mark.parametrize("depth", [33, 900, 30_000])
def test_deep_json_does_not_grow_by_its_indentation(depth: int) -> None:
    sent = b"[" * depth + b'"]]"' + b"]" * depth

    assert text(sent) == sent.decode()


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_json_for_people_says_the_same(value: Any) -> None:
    assert json.loads(text(json.dumps(value).encode())) == value


# -- messages ----------------------------------------------------------------------------------------------


def test_a_message_has_all_that_it_was_sent_with() -> None:
    sent = raw(7, 1_500, 3, key=b"\xff", value=None, headers=[("a", b"1"), ("a", None)])

    (message,) = newest({3: Look(7, 8, [sent])}, 50).messages

    assert (message.partition, message.offset, message.timestamp_ms, message.timestamp_type) == (
        3,
        7,
        1_500,
        "CreateTime",
    )
    assert message.timestamp == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert (message.key, message.value) == (shown(b"\xff"), None)
    assert message.headers == [("a", shown(b"1")), ("a", None)]


@pytest.mark.parametrize("at", [(TIMESTAMP_NOT_AVAILABLE, -1), (TIMESTAMP_CREATE_TIME, 2**62)])
def test_a_timestamp_that_no_calendar_has_is_none(at: tuple[int, int]) -> None:
    sent = RawMessage(partition=0, offset=0, timestamp=at)

    (message,) = newest({0: Look(0, 1, [sent])}, 50).messages

    assert (message.timestamp, message.timestamp_ms) == (None, at[1])


# -- pages -------------------------------------------------------------------------------------------------


def two_partitions() -> dict[int, Look]:
    """Read from 10 to 20 and from 0 to 5; by time: 10 of 0, 1 and 3 of 1, 12 and 15 of 0."""
    return {
        0: Look(10, 20, [raw(10, 1), raw(12, 5), raw(15, 6)]),
        1: Look(0, 5, [raw(1, 2, 1), raw(3, 3, 1)]),
    }


def test_the_newest_page_goes_back_as_far_as_its_limit() -> None:
    page = newest(two_partitions(), 3)

    assert places(page) == [(0, 15), (0, 12), (1, 3)]
    assert (page.previous, page.next) == ({0: 12, 1: 3}, {0: 20, 1: 5})


def test_the_oldest_page_goes_on_as_far_as_its_limit() -> None:
    page = oldest(two_partitions(), 3)

    assert places(page) == [(1, 3), (1, 1), (0, 10)]
    assert (page.previous, page.next) == ({0: 10, 1: 0}, {0: 11, 1: 5})


def test_a_partition_that_gives_a_page_nothing_stays_where_it_is() -> None:
    looks = two_partitions()

    assert (newest(looks, 2).previous, oldest(looks, 1).next) == ({0: 12, 1: 5}, {0: 11, 1: 0})


def test_what_has_no_message_is_behind_us() -> None:
    looks = {0: Look(3, 9, [])}

    assert (newest(looks, 5), oldest(looks, 5)) == (Page([], {0: 3}, {0: 9}),) * 2


def test_an_answer_has_few_large_messages_but_always_one() -> None:
    # Each character is six in JSON.
    large = [raw(offset, value=b"\x01" * CUT_BYTES) for offset in range(30)]
    headers = [("h", b"x" * CUT_BYTES)] * 100

    few = newest({0: Look(0, 30, large)}, 50)
    one = oldest({0: Look(0, 2, [raw(0, headers=headers), raw(1)])}, 50)

    assert [len(few.messages), few.previous] == [MOST_BYTES // (6 * CUT_BYTES), {0: 30 - len(few.messages)}]
    assert (places(one), one.next) == ([(0, 0)], {0: 1})


TIMES = st.lists(st.integers(0, 9), max_size=12)


@given(st.dictionaries(st.integers(0, 3), TIMES, min_size=1), st.integers(1, 5), st.booleans())
def test_pages_in_a_row_have_each_message_once_and_in_order(
    times: dict[int, list[int]], limit: int, is_onwards: bool
) -> None:
    logs = {p: [raw(2 * n, at, p) for n, at in enumerate(found)] for p, found in times.items()}
    walked, spans = [], {p: (0, 2 * len(log)) for p, log in logs.items()}
    for _ in range(50):
        looks = {
            p: Look(*spans[p], [m for m in log if spans[p][0] <= (m.offset() or 0) < spans[p][1]])
            for p, log in logs.items()
        }
        page = oldest(looks, limit) if is_onwards else newest(looks, limit)
        walked += places(page)[::-1] if is_onwards else places(page)
        assert len(page.messages) <= limit
        spans = {
            p: (page.next[p], end) if is_onwards else (start, page.previous[p]) for p, (start, end) in spans.items()
        }

    for partition, log in logs.items():
        offsets = [message.offset() for message in log]
        assert [o for p, o in walked if p == partition] == (offsets if is_onwards else offsets[::-1])
