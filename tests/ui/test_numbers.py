"""The page of a number has what the ledger has: revisions, batches, ranges, and whether the parts sum up."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any

import psycopg
import pytest

from fix_late import LATE, begin_late
from fix_others import delete_messages
from fix_pipeline import T0, World, new_database, new_world, sale
from fix_stack import Stack
from fix_ui import OpenUi, Person
from microbatch import Count, EpochSeconds, Event, Max, Mean, Min, Scale, Sum, TumblingWindow
from microbatch.consume import consume
from microbatch.measures import AnyMeasure
from modes import reprocess, work
from outside import sink

ADA = "/microbatch/api/pipelines/sales/numbers/aggregated_sales"
TEN: dict[str, Any] = {"window": "2026-11-21T10:00:59.9Z", "key": "ada"}
OF_ADA = "seller_id = 'ada' and window_start = '2026-11-21 10:00Z'"

MakeWorld = Callable[..., World]


class Priced(Event):
    """Something that is sold at a price."""

    name: str
    price: Annotated[Decimal, Scale(2)]
    at: EpochSeconds


@pytest.fixture(scope="module")
def corrected(stack: Stack) -> Iterator[World]:
    """Ten o'clock's minute was final, and then corrected by two of three batches; nobody changes it."""
    with new_database(stack) as dsn:
        world = begin_late(new_world(stack, dsn, **LATE))
        world.run(1, "later")
        yield world


@pytest.fixture
def mine(make_world: MakeWorld) -> World:
    """The same, for a test that changes it."""
    world = begin_late(make_world(**LATE))
    world.run(1, "later")
    return world


def number(world: World, open_ui: OpenUi, **params: Any) -> dict[str, Any]:
    answer = open_ui(world.connections).get(ADA, params={**TEN, **params})
    assert answer.status_code == 200, answer.json()
    found: dict[str, Any] = answer.json()
    return found


def test_revisions_are_those_of_the_history(corrected: World, open_ui: OpenUi) -> None:
    found = number(corrected, open_ui)

    assert (found["table"], found["key"]) == ("aggregated_sales", {"seller_id": "ada"})
    assert found["window"] == ["2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"]
    first, second = corrected.rows(f"select batches from aggregated_sales_history where {OF_ADA} order by revision")
    told = [
        (each["revision"], each["numbers"], each["is_correction"], each["new_batches"], each["run_id"])
        for each in found["revisions"]
    ]
    assert told == [
        (1, {"amount_usd": "7", "sales": 2}, False, first[0], "first"),
        (2, {"amount_usd": "37", "sales": 4}, True, sorted({*second[0]} - {*first[0]}), "later"),
    ]
    assert [each["valid_to"] for each in found["revisions"]] == [found["revisions"][1]["valid_from"], None]


def test_batches_have_their_ranges_and_what_they_contribute(corrected: World, open_ui: OpenUi) -> None:
    found = number(corrected, open_ui)

    told = [
        (batch["batch_id"], each["partition"], each["start"], each["end"])
        for batch in found["batches"]
        for each in batch["ranges"]
    ]
    ids = [batch["batch_id"] for batch in found["batches"]]
    assert told == corrected.rows(
        "select batch_id, partition, lower(offsets), upper(offsets) from microbatch.offset_range"
        " where batch_id = any(%s) order by 1, 2, 3",
        ids,
    )
    assert [
        (batch["batch_id"], int(batch["contribution"]["amount_usd"])) for batch in found["batches"]
    ] == corrected.rows(
        f"select batch_id, amount_usd::int from aggregated_sales_contribution where {OF_ADA} order by 1"
    )
    assert [batch["revisions"] for batch in found["batches"]] == [[1, 2], [2], [2]]
    assert found["check"] == {
        "agrees": True,
        "totals": {"amount_usd": "37", "sales": 4},
        "waiting": [],
        "redone": [],
    }


def test_every_measure_is_summed_up_as_a_merge_does(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(max_records=2)
    source = world.pipeline.source
    measures: dict[str, AnyMeasure] = {
        "n": Count(),
        "s": Sum("price"),
        "mean": Mean("price", scale=3),
        "least": Min("price"),
        "last": Max("at"),
    }
    world = world.replace(
        source=type(source)(source.name, Priced, event_time="at", partitions=2),
        outputs=[TumblingWindow("1 minute", by=["name", "price"], measures=measures, to=[sink(world, "p")])],
    )
    priced = json.dumps({"name": "a 'b", "price": "-1.50", "at": T0}).encode()
    world.send(*[priced] * 5)
    world.run(0)

    path = f"/microbatch/api/pipelines/sales/numbers/{source.name}-p"
    params = {"window": "2026-11-21T10:00", "key": ["a 'b", "-1.5"]}
    found = open_ui(world.connections).get(path, params=params).json()

    assert len(found["batches"]) == 3
    assert found["schema"] == "microbatch_topic"
    assert found["check"]["agrees"] is True
    assert found["check"]["totals"] == {
        "n": 5,
        "s": "-7.50",
        "mean": "-1.500",
        "least": "-1.50",
        "last": "2026-11-21T10:00:00Z",
    }


def test_what_was_read_and_is_not_merged_yet_is_named(mine: World, open_ui: OpenUi) -> None:
    mine.send(sale("ada", 100))
    consume(mine.pipeline, 0, mine.run_of(1, "half"), mine.connections)

    found = number(mine, open_ui)

    ((newest,),) = mine.rows("select max(batch_id) from microbatch.batch")
    assert found["check"] == {
        "agrees": False,
        "totals": {"amount_usd": "137", "sales": 5},
        "waiting": [newest],
        "redone": [],
    }
    assert found["batches"][-1]["revisions"] == []


def test_a_batch_that_was_redone_is_named(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    work(world, reprocess(0, 60, "again"))

    found = number(world, open_ui)

    assert found["check"] == {"agrees": True, "totals": {"amount_usd": "3", "sales": 1}, "waiting": [], "redone": [1]}
    assert found["batches"][0]["redo_run_id"] == "again"


def test_parts_that_do_not_sum_up_are_seen(mine: World, open_ui: OpenUi) -> None:
    with psycopg.connect(mine.connections.postgres) as owner:
        owner.execute(f"update aggregated_sales_contribution set amount_usd = 8 where {OF_ADA} and batch_id = 1")

    check = number(mine, open_ui)["check"]

    assert (check["agrees"], check["waiting"], check["redone"]) == (False, [], [])
    assert check["totals"]["amount_usd"] == "38"


def test_a_window_that_is_not_published_yet_shows_what_will_be_summed(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3))
    world.run(-1)

    found = number(world, open_ui)

    assert (found["revisions"], found["check"]) == ([], None)
    assert found["batches"][0]["contribution"] == {"amount_usd": "3", "amount_usd__count": 1, "sales": 1}


def test_what_retention_has_deleted_is_said(mine: World, open_ui: OpenUi) -> None:
    delete_messages(mine, 0, below=2)

    answer = open_ui(mine.connections).get(f"{ADA}/messages", params=TEN).json()

    assert answer["topic"] == mine.pipeline.source.name
    ranges = mine.rows(
        "select batch_id, partition, lower(offsets), upper(offsets) from microbatch.offset_range"
        f" where batch_id in (select batch_id from aggregated_sales_contribution where {OF_ADA}) order by 1, 2, 3"
    )
    assert [tuple(each.values()) for each in answer["ranges"]] == [
        (*each, each[3] if each[1:] == (0, 0, 2) else each[2]) for each in ranges
    ]
    assert (1, 0, 0, 2) in ranges


def test_messages_need_the_right_to_topics_and_the_number_does_not(corrected: World, open_ui: OpenUi) -> None:
    client = open_ui(corrected.connections, Person("eve", reads_data=False))

    assert client.get(ADA, params=TEN).status_code == 200
    assert client.get(f"{ADA}/messages", params=TEN).status_code == 403


@pytest.mark.parametrize(
    ("path", "params", "status", "told"),
    [
        ("sales/numbers/nothing", {}, 404, "aggregated_sales"),
        ("others/numbers/aggregated_sales", {}, 404, "There is no pipeline 'others'"),
        ("sales/numbers/aggregated_sales", {"key": "zoe"}, 404, "that window has the keys 'ada'"),
        (
            "sales/numbers/aggregated_sales",
            {"window": "2026-11-21T12:00Z"},
            404,
            "that key has windows at 2026-11-21T10:01:00Z",
        ),
        ("sales/numbers/aggregated_sales", {"key": ["ada", "bob"]}, 404, "a key is seller_id (text)"),
        ("sales/numbers/aggregated_sales", {"key": "a\0"}, 404, "a key is seller_id (text)"),
        ("sales/numbers/aggregated_sales", {"window": "noon"}, 422, "window"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    corrected: World, open_ui: OpenUi, path: str, params: dict[str, Any], status: int, told: str
) -> None:
    answer = open_ui(corrected.connections).get(f"/microbatch/api/pipelines/{path}", params={**TEN, **params})

    assert answer.status_code == status
    assert told in str(answer.json()["detail"])


def test_numbers_of_a_pipeline_that_a_person_may_not_see_are_not_there(corrected: World, open_ui: OpenUi) -> None:
    client = open_ui(corrected.connections, Person(dags=frozenset({"others"})))

    assert client.get(ADA, params=TEN).status_code == 404
    assert client.get(f"{ADA}/messages", params=TEN).status_code == 404
