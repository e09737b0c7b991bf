"""The pipeline sales, with no Kafka, Postgres or Airflow."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from dag_files import declared
from microbatch.testing import Outcome, run

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
AT_S = int(AT.timestamp())
pipeline = declared("sales")


def sale(amount: Any = 1, seller: Any = "amber", at: Any = AT_S) -> dict[str, Any]:
    return {"seller_id": seller, "amount_usd": amount, "sale_ts": at}


def sums(outcome: Outcome) -> list[tuple[str, int, int, Decimal]]:
    """Seller, amount, sales, mean."""
    rows = outcome.results["aggregated_sales"]
    return [(row["seller_id"], int(row["amount_usd"]), row["sales"], row["mean_usd"]) for row in rows]


def test_a_minute_has_amount_number_and_mean_of_each_sellers_sales() -> None:
    outcome = run(pipeline, [sale(12), sale(13), sale(5, "basil")], at=AT)

    assert sums(outcome) == [("amber", 25, 2, Decimal("12.50")), ("basil", 5, 1, Decimal("5.00"))]


@pytest.mark.parametrize(
    ("amounts", "mean"),
    [
        ([1, 0, 0], "0.33"),
        ([2, 0, 0], "0.67"),
        ([1, *[0] * 7], "0.13"),  # 0.125
        ([3, *[0] * 7], "0.38"),  # 0.375
        ([-1, *[0] * 7], "-0.13"),
        ([1, *[0] * 199], "0.01"),  # 0.005
        ([1, *[0] * 200], "0.00"),
        ([1, -1], "0.00"),
    ],
)
def test_the_mean_is_rounded_half_away_from_zero_to_cents(amounts: list[int], mean: str) -> None:
    outcome = run(pipeline, [sale(amount) for amount in amounts], at=AT)

    assert str(outcome.results["aggregated_sales"][0]["mean_usd"]) == mean


def test_sum_and_mean_beyond_64_bits_are_exact() -> None:
    outcome = run(pipeline, [sale(2**63 - 1), sale(2**63 - 2)], at=AT)

    assert sums(outcome) == [("amber", 2**64 - 3, 2, Decimal("9223372036854775806.50"))]


def test_a_sale_of_the_last_second_counts_in_its_minute_one_of_the_next_does_not() -> None:
    outcome = run(pipeline, [sale(1, at=AT_S + 59), sale(2, at=AT_S + 60), sale(4, at=AT_S - 1)], at=AT)

    rows = outcome.results["aggregated_sales"]
    assert [(row["window_start"].minute, row["amount_usd"]) for row in rows] == [(59, 4), (0, 1), (1, 2)]


def test_a_time_may_be_a_string_a_refund_negative_and_more_fields_there() -> None:
    outcome = run(pipeline, [sale(5, at=str(AT_S)), sale(-3), {**sale(1), "shop": "north"}], at=AT)

    assert (sums(outcome), outcome.rejects) == ([("amber", 3, 3, Decimal("1.00"))], [])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (sale("12"), "Expected `int`, got `str`"),
        (sale(1.5), "Expected `int`, got `float`"),
        (sale(amount=True), "Expected `int`, got `bool`"),
        (sale(2**63), "<= 9223372036854775807"),
        (sale(None), "got `null`"),
        (sale(seller=7), "Expected `str`, got `int`"),
        (sale(seller="a\0b"), "NUL"),
        (sale(at=AT_S + 0.5), "got `float`"),
        (sale(at="ten o'clock"), "`$.sale_ts`"),
        (sale(at=""), "`$.sale_ts`"),
        (sale(at=AT_S + 3601), "more than max_future"),
        ({"seller_id": "amber", "sale_ts": AT_S}, "missing required field `amount_usd`"),
    ],
)
def test_what_is_no_sale_is_rejected_whole_with_its_reason(bad: dict[str, Any], reason: str) -> None:
    value = json.dumps(bad).encode()

    outcome = run(pipeline, [value, sale()], at=AT)

    (reject,) = outcome.rejects
    assert (reject.value, reason in reject.reason) == (value, True), reject.reason
    assert sums(outcome) == [("amber", 1, 1, Decimal("1.00"))]
