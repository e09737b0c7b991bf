"""JSON of columns of Arrow is, byte by byte, what msgspec makes of each row."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.columntypes import Column, json_value
from microbatch.event import EPOCH
from microbatch.jsontexts import json_objects

times = st.integers(-62_135_000_000_000_000, 253_402_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us))
scaled = st.decimals(-(10**14), 10**14, places=2)
far = st.decimals(-(10**14), 10**14, places=12)
VALUES: dict[str, tuple[str, pa.DataType, st.SearchStrategy[Any]]] = {
    "text": ("text", pa.string(), st.text()),
    "plain": ("text", pa.string(), st.text(st.characters(min_codepoint=0x5D, codec="utf-8"))),
    "bigint": ("bigint", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": ("bigint", pa.uint8(), st.integers(0, 255)),
    "boolean": ("boolean", pa.bool_(), st.booleans()),
    "huge": ("numeric", pa.decimal128(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal)),
    "scaled": ("numeric(17,2)", pa.decimal128(17, 2), scaled),
    "far": ("numeric(27,12)", pa.decimal128(27, 12), far),
    "time": ("timestamptz", pa.timestamp("us", tz="UTC"), times),
    "second": ("timestamptz", pa.timestamp("us", tz="UTC"), times.map(lambda at: at.replace(microsecond=0))),
    "date": ("date", pa.date32(), st.dates(date(1, 1, 8), date(9999, 12, 23))),
    "uuid": ("uuid", pa.string(), st.uuids().map(str)),
}
rows = st.lists(st.tuples(*(values | st.none() for _, _, values in VALUES.values())), min_size=1, max_size=5)


def expected(row: tuple[Any, ...]) -> bytes:
    kinds = [kind for kind, _, _ in VALUES.values()]
    values = [UUID(value) if kind == "uuid" and value else value for kind, value in zip(kinds, row, strict=True)]
    shown = (json_value(value, kind) for kind, value in zip(kinds, values, strict=True))
    return msgspec.json.encode(dict(zip(VALUES, shown, strict=True)))


@given(rows)
def test_each_row_is_what_msgspec_makes_of_it(given_rows: list[tuple[Any, ...]]) -> None:
    columns = [Column(name, kind, "") for name, (kind, _, _) in VALUES.items()]
    types = [type_ for _, type_, _ in VALUES.values()]
    arrays = [pa.array(values, type_) for type_, values in zip(types, zip(*given_rows, strict=True), strict=True)]

    assert json_objects(columns, arrays).to_pylist() == [expected(row) for row in given_rows]


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\x1f", "\x7f", "/", "\u2028", "ü", "😀"])
def test_a_character_is_escaped_as_msgspec_does_it(text: str) -> None:
    values = pa.array(["before", text, None], pa.string()).slice(1)

    found = json_objects([Column(f"a {text}", "text", "")], [values]).to_pylist()

    assert found == [msgspec.json.encode({f"a {text}": value}) for value in (text, None)]
