"""A plan says what the run then does."""

import json
from datetime import UTC, datetime

import pytest

from fix_pipeline import T0, Message, World, sale
from fix_ui import OpenUi, Person
from microbatch.runs import Run

PLAN = "/microbatch/api/pipelines/sales/plan"


def at(second: int) -> str:
    return datetime.fromtimestamp(T0 + second, UTC).isoformat()


def sell(world: World, *seconds: int) -> None:
    world.send(*(Message(sale(at=T0 + second), partition=second % 2, at_s=T0 + second) for second in seconds))


def test_catching_up_is_planned_as_it_is_done(world: World, open_ui: OpenUi) -> None:
    sell(world, 0, 1)
    world.run()
    sell(world, 61, 62, 63)

    planned = open_ui(world.connections).get(PLAN, params={"mode": "catch up"}).json()
    consumed, _ = world.run(minute=1)

    done = [item for summary in consumed for batch in summary.batches for item in batch.ranges]
    assert planned["messages"] == 3
    assert [(r["partition"], r["start"], r["end"]) for r in planned["reads"]] == [
        (item.partition, item.start, item.end) for item in done
    ]
    assert planned["redoes"] == []


def test_an_interval_is_planned_without_what_was_read(world: World, open_ui: OpenUi) -> None:
    sell(world, 0, 1)
    world.run()
    sell(world, 61, 62, 125)

    asked = {"mode": "interval", "from": at(0), "to": at(120)}
    planned = open_ui(world.connections).get(PLAN, params=asked).json()

    assert planned["messages"] == 2
    assert planned["refused"] is None


def test_reprocessing_is_planned_as_it_is_done(world: World, open_ui: OpenUi) -> None:
    for minute in range(3):
        sell(world, 60 * minute, 60 * minute + 1)
        world.run(minute)
    interval = (datetime.fromtimestamp(T0 + 60, UTC), datetime.fromtimestamp(T0 + 120, UTC))

    asked = {"mode": "reprocess", "from": interval[0].isoformat(), "to": interval[1].isoformat()}
    planned = open_ui(world.connections).get(PLAN, params=asked).json()
    consumed, _ = world.run_as(Run("sales", "again", 0, "reprocess", interval))

    done = [batch for summary in consumed for batch in summary.batches]
    assert len(done) == 1
    assert [each["batch_id"] for each in planned["redoes"]] == [batch.batch_id for batch in done]
    assert (planned["batches"], planned["messages"]) == (1, sum(batch.messages for batch in done))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"mode": "reprocess"}, "from"),
        ({"mode": "reprocess", "from": "yesterday", "to": at(0)}, "yesterday"),
        ({"mode": "sleep"}, "choose one of"),
        ({"mode": "catch up", "from": at(0)}, "leave it out"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    world: World, open_ui: OpenUi, params: dict[str, str], told: str
) -> None:
    world.run()

    answer = open_ui(world.connections).get(PLAN, params=params)

    assert answer.status_code == 400
    assert told in json.loads(answer.text)["detail"]


def test_only_who_may_start_runs_sees_plans_and_only_of_visible_pipelines(world: World, open_ui: OpenUi) -> None:
    world.run()
    params = {"mode": "catch up"}

    assert open_ui(world.connections, Person(may_trigger=False)).get(PLAN, params=params).status_code == 403
    assert open_ui(world.connections, Person(dags=frozenset({"orders"}))).get(PLAN, params=params).status_code == 404
