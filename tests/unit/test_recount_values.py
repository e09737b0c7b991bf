"""The check's own rules of declared types, against what msgspec and the documented rules really accept."""

import enum
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recount.documents import members
from recount.errors import InvalidError
from recount.fields import fields_of
from recount.values import struct

FIRST = datetime(1, 1, 8, tzinfo=UTC)
LAST = datetime(9999, 12, 24, tzinfo=UTC)


class Shade(enum.Enum):
    LIGHT = "light"
    DARK = "dark"


class Inner(msgspec.Struct):
    text: str
    number: int | None = None


DECLARED: dict[str, tuple[Any, dict[str, Any]]] = {
    "bool": (bool, {"kind": "bool"}),
    "time": (datetime, {"kind": "iso_time"}),
    "decimal": (Decimal, {"kind": "decimal", "scale": 2}),
    "letters": (Literal["a", "é"], {"kind": "enum", "values": ["a", "é"]}),
    "numbers": (Literal[1, -2], {"kind": "enum", "values": [1, -2]}),
    "shade": (Shade, {"kind": "enum", "values": ["light", "dark"]}),
    "between": (
        Annotated[int, msgspec.Meta(ge=-5, lt=100, multiple_of=5)],
        {"kind": "int", "constraints": {"ge": -5, "lt": 100, "multiple_of": 5}},
    ),
    "above": (Annotated[int, msgspec.Meta(gt=0, le=9)], {"kind": "int", "constraints": {"gt": 0, "le": 9}}),
    "word": (
        Annotated[str, msgspec.Meta(pattern="^[a-zé😀]+$", min_length=2, max_length=3)],
        {"kind": "str", "constraints": {"pattern": "^[a-zé😀]+$", "min_length": 2, "max_length": 3}},
    ),
    "inner": (
        Inner,
        {
            "kind": "struct",
            "fields": {"text": {"kind": "str"}, "number": {"kind": "int", "optional": True, "missing": True}},
        },
    ),
    "texts": (list[str | None], {"kind": "list", "item": {"kind": "str", "optional": True}}),
    "times": (list[datetime], {"kind": "list", "item": {"kind": "iso_time"}}),
    "maybe": (bool | None, {"kind": "bool", "optional": True}),
}


def by_msgspec(name: str, document: bytes) -> Any:
    """The value of the field `f`, after the rules that are ours: NUL, bounds of times and decimals."""
    declared = msgspec.defstruct("Event", [("f", DECLARED[name][0])])
    try:
        found = msgspec.json.decode(document, type=declared).f  # type: ignore[attr-defined]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "reject"
    return "reject" if _is_refused(found) else _plain(found)


def _is_refused(found: Any) -> bool:
    if isinstance(found, list):
        return any(_is_refused(each) for each in found)
    if isinstance(found, Inner):
        return "\0" in found.text or not -(2**63) <= (found.number or 0) < 2**63
    if isinstance(found, Decimal):
        return not _fits(found)
    if isinstance(found, datetime):
        try:
            return found.tzinfo is None or not FIRST <= found.astimezone(UTC) < LAST
        except OverflowError:
            return True
    return isinstance(found, str) and "\0" in found


def _fits(found: Decimal) -> bool:
    """Finite, below 10^15, and at most two digits after the point that are no trailing zeros; by its plain text."""
    if not found.is_finite() or found.adjusted() > 30 or (found and found.adjusted() < -30):
        return found.is_finite() and not found
    digits = re.fullmatch(r"-?(\d+)(?:\.(\d*?)0*)?", f"{found:f}")
    return digits is not None and len(digits[1].lstrip("0")) <= 15 and len(digits[2] or "") <= 2


def _plain(found: Any) -> Any:
    if isinstance(found, list):
        return [_plain(each) for each in found]
    if isinstance(found, Inner):
        return msgspec.structs.asdict(found)
    return found.value if isinstance(found, Shade) else found


def by_recount(name: str, document: bytes) -> Any:
    try:
        return struct(fields_of({"f": DECLARED[name][1]}, ""), members(document))["f"]
    except InvalidError:
        return "reject"


