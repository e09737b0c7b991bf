"""The five pipelines of `dags/` on the real Kafka and PostgreSQL: bad messages, and what goes on across batches."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import msgspec
import pytest

from bad_messages import Shape, bad_messages
from dag_files import declared
from fix_child import check
from fix_pipeline import T0, Message, World, with_topics_of_its_own
from microbatch.topics import create_topics
from outside import dead_letters, published

PARTITIONS: Final = 2

Five = Callable[..., World]


@pytest.fixture
def five(make_world: Callable[..., World]) -> Five:
    """`five("logins", LOGINS_DEVICE_TYPES="web")`: the pipeline of a file, its topics renamed."""
    made = make_world()

    def world(file: str, **settings: str) -> World:
        pipeline = with_topics_of_its_own(declared(file, **settings), made.pipeline.source.name, PARTITIONS)
        create_topics([pipeline], made.connections)
        return World(pipeline, made.connections)

    return world


def at(seconds: float) -> datetime:
    """A moment, counted from T0."""
    return datetime.fromtimestamp(T0, UTC) + timedelta(seconds=seconds)


# -- events ----------------------------------------------------------------------------------------------------


def order(number: int = 0, **changes: Any) -> dict[str, Any]:
    fields = {"order_id": f"o-{number}", "country": "DE", "amount": f"{number + 1}.07", "ordered_at": at(5).isoformat()}
    return {**fields, **changes}


def number(value: int = 0, **changes: Any) -> dict[str, Any]:
    return {"number": value % 13, "note": "", **changes}


def sale(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"seller_id": "amber", "amount_usd": number, "sale_ts": T0 + 5, **changes}


def login(number: int = 0, **changes: Any) -> dict[str, Any]:
    fields = {
        "user_id": f"u-{number}",
        "app_version": "2.3.0",
        "device_type": "android",
        "ip": "199.172.111.135",
        "locale": "RU",
        "device_id": "593-47-5928",
        "timestamp": str(T0 + 5),
    }
    return {**fields, **changes}


def observation(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Of one second each, for a city has one observation of a time."""
    fields = {
        "coord": {"lon": 24.9355, "lat": 60.1695},
        "weather": [{"id": 601, "main": "Snow", "description": "snow", "icon": "13d"}],
        "main": {"temp": -3.25, "feels_like": -8.91, "pressure": 1013, "humidity": 93},
        "wind": {"speed": 4.63, "deg": 340},
        "dt": T0 - number,
        "id": 658225,
        "name": "Helsinki",
        "cod": 200,
    }
    return {**fields, **changes}


