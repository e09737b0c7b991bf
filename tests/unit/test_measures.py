"""Measures: mergeable numbers, exact, of the types that can be."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microbatch.columntypes import ColumnType
from microbatch.measures import AnyMeasure, Count, Max, Mean, Measure, Min, Sum, facts

INTEGER = ColumnType("BIGINT")
MONEY = ColumnType("DECIMAL(17,2)")
TIME = ColumnType("TIMESTAMP WITH TIME ZONE")
TEXT = ColumnType("VARCHAR")

ALL: list[AnyMeasure] = [Sum("a"), Min("a"), Max("a"), Mean("a", scale=2), Count()]


@pytest.mark.parametrize(
    ("measure", "fits"),
    [
        (Sum("a"), {"BIGINT", "TINYINT", "UINTEGER", "DECIMAL(17,2)", "DECIMAL(27,12)"}),
        (Mean("a"), {"BIGINT", "TINYINT", "UINTEGER", "DECIMAL(17,2)", "DECIMAL(27,12)"}),
        (
            Min("a"),
            {
                *("BIGINT", "TINYINT", "UINTEGER", "DECIMAL(17,2)", "DECIMAL(27,12)", "DECIMAL(38,2)"),
                "TIMESTAMP WITH TIME ZONE",
            },
        ),
    ],
)
def test_a_measure_takes_the_types_that_it_can_be_exact_for(measure: Measure, fits: set[str]) -> None:
    kinds = [
        *("BIGINT", "TINYINT", "UINTEGER", "DECIMAL(17,2)", "DECIMAL(27,12)", "DECIMAL(38,2)", "HUGEINT", "DOUBLE"),
        *("TIMESTAMP WITH TIME ZONE", "VARCHAR", "BOOLEAN", "DATE", "UUID", "BIGINT[]", "STRUCT(x BIGINT)"),
    ]

    assert {kind for kind in kinds if measure.refused(ColumnType(kind)) is None} == fits
    assert measure.refused(None) is not None


def test_everything_can_be_counted() -> None:
    assert Count().refused(None) is None


@pytest.mark.parametrize("scale", [-1, 13])
def test_a_mean_has_a_scale_of_0_to_12(scale: int) -> None:
    assert Mean("a", scale=scale).refused(INTEGER) == "its scale is 0 to 12"


def test_what_a_measure_needs_and_says() -> None:
    assert [(m.needs, m.describe(), m.kind(INTEGER), m.partial_count) for m in ALL] == [
        ("a", "sum of a", "numeric", 2),
        ("a", "least a", "bigint", 2),
        ("a", "greatest a", "bigint", 2),
        ("a", "mean of a, rounded to 2 digits", "numeric(50,2)", 2),
        (None, "number of events", "bigint", 1),
    ]


def test_columns_are_like_the_field_or_wider() -> None:
    assert [m.kind(MONEY) for m in ALL[:4]] == ["numeric(50,2)", "numeric(17,2)", "numeric(17,2)", "numeric(50,2)"]
    assert [m.kind(TIME) for m in (Min("t"), Max("t"))] == ["timestamptz", "timestamptz"]


@pytest.mark.parametrize("measure", ALL, ids=str)
def test_there_are_as_many_partials_as_are_said(measure: Measure) -> None:
    partials = measure.partials("x", INTEGER)

    assert len(partials) == measure.partial_count
    assert len({partial.suffix for partial in partials}) == len(partials)


def test_the_facts_in_a_definition_name_the_measure() -> None:
    assert [facts(measure) for measure in ALL] == [
        {"measure": "sum", "field": "a"},
        {"measure": "min", "field": "a"},
        {"measure": "max", "field": "a"},
        {"measure": "mean", "field": "a", "scale": 2},
        {"measure": "count"},
    ]


def test_the_base_promises_nothing() -> None:
    bare = Measure()

    assert bare.needs is None
    promises: list[Callable[[], object]] = [
        lambda: bare.kind(None),
        lambda: bare.refused(None),
        lambda: bare.partials("x", None),
        lambda: bare.total(["x"], None),
        bare.describe,
    ]
    for promise in promises:
        with pytest.raises(NotImplementedError):
            promise()


# -- means -----------------------------------------------------------------------------------------------------


def rounded(total: Fraction, scale: int) -> Fraction:
    """Half away from zero, to so many digits."""
    magnitude = Fraction(floor(abs(total) * 10**scale + Fraction(1, 2)), 10**scale)
    return magnitude if total >= 0 else -magnitude


@given(st.integers(-(10**45), 10**45), st.integers(0, 12), st.integers(1, 10**12), st.integers(0, 12))
@example(5, 1, 1, 0)
@example(-5, 1, 1, 0)
@example(1, 0, 3, 6)
@example(-1, 0, 10**12, 6)
@example(10**45 + 5, 12, 10, 12)
def test_a_mean_is_rounded_once_and_half_away_from_zero(digits: int, places: int, count: int, scale: int) -> None:
    total = Decimal(f"{digits}e-{places}")

    found = Mean("a", scale=scale).total_of([total, count])

    assert Fraction(found) == rounded(Fraction(digits, 10**places) / count, scale)
    assert found.as_tuple().exponent == -scale


@pytest.mark.parametrize(
    ("total", "count", "shown"),
    [
        ("0.5", 1, "1"),
        ("-0.5", 1, "-1"),
        ("1.5", 1, "2"),
        ("2.5", 1, "3"),
        ("-2.4", 1, "-2"),
        ("1", 3, "0"),
        ("0", 5, "0"),
    ],
)
def test_halves_go_away_from_zero(total: str, count: int, shown: str) -> None:
    assert str(Mean("a", scale=0).total_of([Decimal(total), count])) == shown


def test_a_mean_over_nothing_is_null() -> None:
    assert Mean("a").total_of([None, 0]) is None
    assert Mean("a").total_of([None, None]) is None