RAW = [
    *("true", "false", "null", "0", "1", "-2", "5", "95", "100", "-5", "-10", "7", "9", "1.0", "1e0", "-0", "01"),
    *('"true"', '"a"', '"é"', '"\\u00e9"', '"A"', '"light"', '"LIGHT"', '"dark\\u0000"', '"1"', '""', '" "'),
    *(
        '"ab"',
        '"éé"',
        '"😀😀"',
        '"\\ud83d\\ude00\\ud83d\\ude00"',
        '"abc\\n"',
        '"ab\\n"',
        '"abcd"',
        '"AB"',
        '"a\\u0000"',
    ),
    *("[]", "{}", '{"text":"x"}', '{"text":"x","number":1}', '{"text":"x","number":null}', '{"text":null}'),
    *('{"text":"x\\u0000"}', '{"text":1,"text":"x"}', '{"text":"x","text":1}', '{"text":"x","number":1.5}'),
    *('{"text":"x","other":[1,{"text":2}]}', '{"text":"\xff"}', '{"text":"x","\xff":1}', '["x"]', '["text","x"]'),
    *('["a",null,"b"]', '["a",1]', '["a\\u0000"]', '[["a"]]', "[null]", '["a","\xff"]', '["2026-01-01T00:00:00Z"]'),
    '["2026-01-01T00:00:00Z","x"]',
    '{"text":"x","number":9223372036854775808}',
]
DECIMALS = [
    *("1.5", "1.50", "1.500", "1.505", "1e2", "1E-2", "1e-3", "0e-9", "0.000", "-0", "-0.00", "123456789012345.67"),
    *("999999999999999.99", "1000000000000000", "999999999999999.991", "1e14", "1e15", "-1e15", "1e400", "1e-400"),
    *("1e999999999999999999999", "0e999999999999999999999", "1e-99999999", "0." + "0" * 300, "1" + "0" * 300),
]
DECIMALS += [f'"{text}"' for text in DECIMALS]
DECIMALS += [
    '"NaN"',
    '"sNaN"',
    '"inf"',
    '"-Infinity"',
    '" 1"',
    '"1 "',
    '"1_0"',
    '"1__0"',
    '"\\u0661"',
    '"1,5"',
    '"0x1"',
]
DECIMALS += ['"1\\u0000"', '"+1"', '"1."', '".5"', '"."', '"1e"', '"\\u00a01\\n"', '"\xff"', '"--1"', '"1e+2"']
TIMES = [
    *("2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01_00:00:00Z"),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00+0200", "2026-01-01T00:00:00+02"),
    *("2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+23:59", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00Z"),
    *("2026-01-01T00:00:60Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z"),
    *("2026-01-01T00:00:00.1234565Z", "2026-01-01T00:00:00.1234564999Z", "2026-12-31T23:59:59.9999995Z"),
    *("9999-12-23T23:59:59.9999994Z", "9999-12-23T23:59:59.9999995Z", "9999-12-24T00:00:00Z", "0000-01-01T00:00:00Z"),
    *("9999-12-24T00:30:00+01:00", "9999-12-23T23:30:00-01:00", "0001-01-08T00:00:00Z", "0001-01-08T00:00:00+01:00"),
    *(
        "2026-02-29T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-1-01T00:00:00Z",
    ),
    *(" 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "20260101T000000Z", "2026-01-01", "2026-01-01T00:00:00+02:60"),
    *("2026-01-01T00:00:00\\u005a", "\\u06626-01-01T00:00:00Z", "2026-W01-1T00:00:00Z", "2026-01-01T00:00:00Z\\n", ""),
    *("9999-12-31T23:59:59.9999995Z", "0001-01-01T00:00:00.0000004+00:01", "2026-1-01T00:00:00Z"),
    "2026-01-01T00:00:00+2:00",
]
RAW += DECIMALS + [f'"{text}"' for text in TIMES]


def document(text: str) -> bytes:
    return b'{"f":' + (text.encode() if "\xff" not in text else text.encode("latin-1")) + b"}"


@pytest.mark.parametrize("name", DECLARED)
def test_a_value_is_judged_as_msgspec_and_our_rules_judge_it(name: str) -> None:
    for text in RAW:
        nasty = document(text)
        assert by_recount(name, nasty) == by_msgspec(name, nasty), text


@given(
    st.sampled_from(sorted(DECLARED)),
    st.one_of(st.text("0123456789-+:.TtZz eE_", max_size=30), st.text(max_size=6), st.datetimes().map(str)).map(
        json.dumps
    )
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(str),
)
def test_generated_values_are_judged_as_msgspec_and_our_rules_judge_them(name: str, text: str) -> None:
    nasty = document(text)

    assert by_recount(name, nasty) == by_msgspec(name, nasty)


@given(
    st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),  # noqa: DTZ001 - the texts are generated
    st.text("0123456789", min_size=1, max_size=12),
    st.sampled_from(["Z", "z", "+00:00", "-23:59", "+2359", "+05:30", "-0001", "+24:00", ""]),
)
def test_generated_times_are_what_msgspec_makes_of_them(moment: datetime, fraction: str, offset: str) -> None:
    nasty = document(f'"{moment.replace(microsecond=0).isoformat()}.{fraction}{offset}"')

    assert by_recount("time", nasty) == by_msgspec("time", nasty)


EPOCHS = ["1763700000", "0", "-1", '"1763700000"', '"-1"', '"000000000000001"']
NO_EPOCHS = [
    "1.0",
    "1e3",
    "null",
    "true",
    '"1.0"',
    '"+1"',
    '"1763700000\\n"',
    '" 1"',
    '""',
    '"1e3"',
    '"-"',
    '"\\u0661"',
]
NO_EPOCHS += ['"0000000000000001"', '"1\\u0000"', '"2026-01-01T00:00:00Z"', "[1]", "true"]


@pytest.mark.parametrize("kind", ["epoch_seconds", "epoch_millis"])
def test_an_epoch_is_a_whole_number_or_a_string_of_one(kind: str) -> None:
    fields = fields_of({"f": {"kind": kind}}, "")

    for text in EPOCHS:
        assert isinstance(struct(fields, members(document(text)))["f"], datetime), text
    for text in NO_EPOCHS:
        with pytest.raises(InvalidError):
            struct(fields, members(document(text)))


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [("epoch_seconds", -62_134_992_000, 253_401_609_599), ("epoch_millis", -62_134_992_000_000, 253_401_609_599_999)],
)
def test_epochs_are_inside_the_calendar(kind: str, first: int, last: int) -> None:
    fields = fields_of({"f": {"kind": kind}}, "")

    assert struct(fields, members(document(str(first))))["f"] == FIRST
    assert struct(fields, members(document(f'"{last}"')))["f"] > datetime(9999, 12, 23, 23, 59, 58, tzinfo=UTC)
    for beyond in (first - 1, last + 1, 10**15, 2**63, -(2**70)):
        with pytest.raises(InvalidError):
            struct(fields, members(document(str(beyond))))


def test_json_names_missing_and_null_are_told_apart() -> None:
    fields = fields_of(
        {
            "a": {"kind": "int", "name": "a-b"},
            "b": {"kind": "int", "optional": True},
            "c": {"kind": "int", "optional": True, "missing": True},
        },
        "",
    )

    assert struct(fields, members(b'{"a-b":1,"b":null,"a":"unknown"}')) == {"a": 1, "b": None, "c": None}
    for bad in (b'{"a":1,"b":null}', b'{"a-b":1}', b'{"a-b":null,"b":1}', b'{"a-b":1,"b":1,"c":"x","c":1}'):
        with pytest.raises(InvalidError):
            struct(fields, members(bad))


def test_a_decimal_has_all_digits_of_its_scale() -> None:
    found = struct(fields_of({"f": {"kind": "decimal", "scale": 12}}, ""), members(b'{"f":999999999999999.5}'))["f"]

    assert str(found) == "999999999999999.500000000000"
