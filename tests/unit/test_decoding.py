"""Decoding: every message is either an event with exactly its facts, or a reject that keeps every byte."""

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, TumblingWindow
from microbatch.decoding import MAX_DEPTH, Decoded, Decoder, Message, Reject
from microbatch.event import FIRST_S, LAST_S
from microbatch.outputs import MAX_REASON_CHARACTERS
from microbatch.testing import raw

T0 = 1_795_255_200
INT64 = 2**63


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds


def pipeline(event: type[Event] = Sale, event_time: str | None = "sale_ts") -> Pipeline:
    window = TumblingWindow("1 minute", by=[], measures={"sales": Count()}, to=[PostgresTable("sums")])
    return Pipeline(name="sales", source=KafkaTopic("s", event, event_time=event_time), outputs=[window])


DECODER = Decoder(pipeline())


def decode(*values: bytes | None, at_ms: int = T0 * 1000, decoder: Decoder = DECODER) -> Decoded:
    return decoder.decode([raw(Message(0, offset, at_ms, None, value)) for offset, value in enumerate(values)])


def facts(decoded: Decoded) -> list[dict[str, Any]]:
    """The events' fields by name."""
    return [msgspec.structs.asdict(event) for event in decoded.events]


def fields_of(seller: str, amount: int, at: int) -> dict[str, Any]:
    return {"seller_id": seller, "amount_usd": amount, "sale_ts": at}


def reason(value: bytes, **how: Any) -> str:
    """Why a message is a reject; it has to be one."""
    decoded = decode(value, **how)
    assert (decoded.events, decoded.event_times_us.tolist(), decoded.messages) == ([], [], [])
    return decoded.rejects[0].reason


def text(seller: str = '"ada"', amount: str = "1", at: str = str(T0), more: str = "") -> bytes:
    return f'{{"seller_id": {seller}, "amount_usd": {amount}, "sale_ts": {at}{more}}}'.encode()


# -- what is exact -----------------------------------------------------------------------------------------


def test_a_valid_message_is_an_event_at_its_time() -> None:
    decoded = decode(b'{"seller_id":"ada","amount_usd":12,"sale_ts":1795255201}')

    assert facts(decoded) == [{"seller_id": "ada", "amount_usd": 12, "sale_ts": 1_795_255_201}]
    assert isinstance(decoded.events[0], Sale)
    assert (decoded.event_times_us.tolist(), decoded.rejects) == ([1_795_255_201_000_000], [])
    assert [message.offset() for message in decoded.messages] == [0]


def test_a_chunk_keeps_its_order_and_skips_tombstones() -> None:
    decoded = decode(text(amount="1"), b"junk", None, text(amount="2"), b"", None)

    assert [event["amount_usd"] for event in facts(decoded)] == [1, 2]
    assert [(reject.message.offset, reject.message.value) for reject in decoded.rejects] == [(1, b"junk"), (4, b"")]
    assert [message.offset() for message in decoded.messages] == [0, 3]


def test_a_reject_is_the_message_as_it_came() -> None:
    message = Message(3, 7, -1, b"\x00\xff", b"\xfe{", (("a", None), ("a", b"\x00"), ("", b"")))

    assert DECODER.decode([raw(message)]).rejects == [Reject(message, "JSON is malformed: invalid character (byte 0)")]


