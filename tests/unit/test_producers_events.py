"""Events of each producer, as the pipelines of `dags/` take them."""

import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_airflow import DAGS
from microbatch import Pipeline
from microbatch.declared import load_pipelines
from microbatch.decoding import Message as Read
from microbatch.testing import Outcome, run
from producers.bad import COMMON, plain
from producers.base import BadKind, Producer, Shares, messages
from producers.logins import DEVICE_TYPES, USERS
from producers.registry import PRODUCERS
from producers.sales import SELLERS
from recount.partitioner import partition_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = [(name, kind) for name, producer in PRODUCERS.items() for kind in producer.bad]


@cache
def pipelines() -> dict[str, Pipeline]:
    """The pipelines by the name of their source topic."""
    return {pipeline.source.name: pipeline for pipeline in load_pipelines(DAGS)}


def consumed(producer: Producer, values: list[bytes | None]) -> Outcome:
    timestamp_ms = int(NOON.timestamp() * 1000)
    return run(pipelines()[producer.topic], [Read(0, n, timestamp_ms, None, value) for n, value in enumerate(values)])


def values(name: str, count: int, **shares: float) -> list[bytes | None]:
    times = [NOON] * count
    return [event[0].value for event in messages(PRODUCERS[name], Shares(**shares), times, seed=1)]


def decoded(name: str, count: int = 1000) -> list[dict[str, Any]]:
    return [json.loads(value or b"") for value in values(name, count)]


def keys(name: str, count: int = 1000) -> list[bytes]:
    events = messages(PRODUCERS[name], Shares(bad=0.5), [NOON] * count, seed=1)
    return [event[0].key or b"" for event in events]


@pytest.mark.parametrize("name", PRODUCERS)
def test_no_good_event_is_rejected_neither_a_late_one(name: str) -> None:
    assert consumed(PRODUCERS[name], values(name, 500, late=0.5)).rejects == []


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=[f"{name}-{kind.__name__}" for name, kind in KINDS])
def test_every_bad_event_is_rejected(name: str, kind: BadKind) -> None:
    producer = PRODUCERS[name]
    chance = random.Random(1)  # noqa: S311 - no secrets
    bad = [kind(chance, producer.good(chance, number, NOON).fields) for number in range(200)]

    assert [reject.value for reject in consumed(producer, list(bad)).rejects] == bad


@pytest.mark.parametrize("name", PRODUCERS)
def test_every_kind_is_made(name: str) -> None:
    made = Counter(values(name, 2000, bad=1))

    assert {b"", b"null"} <= made.keys()
    assert len(consumed(PRODUCERS[name], values(name, 2000, bad=1)).rejects) == 2000


@pytest.mark.parametrize("name", PRODUCERS)
def test_events_are_spread_over_four_partitions_bad_ones_too(name: str) -> None:
    found = Counter(partition_of(key, 4) for key in keys(name))
    assert set(found) == {0, 1, 2, 3}


FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.text(st.characters(codec="utf-8")) | st.integers(-(2**53), 2**53) | st.booleans(),
    min_size=1,
)


@given(seed=st.integers(0), kind=st.sampled_from(COMMON), fields=FIELDS)
def test_common_kinds_never_give_the_good_event(seed: int, kind: BadKind, fields: dict[str, Any]) -> None:
    value = kind(random.Random(seed), fields)  # noqa: S311 - no secrets
    try:
        found = json.loads(value)
    except ValueError:
        return
    assert found != plain(fields)
    if isinstance(found, dict):
        differs = {name for name in fields if name not in found or type(found[name]) is not type(plain(fields)[name])}
        assert len(differs) == 1


# -- sales -------------------------------------------------------------------------------------------------


def test_sales_are_of_four_sellers_and_happen_now() -> None:
    found = decoded("sales")

    assert {sale["seller_id"] for sale in found} == set(SELLERS) == {key.decode() for key in keys("sales")}
    assert {sale["sale_ts"] for sale in found} == {int(NOON.timestamp())}
    assert all(1 <= sale["amount_usd"] <= 500 for sale in found)


def test_a_sale_of_tomorrow_is_well_formed() -> None:
    *_, far_future = PRODUCERS["sales"].bad
    value = far_future(random.Random(1), {"sale_ts": 1_763_700_000})  # noqa: S311 - no secrets
    assert json.loads(value) == {"sale_ts": 1_763_700_000 + 86_400}


# -- numbers -----------------------------------------------------------------------------------------------


def test_numbers_are_0_to_12_each_about_as_often() -> None:
    found = Counter(event["number"] for event in decoded("number_pairs", 13_000))

    assert set(found) == set(range(13))
    assert all(850 < count < 1150 for count in found.values())


# -- logins ------------------------------------------------------------------------------------------------


def test_logins_look_like_those_of_apps() -> None:
    [login] = decoded("logins", 1)

    assert list(login) == ["user_id", "app_version", "device_type", "ip", "locale", "device_id", "timestamp"]
    assert uuid.UUID(login["user_id"]).version == 4
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", login["ip"])
    assert re.fullmatch(r"\d{3}-\d{2}-\d{4}", login["device_id"])


def test_a_few_hundred_users_log_in_from_devices_of_their_own() -> None:
    found = decoded("logins", 5000)

    assert len({login["user_id"] for login in found}) == USERS
    assert len({(login["user_id"], login["device_id"], login["device_type"]) for login in found}) == USERS
    assert {login["device_type"] for login in found} == set(DEVICE_TYPES)
    assert {key.decode() for key in keys("logins")} <= {login["user_id"] for login in found}


def test_the_time_of_a_login_is_a_text_or_a_number() -> None:
    found = Counter(login["timestamp"] for login in decoded("logins"))

    assert set(found) == {int(NOON.timestamp()), str(int(NOON.timestamp()))}
    assert all(400 < count < 600 for count in found.values())


# -- weather -----------------------------------------------------------------------------------------------


def test_late_weather_is_older_weather() -> None:
    make: Callable[..., Any] = PRODUCERS["weather"].good
    chance = random.Random(1)  # noqa: S311 - no secrets
    now, before = (make(chance, 1, NOON - timedelta(hours=hours)).fields["dt"] for hours in (0, 1))
    assert now - before == 3600
