"""The pipeline orders, with no Kafka, Postgres or Airflow."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from dag_files import declared
from microbatch.testing import Outcome, run

AT = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
pipeline = declared("orders")


def order(**changes: Any) -> dict[str, Any]:
    fields = {"order_id": "o-1", "country": "DE", "amount": 1, "ordered_at": "2026-11-21T10:00:30Z"}
    return {**fields, **changes}


def with_amount(number: str) -> bytes:
    """An order whose amount is written just so."""
    return json.dumps(order(amount="@")).replace('"@"', number).encode()


def sums(outcome: Outcome) -> list[tuple[int, str, Decimal, int]]:
    """Minute of the hour, country, amount, orders."""
    rows = outcome.results["processed_orders"]
    return [(row["window_start"].minute, row["country"], row["amount"], row["orders"]) for row in rows]


def test_a_minute_has_amount_and_number_of_each_countrys_orders() -> None:
    orders = [order(amount="19.99"), order(amount="5.01"), order(country="FR", amount=7)]

    outcome = run(pipeline, orders, at=AT)

    assert sums(outcome) == [(0, "DE", Decimal("25.00"), 2), (0, "FR", Decimal(7), 1)]


def test_a_thousand_times_ten_cents_are_a_hundred() -> None:
    outcome = run(pipeline, [with_amount("0.1")] * 1000, at=AT)

    assert sums(outcome) == [(0, "DE", Decimal("100.00"), 1000)]


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("12.34", "12.34"),
        ('"12.34"', "12.34"),
        ("12", "12"),
        ("1.2e1", "12"),
        ("12.340", "12.34"),
        ("0.01", "0.01"),
        ("123456789012345.67", "123456789012345.67"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_an_amount_is_exact_however_it_is_written(written: str, amount: str) -> None:
    outcome = run(pipeline, [with_amount(written)], at=AT)

    assert sums(outcome) == [(0, "DE", Decimal(amount), 1)]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("1.999", "at most 2 digits after the point"),
        ('"0.001"', "at most 2 digits after the point"),
        ("0.10000000000000000001", "at most 2 digits after the point"),
        ("1000000000000000", "at most 15 digits before the point"),
        ("1e400", "at most 15 digits before the point"),
        ('"NaN"', "at most 15 digits before the point"),
        ('"-Infinity"', "at most 15 digits before the point"),
        ("NaN", "JSON is malformed"),
        ('""', "Invalid decimal string"),
        ('"twelve"', "Invalid decimal string"),
        ("null", "got `null`"),
        ("true", "got `bool`"),
        ("0", "amount is not positive"),
        ('"-0.00"', "amount is not positive"),
        ("-0.01", "amount is not positive"),
    ],
)
def test_what_is_no_amount_is_rejected_with_its_reason(written: str, reason: str) -> None:
    outcome = run(pipeline, [with_amount(written), order()], at=AT)

    (reject,) = outcome.rejects
    assert reason in reject.reason
    assert sums(outcome) == [(0, "DE", Decimal(1), 1)]


@pytest.mark.parametrize("country", ["de", "DEU", "D", "", "D3", " DE", "DE ", "DE\n", "ÄÖ"])
def test_a_country_is_two_upper_case_letters(country: str) -> None:
    outcome = run(pipeline, [order(country=country)], at=AT)

    (reject,) = outcome.rejects
    assert "`$.country`" in reject.reason


@pytest.mark.parametrize("field", ["order_id", "country", "amount", "ordered_at"])
def test_no_field_may_be_missing_or_null(field: str) -> None:
    whole = order()

    outcome = run(pipeline, [{name: value for name, value in whole.items() if name != field}, {**whole, field: None}])

    assert [reject.offset for reject in outcome.rejects] == [0, 1]
    assert f"missing required field `{field}`" in outcome.rejects[0].reason
    assert f"got `null` - at `$.{field}`" in outcome.rejects[1].reason


def test_a_minute_begins_with_its_first_microsecond_and_ends_before_the_next() -> None:
    times = ["10:00:00Z", "10:00:59.999999Z", "10:01:00Z", "09:59:59.999999Z"]

    outcome = run(pipeline, [order(ordered_at=f"2026-11-21T{time}") for time in times], at=AT)

    assert [(minute, orders) for minute, _, _, orders in sums(outcome)] == [(59, 1), (0, 2), (1, 1)]


def test_a_time_with_another_offset_is_the_same_time() -> None:
    outcome = run(pipeline, [order(ordered_at="2026-11-21T12:00:30+02:00"), order()], at=AT)

    assert sums(outcome) == [(0, "DE", Decimal(2), 2)]


@pytest.mark.parametrize("time", ["2026-11-21T10:00:30", "2026-11-21", "10:00:30Z", 1795255230, ""])
def test_a_time_without_an_offset_or_none_at_all_is_rejected(time: Any) -> None:
    outcome = run(pipeline, [order(ordered_at=time)], at=AT)

    (reject,) = outcome.rejects
    assert "`$.ordered_at`" in reject.reason


def test_an_order_of_the_far_future_is_rejected() -> None:
    outcome = run(pipeline, [order(ordered_at="2026-11-21T11:05:00Z"), order(ordered_at="2026-11-21T11:05:01Z")], at=AT)

    assert [reject.offset for reject in outcome.rejects] == [1]
    assert "more than max_future" in outcome.rejects[0].reason


def test_the_same_order_sent_twice_is_two() -> None:
    outcome = run(pipeline, [order(), order()], at=AT)

    assert sums(outcome) == [(0, "DE", Decimal(2), 2)]