@pytest.mark.parametrize(
    ("value", "event"),
    [
        (text(amount=str(INT64 - 1)), fields_of("ada", INT64 - 1, T0)),
        (text(amount=str(-INT64)), fields_of("ada", -INT64, T0)),
        (text(amount="-0"), fields_of("ada", 0, T0)),
        (text(at="-1"), fields_of("ada", 1, -1)),
        (text(at=str(FIRST_S)), fields_of("ada", 1, FIRST_S)),
        (text(seller='"\\ud83d\\ude00\\u2028\x7f"'), fields_of("😀\u2028\x7f", 1, T0)),
        (text(seller='"\\\\u0000"'), fields_of("\\u0000", 1, T0)),
        (text(seller='""'), fields_of("", 1, T0)),
        (text(more=', "amount_usd": 2'), fields_of("ada", 2, T0)),
        (text(more=', "other": [{"\\u0000": null}, 1e400, "[[["]'), fields_of("ada", 1, T0)),
        (b" \t\r\n" + text() + b"\n", fields_of("ada", 1, T0)),
        (text(more=', "big": "' + "x" * 1_000_000 + '"'), fields_of("ada", 1, T0)),
        (text(seller='"' + "x" * 1_000_000 + '"'), fields_of("x" * 1_000_000, 1, T0)),
    ],
    ids=[
        "largest", "smallest", "minus zero", "before 1970", "year 1", "escapes", "no NUL", "empty text",
        "duplicate key", "unknown field", "blanks", "1 MB beside", "1 MB inside",
    ],
)  # fmt: skip
def test_an_odd_but_valid_message_is_exact(value: bytes, event: dict[str, Any]) -> None:
    decoded = decode(value)

    assert decoded.rejects == []
    assert facts(decoded) == [event]
    assert decoded.event_times_us.tolist() == [event["sale_ts"] * 1_000_000]


# -- what is a reject --------------------------------------------------------------------------------------

NASTY: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "blanks": (b"  ", "truncated"),
    "not JSON": (b"hello", "malformed"),
    "cut off": (text()[:-1], "truncated"),
    "two documents": (text() + text(), "trailing"),
    "null": (b"null", "Expected `object`, got `null`"),
    "array": (b'["ada", 1, 2]', "Expected `object`, got `array`"),
    "number": (b"12", "Expected `object`, got `int`"),
    "missing field": (b'{"seller_id": "ada", "sale_ts": 1}', "missing required field `amount_usd`"),
    "case of a name": (b'{"SELLER_ID": "ada", "amount_usd": 1, "sale_ts": 1}', "missing required field `seller_id`"),
    "text for a number": (text(amount='"1"'), "Expected `int`, got `str` - at `$.amount_usd`"),
    "number for a text": (text(seller="1"), "Expected `str`, got `int` - at `$.seller_id`"),
    "null for a number": (text(amount="null"), "Expected `int`, got `null`"),
    "boolean for a number": (text(amount="true"), "Expected `int`, got `bool`"),
    "fraction": (text(amount="1.5"), "Expected `int`, got `float`"),
    "integral float": (text(amount="1.0"), "Expected `int`, got `float`"),
    "exponent": (text(amount="1e3"), "Expected `int`, got `float`"),
    "fractional epoch": (text(at="1795255200.5"), "got `float` - at `$.sale_ts`"),
    "NaN": (text(amount="NaN"), "malformed"),
    "Infinity": (text(amount="-Infinity"), "malformed"),
    "NaN in an unknown field": (text(more=', "x": NaN'), "malformed"),
    "leading zero": (text(amount="01"), "malformed"),
    "above 64 bits": (text(amount=str(INT64)), "`int` <= 9223372036854775807 - at `$.amount_usd`"),
    "below 64 bits": (text(amount=str(-INT64 - 1)), "`int` >= -9223372036854775808 - at `$.amount_usd`"),
    "5,000 digits": (text(amount="9" * 5000), "out of range"),
    "bad duplicate first": (b'{"amount_usd": "x", ' + text()[1:], "Expected `int`, got `str`"),
    "NUL in a text": (text(seller='"a\\u0000b"'), "NUL (U+0000)"),
    "raw NUL": (b"\0" + text(), "malformed"),
    "control character": (text(seller='"a\nb"'), "invalid"),
    "lone surrogate": (text(seller='"\\ud800"'), "surrogate"),
    "lone surrogate beside": (text(more=', "x": "\\udc00"'), "surrogate"),
    "invalid UTF-8": (text(seller='"X"').replace(b"X", b"\xff"), "utf-8"),
    "overlong UTF-8": (text(seller='"X"').replace(b"X", b"\xc0\x80"), "utf-8"),
    "UTF-16": (text().decode().encode("utf-16"), "malformed"),
    "byte order mark": (b"\xef\xbb\xbf" + text(), "malformed"),
    "before the year 1": (text(at=str(FIRST_S - 1)), f"{FIRST_S} - at `$.sale_ts`"),
    "after the year 9999": (text(at=str(LAST_S + 1)), f"{LAST_S} - at `$.sale_ts`"),
    "far future": (text(at=str(T0 + 3601)), "3601 s ahead of Kafka's timestamp, more than max_future (3600 s)"),
    "1,000 deep": (text(more=', "x": ' + "[" * 1000 + "]" * 1000), "nested more than 500 levels deep"),
    "100,000 deep": (b"[" * 100_000, "nested more than 500 levels deep"),
    "100,000 deep objects": (b'{"x":' * 100_000, "nested more than 500 levels deep"),
    "1 MB": (b"\xff" * 1_000_000, "malformed"),
}


