"""Fields of an event: exactly what of JSON each type takes, and the values that it becomes."""

import enum
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from microbatch import (
    Count,
    EpochMillis,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    TumblingWindow,
    testing,
)
from microbatch.columns import column as column_of
from microbatch.decoding import Decoder, Message, whole
from microbatch.event import FIRST_S, LAST_S
from microbatch.fields import fields
from microbatch.testing import raw

INT64 = 2**63
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Color(enum.Enum):
    """Texts."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """Integers."""

    LOW = 1
    HIGH = 2


class Inner(Event):
    """A struct in an event."""

    x: int
    at: EpochSeconds
    price: Annotated[Decimal, Scale(2)] | None = None


def event(kind: Any, **more: Any) -> type[Event]:
    """An event with one field of that type."""
    return cast("type[Event]", msgspec.defstruct("Made", [("field", kind, *more.values())], bases=(Event,)))


def outcome(kind: Any, text: str, output: Any, **more: Any) -> testing.Outcome:
    """What becomes of a field with that JSON as value."""
    made = Pipeline(name="p", source=KafkaTopic("s", event(kind, **more)), outputs=[output])
    return testing.run(made, [f'{{"field": {text}}}' if text else "{}"], at=AT)


def taken(kind: Any, text: str, column: str | None = None, **more: Any) -> Any:
    """The value of the field, or of an expression over it; it has to be taken."""
    columns = {"field": column} if column else None
    found = outcome(kind, text, Stream(columns=columns, to=[KafkaTopic("o")]), **more)
    assert found.rejects == []
    return found.rows[0]["field"]


def reason(kind: Any, text: str, **more: Any) -> str:
    """Why it is refused; it has to be."""
    window = TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[KafkaTopic("o")])
    found = outcome(kind, text, window, **more)
    assert (found.results, len(found.rejects)) == ({"o": []}, 1)
    return found.rejects[0].reason


def seconds(at_s: int) -> datetime:
    return EPOCH + timedelta(seconds=at_s)


OUTPUTS: list[Any] = [Stream(to=[PostgresTable("rows")])]
MONEY = Annotated[Decimal, Scale(2)]

# Type, JSON, value of the column.
TAKEN: list[tuple[Any, str, Any]] = [
    (str, '""', ""),
    (str, '"\\\\u0000"', "\\u0000"),
    (str, '"\\ud83d\\ude00"', "😀"),
    (int, str(INT64 - 1), INT64 - 1),
    (int, str(-INT64), -INT64),
    (int, "-0", 0),
    (Annotated[int, Meta(ge=0)], str(INT64 - 1), INT64 - 1),
    (Annotated[int, Meta(gt=0, le=9)], "9", 9),
    (Annotated[int, Meta(multiple_of=3)], "-6", -6),
    (Annotated[str, Meta(pattern="^[a-z]+$", min_length=2, max_length=3)], '"abc"', "abc"),
    (bool, "true", True),
    (bool, "false", False),
    (MONEY, "1", Decimal("1.00")),
    (MONEY, "1.5", Decimal("1.50")),
    (MONEY, '"1.50"', Decimal("1.50")),
    (MONEY, "1.500000000000000000000000000000000000000000000000000", Decimal("1.50")),
    (MONEY, "1e2", Decimal(100)),
    (MONEY, "125e-2", Decimal("1.25")),
    (MONEY, "0e50", Decimal(0)),
    (MONEY, "0e-50", Decimal(0)),
    (MONEY, "0e9999999999", Decimal(0)),
    (MONEY, "-0", Decimal(0)),
    (MONEY, "999999999999999.99", Decimal("999999999999999.99")),
    (MONEY, "-999999999999999.9900000000000000000000", Decimal("-999999999999999.99")),
    (Annotated[Decimal, Scale(0)], "12.0", Decimal(12)),
    (Annotated[Decimal, Scale(12)], "999999999999999.999999999999", Decimal("999999999999999.999999999999")),
    (EpochSeconds, str(FIRST_S), seconds(FIRST_S)),
    (EpochSeconds, str(LAST_S), seconds(LAST_S)),
    (EpochSeconds, '"-1"', seconds(-1)),
    (EpochSeconds, '"0001"', seconds(1)),
    (EpochMillis, str(FIRST_S * 1000), seconds(FIRST_S)),
    (EpochMillis, str(LAST_S * 1000 + 999), seconds(LAST_S) + timedelta(milliseconds=999)),
    (EpochMillis, '"1795255200123"', AT + timedelta(milliseconds=123)),
    (datetime, '"2026-11-21T10:00:00Z"', AT),
    (datetime, '"2026-11-21T12:30:00.000001+02:30"', AT + timedelta(microseconds=1)),
    (datetime, '"0001-01-08T00:00:00Z"', seconds(FIRST_S)),
    (datetime, '"0001-01-07T23:00:00-01:00"', seconds(FIRST_S)),
    (datetime, '"9999-12-23T23:59:59.999999Z"', seconds(LAST_S) + timedelta(microseconds=999_999)),
    (Literal["a", "b"], '"b"', "b"),
    (Literal[1, -2], "-2", -2),
    (Color, '"blue"', "blue"),
    (Level, "2", 2),
    (int | None, "null", None),
    (MONEY | None, "null", None),
    (EpochSeconds | None, '"1"', seconds(1)),
    (Color | None, "null", None),
]  # fmt: skip

# Type, JSON, part of the reason.
REFUSED: list[tuple[Any, str, str]] = [
    (str, "1", "Expected `str`, got `int` - at `$.field`"),
    (str, "null", "got `null`"),
    (str, '"a\\u0000b"', "contains NUL (U+0000), which PostgreSQL's text cannot hold - at `$.field`"),
    (int, str(INT64), "<= 9223372036854775807"),
    (int, str(-INT64 - 1), ">= -9223372036854775808"),
    (int, "1.0", "got `float`"),
    (int, "1e3", "got `float`"),
    (int, "true", "got `bool`"),
    (int, '"1"', "got `str`"),
    (Annotated[int, Meta(ge=0)], "-1", ">= 0"),
    (Annotated[int, Meta(ge=0)], str(INT64), "<= 9223372036854775807"),
    (Annotated[int, Meta(lt=5)], str(-INT64 - 1), ">= -9223372036854775808"),
    (Annotated[int, Meta(multiple_of=3)], "4", "multiple of 3"),
    (Annotated[str, Meta(pattern="^[a-z]+$")], '"A"', "matching regex"),
    (Annotated[str, Meta(max_length=3)], '"abcd"', "length <= 3"),
    (bool, "1", "got `int`"),
    (bool, '"true"', "got `str`"),
    (MONEY, "1.505", "at most 2 digits after the point - at `$.field`"),
    (MONEY, '"0.001"', "at most 2 digits after the point"),
    (MONEY, "1e15", "at most 15 digits before the point"),
    (MONEY, "-1000000000000000", "at most 15 digits before the point"),
    (MONEY, '"NaN"', "at most 15 digits before the point"),
    (MONEY, '"sNaN"', "at most 15 digits before the point"),
    (MONEY, '"-Infinity"', "at most 15 digits before the point"),
    (MONEY, '"abc"', "Invalid decimal"),
    (MONEY, "1e-2000000", "at most 2 digits after the point"),
    (MONEY, "1e99999999999999999999", "Invalid decimal"),
    (MONEY, "9" * 400, "at most 15 digits before the point"),
    (MONEY, "true", "got `bool`"),
    (EpochSeconds, str(FIRST_S - 1), "-62134992000"),
    (EpochSeconds, str(LAST_S + 1), "253401609599"),
    (EpochSeconds, f'"{FIRST_S - 1}"', f"Expected a time from {FIRST_S} to {LAST_S} - at `$.field`"),
    (EpochSeconds, f'"{LAST_S + 1}"', f"Expected a time from {FIRST_S} to {LAST_S}"),
    (EpochSeconds, "1.5", "got `float`"),
    (EpochSeconds, '"1.5"', "matching regex"),
    (EpochSeconds, '"1\\n"', "matching regex"),
    (EpochSeconds, '"+1"', "matching regex"),
    (EpochSeconds, '"\u0661"', "matching regex"),
    (EpochSeconds, '""', "matching regex"),
    (EpochSeconds, "null", "got `null`"),
    (EpochMillis, str(LAST_S * 1000 + 1000), "253401609599999"),
    (datetime, '"2026-11-21T10:00:00"', "timezone"),
    (datetime, '"2026-11-21"', "RFC3339"),
    (datetime, "1795255200", "got `int`"),
    (datetime, '"0001-01-08T00:00:00+01:00"', "from 0001-01-08 to 9999-12-23 UTC - at `$.field`"),
    (datetime, '"9999-12-23T23:59:59-01:00"', "from 0001-01-08 to 9999-12-23 UTC"),
    (datetime, '"9999-12-31T23:59:59-23:59"', "from 0001-01-08 to 9999-12-23 UTC"),
    (Literal["a", "b"], '"c"', "Invalid enum value 'c'"),
    (Literal[1, -2], "2", "Invalid enum value 2"),
    (Color, '"RED"', "Invalid enum value 'RED'"),
    (Level, "3", "Invalid enum value 3"),
    (int | None, '"x"', "Expected `int | null`"),
    (int | None, "", "missing required field `field`"),
    (int, "", "missing required field `field`"),
]


def shown(case: Any) -> str:
    return case if isinstance(case, str) else ""


@pytest.mark.parametrize(("kind", "text", "value"), TAKEN, ids=shown)
def test_a_value_is_taken_exactly(kind: Any, text: str, value: Any) -> None:
    found = taken(kind, text)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("kind", "text", "why"), REFUSED, ids=shown)
def test_a_value_that_the_type_does_not_have_is_refused(kind: Any, text: str, why: str) -> None:
    assert why in reason(kind, text)


def test_a_field_with_the_default_none_may_be_missing() -> None:
    assert taken(int | None, "", default=None) is None
    assert taken(MONEY | None, "1.5", default=None) == Decimal("1.50")


# -- nested ----------------------------------------------------------------------------------------------------


def test_a_nested_event_has_the_rules_of_its_fields() -> None:
    assert taken(Inner, '{"x": 1, "at": "5", "price": 2.5}', "field.x") == 1
    assert taken(Inner, '{"x": 1, "at": "5", "price": 2.5}', "field.at") == seconds(5)
    assert taken(Inner, '{"x": 1, "at": 5, "price": 0e50}', "field.price") == Decimal(0)
    assert taken(Inner, '{"x": 1, "at": 5}', "field.price") is None
    assert reason(Inner, '{"x": 1, "at": 5, "price": 0.001}') == (
        "Expected a decimal of at most 2 digits after the point - at `$.price` - at `$.field`"
    )
    assert "`$.field.x`" in reason(Inner, f'{{"x": {INT64}, "at": 5}}')
    assert "Expected a time" in reason(Inner, f'{{"x": 1, "at": "{LAST_S + 1}"}}')
    assert "got `null`" in reason(Inner, "null")
    assert taken(Inner | None, "null", "field.x") is None


def test_a_list_has_the_rules_of_its_items() -> None:
    assert taken(list[int], "[]", "len(field)") == 0
    assert taken(list[int], "[3, 4]", "list_sum(field)") == Decimal(7)
    assert taken(list[int | None], "[3, null]", "field[2]") is None
    assert taken(list[MONEY], "[0e50, 1.5]", "field[2]") == Decimal("1.50")
    assert taken(list[Color], '["red", "blue"]', "field[2]") == "blue"
    assert taken(list[list[EpochSeconds]], '[[], ["5"]]', "field[2][1]") == seconds(5)
    assert taken(list[Inner], '[{"x": 1, "at": 2}]', "field[1].at") == seconds(2)
    assert taken(list[Inner | None] | None, "null", "len(field)") is None
    assert "got `null`" in reason(list[int], "[null]")
    assert "<= 9223372036854775807" in reason(list[int], f"[1, {INT64}]")
    assert "2 digits after the point" in reason(list[MONEY], "[1, 0.001]")
    assert "NUL" in reason(list[str], '["a", "\\u0000"]')
    assert "2 digits after the point" in reason(list[Inner], '[{"x": 1, "at": 2, "price": 0.001}]')


def test_a_nul_is_refused_only_where_a_declared_field_has_it() -> None:
    class Deep(Event):
        name: str

    class Outer(Event):
        who: Deep

    made = Pipeline(
        name="p", source=KafkaTopic("s", Outer), outputs=[Stream(columns={"n": "who.name"}, to=[KafkaTopic("o")])]
    )
    beside, inside = '{"who": {"name": "a"}, "x": "\\u0000"}', '{"who": {"name": "\\u0000"}}'

    found = testing.run(made, [beside, inside], at=AT)

    assert found.rows == [{"n": "a"}]
    assert found.rejects[0].reason.endswith("cannot hold - at `$.who`")


def test_a_name_in_json_may_differ() -> None:
    class Renamed(Event):
        at: EpochSeconds = msgspec.field(name="time stamp")
        type_: str | None = msgspec.field(name="type", default=None)

    made = Pipeline(name="p", source=KafkaTopic("s", Renamed), outputs=[Stream(to=[KafkaTopic("o")])])

    found = testing.run(made, [{"time stamp": 1, "type": "x"}, {"time stamp": 2}, {"at": 1}], at=AT)

    assert found.rows == [{"at": seconds(1), "type_": "x"}, {"at": seconds(2), "type_": None}]
    assert found.rejects[0].reason == "Object missing required field `time stamp`"


def test_what_an_event_does_after_its_init_goes_on_to_count() -> None:
    class Even(Event):
        x: int

        def __post_init__(self) -> None:
            if self.x % 2:
                raise ValueError("x is odd")

    made = Pipeline(name="p", source=KafkaTopic("s", Even), outputs=[Stream(to=[KafkaTopic("o")])])

    found = testing.run(made, [{"x": 2}, {"x": 3}], at=AT)

    assert found.rows == [{"x": 2}]
    assert "x is odd" in found.rejects[0].reason


# -- the declaration -------------------------------------------------------------------------------------------


class Reading(Event):
    """Has a field of each kind."""

    sensor: str
    value: Annotated[int, Meta(ge=0, description="words")]
    on: bool
    price: MONEY
    at: EpochSeconds
    seen: EpochMillis
    told: datetime
    kind: Literal["a", "b"]
    level: Level | None
    inner: Inner
    items: list[int | None]
    note: str | None = msgspec.field(name="re-mark", default=None)


def test_fields_are_said_as_plain_values_in_their_order() -> None:
    assert [(name, field.plain) for name, field in fields(Reading).items()] == [
        ("sensor", {"kind": "str"}),
        ("value", {"kind": "int", "constraints": {"ge": 0}}),
        ("on", {"kind": "bool"}),
        ("price", {"kind": "decimal", "scale": 2}),
        ("at", {"kind": "epoch_seconds"}),
        ("seen", {"kind": "epoch_millis"}),
        ("told", {"kind": "iso_time"}),
        ("kind", {"kind": "enum", "values": ["a", "b"]}),
        ("level", {"kind": "enum", "values": [1, 2], "optional": True}),
        (
            "inner",
            {
                "kind": "struct",
                "fields": {
                    "x": {"kind": "int"},
                    "at": {"kind": "epoch_seconds"},
                    "price": {"kind": "decimal", "scale": 2, "optional": True, "missing": True},
                },
            },
        ),
        ("items", {"kind": "list", "item": {"kind": "int", "optional": True}}),
        ("note", {"kind": "str", "optional": True, "missing": True, "name": "re-mark"}),
    ]


def test_the_columns_have_exact_types() -> None:
    time = "TIMESTAMP WITH TIME ZONE"

    assert [field.type.sql for field in fields(Reading).values()] == [
        *("VARCHAR", "BIGINT", "BOOLEAN", "DECIMAL(17,2)", time, time, time, "VARCHAR", "BIGINT"),
        f'STRUCT("x" BIGINT, "at" {time}, "price" DECIMAL(17,2))',
        *("BIGINT[]", "VARCHAR"),
    ]


def test_inherited_fields_come_first() -> None:
    class Louder(Inner):
        volume: int | None = None

    assert list(fields(Louder)) == ["x", "at", "price", "volume"]


def test_the_bounds_of_time_leave_a_week_to_the_ends_of_the_calendar() -> None:
    assert (seconds(FIRST_S), seconds(LAST_S)) == (
        datetime(1, 1, 8, tzinfo=UTC),
        datetime(9999, 12, 23, 23, 59, 59, tzinfo=UTC),
    )


# -- laws ------------------------------------------------------------------------------------------------------

# Of each kind: the type, valid values as JSON says them, and what they are as a column.
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any], Any]] = {
    "str": (str, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), lambda v: v),
    "int": (int, st.integers(-INT64, INT64 - 1), lambda v: v),
    "bool": (bool, st.booleans(), lambda v: v),
    "decimal": (MONEY, st.decimals(-(10**15) + 1, 10**15 - 1, places=2).map(str), Decimal),
    "epoch_seconds": (EpochSeconds, st.integers(FIRST_S, LAST_S), seconds),
    "epoch text": (EpochSeconds, st.integers(FIRST_S, LAST_S).map(str), lambda v: seconds(int(v))),
    "epoch_millis": (
        EpochMillis,
        st.integers(FIRST_S * 1000, LAST_S * 1000),
        lambda v: EPOCH + timedelta(milliseconds=v),
    ),
    "iso_time": (
        datetime,
        st.datetimes(datetime(1, 1, 9), datetime(9999, 12, 22), timezones=st.timezones()).map(  # noqa: DTZ001 - see timezones
            lambda at: at.replace(tzinfo=UTC).isoformat()
        ),
        datetime.fromisoformat,
    ),
    "enum": (Color, st.sampled_from(["red", "blue"]), lambda v: v),
}
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["NaN", "1e400", "-Infinity", "1_0", "0e99", "\0", "2026-13-01T00:00:00Z", "1" * 30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


DECODERS = {
    name: Decoder(Pipeline(name="p", source=KafkaTopic("s", event(kind | None, default=None)), outputs=OUTPUTS))
    for name, (kind, *_) in KINDS.items()
}


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_any_json_becomes_its_own_value_or_a_reject_with_every_byte(name: str, data: st.DataObject) -> None:
    kind, valid, column = KINDS[name]
    good = data.draw(st.lists(valid, max_size=3))
    bad = data.draw(st.lists(junk, max_size=3))
    messages = [
        Message(0, at, 0, None, json.dumps({"field": value}).encode()) for at, value in enumerate([*good, *bad])
    ]

    decoded = DECODERS[name].decode([*map(raw, messages)])

    rejected = [reject.message.offset for reject in decoded.rejects]
    assert [reject.message for reject in decoded.rejects] == [messages[at] for at in rejected]
    assert [message for message in messages if message.offset not in rejected] == [*map(whole, decoded.messages)]
    assert min(rejected, default=len(good)) >= len(good)
    kept = [value for at, value in enumerate(bad, len(good)) if at not in rejected]
    field = fields(event(kind | None, default=None))["field"]
    assert column_of(field, decoded.events).to_pylist() == [
        *(column(value) for value in good),
        *(None if v is None else _exact(name, v) for v in kept),
    ]


def _exact(name: str, value: Any) -> Any:
    """What junk that happens to be valid has to be."""
    if name in ("epoch_seconds", "epoch text"):
        return seconds(int(value))
    if name == "epoch_millis":
        return EPOCH + timedelta(milliseconds=int(value))
    return Decimal(str(value)) if name == "decimal" else value
