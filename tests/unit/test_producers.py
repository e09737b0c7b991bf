"""Generators of demo events, and when they are sent."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import KafkaUnreachableError
from producers import sending
from producers.message import Message
from producers.pacing import AT_ONCE, Pace, seconds_left, steady
from producers.registry import PRODUCERS
from producers.sales import BAD, SELLERS, far_future, malformed, mistyped, sale, without_a_field

GOOD = {"seller_id": "coral-cafe", "amount_usd": 12, "sale_ts": 1_763_700_000}
NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)


class Sale(msgspec.Struct):
    """What a valid message says."""

    seller_id: str
    amount_usd: int
    sale_ts: int


def sales(count: int, bad_share: float, seed: int = 1) -> list[Message]:
    chance = Random(seed)  # noqa: S311 - no secrets
    return [sale(chance, NOON, bad_share) for _ in range(count)]


def test_good_sales_are_valid_of_four_sellers_and_happen_now() -> None:
    messages = sales(500, bad_share=0)

    decoded = [msgspec.json.decode(message.value, type=Sale) for message in messages]
    assert {event.seller_id for event in decoded} == set(SELLERS)
    assert {event.sale_ts for event in decoded} == {int(NOON.timestamp())}
    assert all(1 <= event.amount_usd <= 500 for event in decoded)
    assert {message.at for message in messages} == {NOON}


def test_the_key_is_the_sellers_also_of_bad_events() -> None:
    assert {message.key.decode() for message in sales(500, bad_share=1)} == set(SELLERS)


def test_the_same_seed_gives_the_same_sales() -> None:
    assert sales(200, bad_share=0.3) == sales(200, bad_share=0.3)
    assert sales(200, bad_share=0.3) != sales(200, bad_share=0.3, seed=2)


def test_the_share_of_bad_sales_is_about_what_was_asked_for() -> None:
    valid = Counter(is_valid(message.value) for message in sales(4000, bad_share=0.25))
    assert 800 < valid[False] < 1200


def is_valid(value: bytes) -> bool:
    try:
        decoded = msgspec.json.decode(value, type=Sale)
    except msgspec.DecodeError:
        return False
    return decoded.sale_ts <= NOON.timestamp()


@given(seed=st.integers(0, 10_000), bad=st.sampled_from([malformed, without_a_field, mistyped]))
def test_bad_sales_are_never_valid_by_chance(seed: int, bad: Callable[[Random, dict[str, Any]], bytes]) -> None:
    value = bad(Random(seed), GOOD)  # noqa: S311 - no secrets
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(value, type=Sale)


def test_a_sale_of_tomorrow_is_well_formed() -> None:
    value = far_future(Random(1), GOOD)  # noqa: S311 - no secrets
    assert json.loads(value)["sale_ts"] == 1_763_700_000 + 86_400


def test_every_kind_of_bad_sale_is_made() -> None:
    assert set(BAD) == {malformed, without_a_field, mistyped, far_future}


# -- pacing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed_s", "sent", "due"),
    [(0, 0, 1), (0.05, 1, 0), (0.1, 1, 1), (1.0, 1, 10), (1.0, 12, 0), (3600, 590, 10), (3600, 600, 0)],
)
def test_messages_are_due_at_their_rate_until_all_are_sent(elapsed_s: float, sent: int, due: int) -> None:
    assert Pace(total=600, rate_per_second=10).due(elapsed_s, sent) == due


def test_a_burst_is_due_at_once_in_parts() -> None:
    assert Pace(total=AT_ONCE + 5).due(0, 0) == AT_ONCE
    assert Pace(total=AT_ONCE + 5).due(0, AT_ONCE) == 5


@given(rate=st.floats(0.1, 5000), seconds=st.floats(0.1, 60))
def test_a_steady_pace_has_sent_all_when_its_time_is_over(rate: float, seconds: float) -> None:
    pace = steady(rate, seconds)
    assert pace.due(seconds, 0) == pace.total


@pytest.mark.parametrize(
    ("into_the_minute", "left"), [(0.4, 56.6), (30, 27), (55.9, 1.1), (56.5, 60.5), (57.0, 60.0), (59.5, 57.5)]
)
def test_a_live_producer_works_until_shortly_before_the_next_run(into_the_minute: float, left: float) -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC) + timedelta(seconds=into_the_minute)
    assert seconds_left(now) == pytest.approx(left)


# -- sending -----------------------------------------------------------------------------------------------


def test_a_missing_broker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_TIMEOUT_S", 0.2)
    with pytest.raises(KafkaUnreachableError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        sending.send(PRODUCERS["sales"], {"bootstrap.servers": "127.0.0.1:1"}, Pace(total=1), bad_share=0)
