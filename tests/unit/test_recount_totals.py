"""Measures: exact, mergeable in any order, null over nothing; and the text of values in messages."""

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_recount import MINUTE, plain
from recount import totals
from recount.arrow import Row
from recount.columns import from_json, parse_type
from recount.definition import Window, parse
from recount.errors import MalformedError, UncountableError
from recount.totals import mean

MEASURES: dict[str, Any] = {
    "total": {"measure": "sum", "field": "d", "of": "numeric(17,2)"},
    "least": {"measure": "min", "field": "d", "of": "numeric(17,2)"},
    "last": {"measure": "max", "field": "t", "of": "timestamptz"},
    "many": {"measure": "count"},
    "average": {"measure": "mean", "field": "d", "of": "numeric(17,2)", "scale": 3},
}
WINDOW: Window = parse(
    plain(
        {},
        {"kind": "tumbling_window", "size_s": 60, "timezone": "UTC", "by": [], "measures": MEASURES}
        | {"schema": "public", "table": "w", "topic": None},
    )
).windows[0]
CELL = totals.Cell(MINUTE, ())


def rows(*values: str | None) -> list[Row]:
    return [
        Row(
            {"d": None if value is None else Decimal(value), "t": datetime(2026, 1, 1, second=at, tzinfo=UTC)},
            *(MINUTE * 1_000_000, 0, 0, 0, at),
        )
        for at, value in enumerate(values)
    ]


def of(batches: list[list[Row]]) -> tuple[Any, ...]:
    per_batch: totals.PerBatch = {}
    for batch_id, batch in enumerate(batches):
        for row in batch:
            totals.count(WINDOW, per_batch, batch_id, row)
    found = totals.numbers(WINDOW.measures, totals.over_batches(WINDOW, per_batch)[CELL])
    return tuple(found[WINDOW.columns.index(name)] for name in ("total", "least", "last", "many", "average"))


def test_nulls_are_left_out_and_a_measure_over_no_value_is_null() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)

    assert of([rows(None)]) == (None, None, first, 1, None)
    assert of([rows(None, "1.00", "2.01", None)]) == (
        *(Decimal("3.01"), Decimal("1.00"), first.replace(second=3), 4),
        Decimal("1.505"),
    )


def test_sums_of_the_largest_decimals_are_exact() -> None:
    big = "999999999999999.999999999999"

    assert of([rows(*[big] * 60)])[0] == Decimal("59999999999999999.99999999994")


@given(st.lists(st.decimals(-(10**14), 10**14, places=2) | st.none(), min_size=1, max_size=12), st.data())
def test_any_split_into_batches_gives_the_same(values: list[Decimal | None], data: st.DataObject) -> None:
    all_rows = rows(*(None if value is None else str(value) for value in values))
    cut = data.draw(st.integers(0, len(all_rows)))
    order = data.draw(st.permutations(all_rows))

    assert of([all_rows]) == of([order[:cut], order[cut:]])


@given(st.decimals(-(10**14), 10**14, places=4), st.integers(1, 10**6), st.integers(0, 12))
def test_a_mean_is_rounded_half_away_from_zero(total: Decimal, count: int, scale: int) -> None:
    with localcontext(Context(prec=200)):
        exact = (total / count).quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)

    assert mean(total, count, scale) == exact


@pytest.mark.parametrize(
    ("total", "count", "scale", "text"),
    [
        (1, 2, 0, "1"),
        (-1, 2, 0, "-1"),
        (1, 3, 2, "0.33"),
        (-5, 2, 1, "-2.5"),
        (Decimal("0.05"), 1, 1, "0.1"),
        (Decimal("-0.15"), 1, 1, "-0.2"),
        (2**80, 3, 0, str((2**80 + 1) // 3)),
    ],
)
def test_means_by_example(total: int | Decimal, count: int, scale: int, text: str) -> None:
    assert mean(total, count, scale) == Decimal(text)


def test_what_a_batch_did_not_compute_makes_the_whole_null() -> None:
    computed, missing = ((Decimal(1), 1),) * 5, ((None, None),) * 5

    assert totals.numbers(WINDOW.measures, totals.merge(WINDOW.measures, computed, missing)) == (None,) * 5


@pytest.mark.parametrize(
    ("kind", "found", "value"),
    [
        ("text", "é", "é"),
        ("bigint", -5, -5),
        ("numeric", 2**70, 2**70),
        ("numeric(17,2)", "-1.50", Decimal("-1.5")),
        ("numeric(15,0)", "12", Decimal(12)),
        ("boolean", False, False),
        ("timestamptz", "2026-11-21T10:20:00Z", datetime(2026, 11, 21, 10, 20, tzinfo=UTC)),
        ("timestamptz", "2026-11-21T10:20:00.000001Z", datetime(2026, 11, 21, 10, 20, 0, 1, tzinfo=UTC)),
        ("date", "0001-02-03", date(1, 2, 3)),
        ("uuid", "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
        ("bigint", None, None),
    ],
)
def test_a_value_is_read_from_its_documented_text(kind: str, found: Any, value: Any) -> None:
    assert from_json(parse_type(kind, "c"), found, "c") == value


@pytest.mark.parametrize(
    ("kind", "found"),
    [("text", 5), ("bigint", "5"), ("bigint", True), ("bigint", 5.0), ("numeric", "5"), ("boolean", 1)]
    + [("numeric(17,2)", text) for text in ("1.5", "1.500", "1", "+1.00", "01.00", "-0.00", "1e2", "1.5O", 1.5, 1)]
    + [("numeric(15,0)", "12."), ("numeric(15,0)", 12)]
    + [("timestamptz", text) for text in ("2026-11-21T10:20:00+00:00", "2026-11-21 10:20:00Z", "2026-02-30T00:00:00Z")]
    + [("timestamptz", text) for text in ("2026-11-21T10:20:00.5Z", "2026-11-21T10:20:00.000000Z")]
    + [("timestamptz", 5), ("date", "20260101"), ("date", "2026-01-01T00:00:00Z"), ("date", 5), ("uuid", 5)]
    + [("uuid", "12345678123456781234567812345678"), ("uuid", "ABCDEF78-1234-5678-1234-567812345678")],
)
def test_another_text_is_malformed(kind: str, found: Any) -> None:
    with pytest.raises(MalformedError):
        from_json(parse_type(kind, "c"), found, "c")


@pytest.mark.parametrize("kind", ["double precision", "numeric(17)", "jsonb", None, "interval"])
def test_other_types_of_columns_are_refused(kind: Any) -> None:
    with pytest.raises(UncountableError):
        parse_type(kind, "c")