@pytest.mark.parametrize("kind", NASTY)
def test_a_nasty_message_is_a_reject_that_says_why(kind: str) -> None:
    value, why = NASTY[kind]
    decoded = decode(value)

    assert decoded.events == []
    assert decoded.rejects[0].message.value == value
    assert why.lower() in decoded.rejects[0].reason.lower()


def test_nasty_messages_do_not_harm_their_neighbours() -> None:
    values = [value for value, _ in NASTY.values()]
    mixed = [each for value in values for each in (value, text())]

    decoded = decode(*mixed)

    assert facts(decoded) == [fields_of("ada", 1, T0)] * len(values)
    assert [reject.message.value for reject in decoded.rejects] == values


def test_an_event_may_be_max_future_ahead_to_the_second() -> None:
    assert decode(text(at=str(T0 + 3600))).rejects == []
    assert "3600 s ahead" in reason(text(at=str(T0 + 3600)), at_ms=T0 * 1000 - 1)


def test_without_an_event_time_kafkas_timestamp_counts() -> None:
    by_kafka = Decoder(pipeline(event_time=None))

    assert decode(text(at="-5"), at_ms=1_234, decoder=by_kafka).event_times_us.tolist() == [1_234_000]
    assert decode(text(), at_ms=0, decoder=by_kafka).event_times_us.tolist() == [0]
    assert decode(text(), at_ms=LAST_S * 1000, decoder=by_kafka).event_times_us.tolist() == [LAST_S * 1_000_000]


@pytest.mark.parametrize("at_ms", [-1, LAST_S * 1000 + 1, 2**62])
def test_a_timestamp_of_kafka_that_is_no_time_is_a_reject(at_ms: int) -> None:
    by_kafka = Decoder(pipeline(event_time=None))

    assert f"Kafka's timestamp {at_ms} ms" in reason(text(), at_ms=at_ms, decoder=by_kafka)


@pytest.mark.parametrize("at_ms", [LAST_S * 1000 + 1, 2**62])
def test_a_timestamp_of_kafka_that_no_column_can_have_is_a_reject_with_an_event_time_too(at_ms: int) -> None:
    assert f"Kafka's timestamp {at_ms} ms" in reason(text(), at_ms=at_ms)


def test_a_message_without_a_timestamp_has_its_event_time() -> None:
    """Old clients send none: it is -1."""
    assert decode(text(at="-4000"), at_ms=-1).event_times_us.tolist() == [-4_000_000_000]


# -- rules of the event type -------------------------------------------------------------------------------


class Checked(Event):
    """Has rules of its own."""

    amount: Annotated[int, msgspec.Meta(ge=0)]
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]


CHECKED = Decoder(pipeline(Checked, None))


def test_the_rules_of_a_type_are_the_reasons() -> None:
    assert reason(b'{"amount": -1, "code": "a"}', decoder=CHECKED) == "Expected `int` >= 0 - at `$.amount`"
    assert "matching regex" in reason(b'{"amount": 1, "code": "A"}', decoder=CHECKED)


@pytest.mark.parametrize("amount", [INT64, 2**70])
def test_an_integer_with_rules_of_its_own_is_bounded_to_64_bits_too(amount: int) -> None:
    assert "amount" in reason(b'{"amount": %d, "code": "a"}' % amount, decoder=CHECKED)