def value(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


# -- bad messages ----------------------------------------------------------------------------------------------


class Case(msgspec.Struct, frozen=True):
    """A pipeline, its events, and those kinds of bad messages that are none to it.

    Attributes:
        good: makes valid events.
        shape: what bad ones are made of.
        counted: kinds that are exact in the result.
        total: how many events the results stand for, in SQL.
    """

    good: Callable[[int], dict[str, Any]]
    shape: Shape
    counted: set[str]
    total: str


LACKING: Final = ["without", "null for", "boolean for", "array for", "object for"]
LOGIN_TEXTS: Final = ["user_id", "app_version", "device_type", "ip", "locale", "device_id"]
CASES: Final = {
    "orders": Case(
        order,
        Shape(order(), ["order_id", "country"], ["amount"], "ordered_at"),
        {"large order_id"},
        "select sum(orders) from processed_orders",
    ),
    "number_pairs": Case(
        number,
        Shape(number(), ["note"], ["number"]),
        # The note is nothing to it.
        {f"{kind} note" for kind in (*LACKING, "number for", "NUL in", "invalid UTF-8 in", "large")},
        "select (select count(*) * 2 from number_pairs) + (select count(*) from number_pairs_waiting)",
    ),
    "sales": Case(
        sale,
        Shape(sale(), ["seller_id"], ["amount_usd"], "sale_ts"),
        set(),
        "select sum(sales) from aggregated_sales",
    ),
    "logins": Case(
        login,
        Shape(login(), LOGIN_TEXTS, [], "timestamp"),
        {"large user_id"},
        "select count(*) from processed_user_login",
    ),
    "weather": Case(
        observation,
        Shape(observation(), ["name", "weather.description"], ["id", "main.temp", "wind.speed"], "dt"),
        set(),
        "select count(*) from weather_observation",
    ),
}
EVERYWHERE: Final = {"large for an unknown field", "duplicate key, the same twice", "before 1970"}


def mixed(case: Case, label: str) -> Iterator[tuple[str | None, Message]]:
    """Every bad kind, and as many good messages between them; each with a key and a header of its own."""
    kinds = bad_messages(case.shape).items()
    good = ((None, value(case.good(n))) for n in range(len(kinds)))
    for n, (kind, content) in enumerate(chain.from_iterable(zip(kinds, good, strict=True))):
        key = f"{label} {n}".encode() + b"\xff"
        yield kind, Message(content, n % PARTITIONS, key, T0 + 10, (("trace", b"%d\x00" % n),))


def shown(messages: Any) -> list[Any]:
    """What a dead letter has to keep, in an order that does not depend on partitions."""
    return sorted((found.key, found.value, found.headers[:1]) for found in messages)


@pytest.mark.parametrize("name", CASES)
def test_every_bad_kind_is_in_the_result_or_whole_in_the_dead_letters(five: Five, name: str) -> None:
    case, world = CASES[name], five(name)
    counted = EVERYWHERE | case.counted
    rejected = []
    for minute in range(2):
        sent = list(mixed(case, f"batch {minute}"))
        rejected += [message for kind, message in sent if kind not in (None, "tombstone", *counted)]
        world.send(*(message for _, message in sent))

        world.run(minute)

    world.run(minute=60)  # its end is past that of the hour
    letters = dead_letters(world)
    assert shown(letters) == shown(rejected)
    assert all(letter.header("microbatch.reason") for letter in letters)
    ((total, left_out),) = world.rows(f"select ({case.total})::int, sum(repeated)::int from microbatch.batch")
    good, exact = sum(kind is None for kind, _ in sent), sum(kind in counted for kind, _ in sent)
    assert total + left_out == 2 * (good + exact)
    check(world)


# -- across batches --------------------------------------------------------------------------------------------


def test_an_order_that_comes_later_corrects_its_minute_to_the_cent(five: Five) -> None:
    world = five("orders")
    world.send(value(order(amount=0.1)), value(order(amount="0.10")), value(order(country="FR")))
    world.run(minute=0)
    world.send(Message(value(order(amount=0.1)), at_s=T0 + 90))

    world.run(minute=1)

    rows = world.rows("select country, amount, orders, is_final, revision from processed_orders order by 1")
    assert rows == [("DE", Decimal("0.30"), 3, True, 2), ("FR", Decimal("1.07"), 1, True, 1)]
    assert [(m["country"], m["amount"]) for m in published(world, 1)] == [
        ("DE", "0.20"),
        ("DE", "0.30"),
        ("FR", "1.07"),
    ]
    check(world)


def test_the_mean_of_sales_is_divided_once_whatever_their_batches(five: Five) -> None:
    world = five("sales")
    world.send(value(sale(1)), value(sale(0)), value(sale(0)))
    world.run(minute=0)
    world.send(*(value(sale(0)) for _ in range(5)))

    world.run(minute=1)

    assert [m["mean_usd"] for m in published(world)] == ["0.33", "0.13"]
    assert world.rows("select amount_usd, sales, mean_usd from aggregated_sales") == [(1, 8, Decimal("0.13"))]
    check(world)


PAIRS: Final = "select first_value, first_offset, second_value, second_offset from number_pairs order by second_offset"


def test_numbers_find_their_partners_across_batches_and_a_restart(five: Five) -> None:
    world = five("number_pairs")
    world.send(*(value(number(n)) for n in (5, 6, 5, 0)))
    world.run(minute=0)
    assert world.rows(PAIRS) == []

    restarted = five("number_pairs")
    restarted.send(*(value(number(n)) for n in (7, 6, 6)))
    restarted.run(minute=1)

    assert world.rows(PAIRS) == [(5, 0, 7, 4), (6, 1, 6, 5)]
    waiting = world.rows("select value, source_offset from number_pairs_waiting order by source_offset")
    assert waiting == [(5, 2), (0, 3), (6, 6)]
    assert [(m["first_offset"], m["second_offset"]) for m in published(world)] == [(0, 4), (1, 5)]
    check(world)


def test_two_sums_are_two_pipelines_that_each_use_every_number(five: Five) -> None:
    twelve, ten = five("number_pairs"), five("number_pairs", NUMBER_PAIRS_SUM="10")
    twelve.send(*(value(number(n)) for n in (5, 7, 5)), b"corrupt")

    for world in (twelve, ten):
        world.run(minute=0)

    assert twelve.rows(PAIRS) == [(5, 0, 7, 1)]
    assert ten.rows(PAIRS.replace("number_pairs", "number_pairs_10")) == [(5, 0, 5, 2)]
    letters = sorted((letter.header("microbatch.pipeline") or "", letter.value) for letter in dead_letters(twelve))
    assert letters == [("number_pairs", b"corrupt"), ("number_pairs_10", b"corrupt")]
    for world in (twelve, ten):
        check(world)


def test_a_login_goes_on_with_its_batchs_time_in_table_and_topic(five: Five) -> None:
    world = five("logins")
    world.send(value(login()), value(login(device_type="web")), value(login(app_version="1.9.9")))

    world.run(minute=0)

    ((processed, in_utc),) = world.rows("select processed_time, timestamp_in_utc from processed_user_login")
    assert [(processed,)] == world.rows("select batch_time from microbatch.batch")
    assert in_utc == at(5)
    (message,) = published(world)
    assert message == {
        **login(),
        "timestamp": T0 + 5,
        "timestamp_in_utc": "2026-11-21T10:00:05Z",
        "processed_time": message["processed_time"],
    }
    assert datetime.fromisoformat(message["processed_time"]) == processed
    reasons = [letter.header("microbatch.reason") for letter in dead_letters(world)]
    assert reasons == ["unsupported device type", "app version is too old"]
    check(world)


def test_a_login_that_comes_late_corrects_the_count_of_its_device_type(five: Five) -> None:
    world = five("logins")
    world.send(value(login(1)), value(login(2, device_type="iOS")))
    world.run(minute=0)
    world.send(Message(value(login(3)), at_s=T0 + 90), Message(value(login(4, app_version="1.0")), at_s=T0 + 90))

    world.run(minute=1)

    rows = world.rows("select device_type, logins, is_final, revision from device_type_count order by 1")
    assert rows == [("android", 2, True, 2), ("iOS", 1, True, 1)]
    counts = [(m["device_type"], m["logins"], m["revision"]) for m in published(world, 1)]
    assert counts == [("android", 1, 1), ("android", 2, 2), ("iOS", 1, 1)]
    check(world)


def test_an_observation_polled_again_in_another_batch_is_a_repeat(five: Five) -> None:
    world = five("weather")
    world.send(value(observation()))
    world.run(minute=0)
    world.send(value(observation()), value(observation(dt=T0 + 120)))

    world.run(minute=1)

    assert world.rows("select dt from weather_observation order by 1") == [(at(0),), (at(120),)]
    assert world.rows("select messages, repeated from microbatch.batch order by batch_id") == [(1, 0), (2, 1)]
    assert len(published(world)) == 2
    check(world, settled=False)


def test_an_hour_of_weather_grows_with_each_run_and_is_final_once_it_has_closed(five: Five) -> None:
    world = five("weather")
    temperatures = {0: -3.25, 5: 0.5, 59: 1}
    for minute, temp in temperatures.items():
        main = {**observation()["main"], "temp": temp}
        world.send(Message(value(observation(dt=T0 + 60 * minute, main=main)), at_s=T0 + 60 * minute))
        world.run(minute)
        if minute == 5:
            world.run(minute=6)  # nothing new, no revision
    world.run(minute=60)

    names = ("observations", "temp_mean", "temp_min", "temp_max", "is_final", "revision")
    assert [tuple(m[name] for name in names) for m in published(world, 1)] == [
        (1, "-3.25", "-3.2500", "-3.2500", False, 1),
        (2, "-1.38", "-3.2500", "0.5000", False, 2),  # -1.375
        (3, "-0.58", "-3.2500", "1.0000", True, 3),
    ]
    rows = world.rows("select window_start, city, temp_mean, is_final, revision from weather_hourly")
    assert rows == [(at(0), "Helsinki", Decimal("-0.58"), True, 3)]
    check(world)
