"""The check's own rule of what a valid message is, against what msgspec really accepts."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recount.definition import Definition, parse
from recount.documents import MAX_DEPTH, members
from recount.errors import InvalidError
from recount.events import judge

INT64 = msgspec.Meta(ge=-(2**63), le=2**63 - 1)


class Sale(msgspec.Struct):
    seller_id: str
    amount_usd: Annotated[int, INT64]
    sale_ts: Annotated[int, INT64]
    note: str | None = None


MSGSPEC = msgspec.json.Decoder(Sale)
PLAIN: dict[str, Any] = {
    "source": {
        "topic": "sales-usd",
        "event": {
            "seller_id": {"kind": "str"},
            "amount_usd": {"kind": "int"},
            "sale_ts": {"kind": "int"},
            "note": {"kind": "str", "optional": True, "missing": True},
        },
        "event_time": None,
    },
    "name": "sales",
    "max_future_s": 3600.0,
    "allowed_lateness_s": None,
    "dead_letters": "sales-usd-dlq",
    "transform": None,
    "outputs": [],
}
SALES: Definition = parse(PLAIN)
NOW_MS = 1_763_700_000_000


def by_msgspec(document: bytes) -> dict[str, Any] | None:
    """The values of a valid document; NUL is a rule of ours, not of msgspec's."""
    try:
        found = msgspec.structs.asdict(MSGSPEC.decode(document))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if "\0" in found["seller_id"] or "\0" in (found["note"] or "") else found


def by_recount(document: bytes) -> dict[str, Any] | None:
    try:
        return dict(judge(SALES, document, NOW_MS).values)
    except InvalidError:
        return None


def document(**raw: str) -> bytes:
    """A document whose fields have these raw JSON texts."""
    fields = {"seller_id": '"a"', "amount_usd": "12", "sale_ts": "1763700000"} | raw
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode("latin-1")