def test_the_largest_integer_with_rules_of_its_own_is_exact() -> None:
    decoded = decode(b'{"amount": %d, "code": "a"}' % (INT64 - 1), decoder=CHECKED)

    assert facts(decoded) == [{"amount": INT64 - 1, "code": "a"}]


# -- depth -------------------------------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    """A document of so many levels; the object itself is the first."""
    return text(more=', "x": ' + "[" * (levels - 1) + "]" * (levels - 1))


def under(frames: int, call: Callable[[], Decoded]) -> Decoded:
    """The result of a call with so many frames more on the stack."""
    return call() if not frames else under(frames - 1, call)


@pytest.mark.parametrize(("levels", "events"), [(MAX_DEPTH, 1), (MAX_DEPTH + 1, 0)])
def test_how_deep_a_message_may_be_does_not_depend_on_the_callers_stack(levels: int, events: int) -> None:
    room = sys.getrecursionlimit() - len(_stack()) - MAX_DEPTH - 20

    found = [under(frames, lambda: decode(deep(levels))) for frames in (0, 10, room)]

    assert room > 200
    assert [len(decoded.events) for decoded in found] == [events] * 3
    first, *others = [(decoded.events, decoded.rejects) for decoded in found]
    assert [first, first] == others


def _stack() -> list[object]:
    frame, found = sys._getframe(), list[object]()
    while frame.f_back:
        found.append(frame)
        frame = frame.f_back
    return found


@pytest.mark.parametrize("inside", ["[" * 600, "]" * 600, '\\"' + "[" * 600, "\\\\" + "{" * 600])
def test_brackets_in_a_text_are_not_levels(inside: str) -> None:
    assert decode(text(seller=f'"{inside}"')).rejects == []


# -- laws --------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
near_misses = st.fixed_dictionaries(
    {
        "seller_id": st.text(max_size=5) | json_values,
        "amount_usd": st.integers(-(2**64), 2**64) | json_values,
        "sale_ts": st.integers(FIRST_S - 9, LAST_S + 9) | st.just(T0) | json_values,
    },
    optional={"other": json_values},
).map(lambda document: json.dumps(document).encode())
any_value = st.binary(max_size=60) | near_misses | st.sampled_from([value for value, _ in NASTY.values()])


@settings(max_examples=300)
@given(any_value, st.integers(-1, LAST_S * 1000 + 1))
@example(text(), T0 * 1000)
def test_any_bytes_are_an_event_with_their_facts_or_a_reject_with_every_byte(value: bytes, at_ms: int) -> None:
    decoded = decode(value, at_ms=at_ms)

    assert len(decoded.events) + len(decoded.rejects) == 1
    if decoded.rejects:
        assert decoded.rejects[0].message == Message(0, 0, at_ms, None, value)
        return
    sent = json.loads(value)
    assert facts(decoded) == [{name: sent[name] for name in Sale.__struct_fields__}]
    assert decoded.event_times_us.tolist() == [int(sent["sale_ts"]) * 1_000_000]


@given(st.lists(any_value | st.none(), max_size=6), st.data())
def test_a_messages_fate_does_not_depend_on_its_chunk(values: list[bytes | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    messages = [raw(Message(0, offset, T0 * 1000, None, value)) for offset, value in enumerate(values)]

    whole, parts = DECODER.decode(messages), [DECODER.decode(messages[:cut]), DECODER.decode(messages[cut:])]

    assert whole.events == parts[0].events + parts[1].events
    assert whole.event_times_us.tolist() == [time for part in parts for time in part.event_times_us]
    assert whole.rejects == parts[0].rejects + parts[1].rejects


@given(any_value)
def test_a_reason_fits_into_a_header_and_a_column(value: bytes) -> None:
    for reject in decode(value).rejects:
        assert 0 < len(reject.reason) <= MAX_REASON_CHARACTERS
        assert "\0" not in reject.reason
        assert reject.reason.encode("utf-8")