NUMBERS = [
    *("0", "-0", "-1", "1.0", "1e3", "1E0", "-0.0", "0e5", "1e400"),
    *("1e99999999999", "01", "00", "-01", "+1", "1.", ".5", "-.5", "1e"),
    *("1e+", "0x10", "1_000", "-", "--", "1-1", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *(
        "-9223372036854775809",
        "18446744073709551616",
        "253402214399",
        "253402214400",
        "-62135596800",
        "-62135596801",
        "9007199254740993.0",
        "true",
        "false",
    ),
    *("null", "tru", "nulll", "NaN", "Infinity", "-Infinity", "nan", "[]", "{}"),
    *("[1,]", "{,}", "[,]", "[1", "2]", "{1:2}", "'a'", '"5"'),
]
NUMBERS += ["1" * 4300, "1" * 4301, "-" + "1" * 5000, "1." + "0" * 5000, ""]

STRINGS = [
    *('"\\u0000"', '"\x00"', '"a\nb"', '"\t"', '"\x1f"', '"\x7f"', '""', '"', '"\\"', '"\\/"', '"\\\'"', '"\\x41"'),
    *('"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"', '"\\ud800x"', '"\\ud800\\u0041"'),
    *('"\\ud83d\\ud83d"', '"\\ud83d\\ud83d\\ude00"', '"\\ud800\\n"', '"\\\\ud800"', '"\\\\\\ud800"'),
    *('"\\u12"', '"\\u12G4"', '"\\u004', '"\\ud83d\\u"', '"\\ud83d\\"'),
    *('"\xff"', '"\xc3\xa9"', '"\xc3"', '"\xed\xa0\x80"', '"\xc0\x80"', '"\xf4\x90\x80\x80"', '"\xef\xbb\xbf"'),
    *('"\\ud83d\xff"', '"\xff\\ude00"', '["\xff"]', '{"\xff":1}', '{"\\ud800":1}', '{"a":1,"a":2}', '"a"b"'),
]


@pytest.mark.parametrize("text", NUMBERS + STRINGS)
@pytest.mark.parametrize("name", ["seller_id", "amount_usd", "sale_ts", "note", "unknown"])
def test_a_value_in_any_field_is_judged_as_msgspec_judges_it(name: str, text: str) -> None:
    nasty = document(**{name: text})

    assert by_recount(nasty) == by_msgspec(nasty)


GOOD = document()
DOCUMENTS = [
    *(b"", b" ", b"null", b"[]", b'["a",1,2]', b"1", b'"a"', b"{}", b"{", b"}", GOOD[:-1], GOOD + b"x", GOOD * 2),
    *(b"\xef\xbb\xbf" + GOOD, b"\x00" + GOOD, GOOD + b"\x00", b" \t\r\n" + GOOD + b" \t\r\n", b"\x0b" + GOOD),
    *(b"\xc2\xa0" + GOOD, GOOD[:-1] + b",}", GOOD.decode().encode("utf-16"), GOOD.decode().encode("utf-32")),
    *(GOOD[:-1] + b',"amount_usd":7}', GOOD[:-1] + b',"amount_usd":"7"}', b'{"amount_usd":"x",' + GOOD[1:]),
    *(b'{"amount_usd":7,' + GOOD[1:], b'{"seller_i\xff":7,' + GOOD[1:], b'{"\\ud800":7,' + GOOD[1:]),
    *(GOOD.replace(b"seller_id", b"seller\\u005fid"), GOOD.replace(b"seller_id", b"SELLER_ID")),
    *(
        GOOD.replace(b'"seller_id"', b"seller_id"),
        b'{"a\nb":1,' + GOOD[1:],
        b'{"":1,' + GOOD[1:],
        b'{"\\x":1,' + GOOD[1:],
    ),
    *(b'{"seller_id":"a"}', b'{"seller_id":"a","x":"\xff"}', b"//\n" + GOOD),
]


@pytest.mark.parametrize("whole", DOCUMENTS)
def test_a_whole_document_is_judged_as_msgspec_judges_it(whole: bytes) -> None:
    assert by_recount(whole) == by_msgspec(whole)


TOKENS = st.sampled_from(
    [*NUMBERS[:40], *STRINGS, '"seller_id"', '"amount_usd"', '"sale_ts"', *'{}[]:," \n\\', "\\u", "d83d", "\xff"]
)
VALUES = st.one_of(
    st.sampled_from(NUMBERS + STRINGS),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=True)),
    st.lists(TOKENS, max_size=8).map("".join),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps),
)
NAMES = st.sampled_from(["seller_id", "amount_usd", "sale_ts", "note", "x", "", "seller_i"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
@example([("seller_id", '"a"'), ("amount_usd", "1"), ("sale_ts", "1"), ("amount_usd", "1.0")])
def test_generated_members_are_judged_as_msgspec_judges_them(found: list[tuple[str, str]]) -> None:
    rest = "".join(f',"{name}":{text}' for name, text in found)
    nasty = GOOD[:-1] + rest.encode("latin-1") + b"}"

    assert by_recount(nasty) == by_msgspec(nasty)


@given(st.data())
def test_a_document_with_broken_bytes_is_judged_as_msgspec_judges_it(data: st.DataObject) -> None:
    whole = document(note='"\\ud83d\\ude00 \\n"', x='{"y": [1.5, null, "\xc3\xa9"]}')
    at = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 3))
    nasty = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + length :]

    assert by_recount(nasty) == by_msgspec(nasty)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_object_or_a_reject(junk: bytes) -> None:
    assert by_recount(junk) == by_msgspec(junk)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded_by_the_rule_and_not_by_the_stack(opening: str, closing: str) -> None:
    inner = "1" if opening != "[" else ""
    allowed = document(x=opening * (MAX_DEPTH - 1) + inner + closing * (MAX_DEPTH - 1))
    too_deep = document(x=opening * MAX_DEPTH + inner + closing * MAX_DEPTH)

    assert members(allowed)[-1][0] == "x"
    with pytest.raises(InvalidError, match="nested more than 500 levels"):
        members(too_deep)


def test_brackets_in_strings_are_not_depth() -> None:
    assert members(document(x='"' + "[{" * 1000 + '\\"[["'))[-1][0] == "x"


def test_a_million_brackets_or_quotes_take_no_time_and_no_stack() -> None:
    for junk in (b"[" * 1_000_000, b'{"a":' * 200_000, b'["' + b'\\"' * 500_000):
        with pytest.raises(InvalidError):
            members(junk)


@pytest.mark.parametrize("name", ["seller_id", "note"])
def test_a_nul_in_a_declared_field_is_a_reject_and_elsewhere_is_not(name: str) -> None:
    assert judge(SALES, document(x='"\\u0000"'), NOW_MS).values["seller_id"] == "a"
    with pytest.raises(InvalidError, match=f"{name} is not str"):
        judge(SALES, document(**{name: '"\\u0000"'}), NOW_MS)
