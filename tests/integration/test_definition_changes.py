"""A definition that changes under a live pipeline: what is added, what is refused, and who may still write."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from fix_child import check, wait_for, waiting
from fix_pipeline import T0, World, sale
from microbatch import Count, KafkaTopic, Max, Min, Sum
from microbatch.claiming import lock_batch
from microbatch.errors import DefinitionChangedError, OldDefinitionError
from microbatch.measures import AnyMeasure
from microbatch.postgres import connect
from microbatch.publish import publish
from microbatch.registration import Registration
from microbatch.registration import register as register_pipeline
from modes import reprocess, work
from outside import with_output

MakeWorld = Callable[..., World]


def register(world: World) -> Registration:
    with connect(world.connections.postgres, "test") as connection:
        return register_pipeline(world.pipeline, world.connections, connection)


def with_measures(world: World, **more: AnyMeasure) -> World:
    """The same pipeline, with more measures."""
    return with_output(world, measures={"amount_usd": Sum("amount_usd"), "sales": Count(), **more})


def columns(world: World, table: str) -> list[str]:
    query = "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum"
    return [name for (name,) in world.rows(query, table)]


# -- what is added -----------------------------------------------------------------------------------------


def test_a_measure_that_is_added_gets_its_columns_and_takes_the_place_of_the_definition(world: World) -> None:
    before = register(world)

    after = register(with_measures(world, largest=Max("amount_usd")))

    assert after.definition_hash != before.definition_hash
    assert after.pipeline_id == before.pipeline_id
    assert "largest" in columns(world, "aggregated_sales")
    assert "largest" in columns(world, "aggregated_sales_history")
    assert {"largest", "largest__count"} <= set(columns(world, "aggregated_sales_contribution"))
    assert world.rows(
        "select definition_hash, definition #> '{outputs,0,measures}' ? 'largest' from microbatch.pipeline"
    ) == [(after.definition_hash, True)]


def test_an_added_measure_counts_from_then_on_and_is_null_before(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(minute=0)
    wider = with_measures(world, largest=Max("amount_usd"))
    wider.send(sale("ada", 5, T0 + 60))

    wider.run(minute=1)

    rows = "select window_start = to_timestamp(%s), amount_usd, largest, revision from aggregated_sales order by 2"
    assert wider.rows(rows, T0) == [(True, 3, None, 1), (False, 5, 5, 1)]
    check(wider)


def test_reprocessing_fills_an_added_measure_in(world: World) -> None:
    world.send(sale("ada", 3), sale("ada", 4))
    world.run(minute=0)
    wider = with_measures(world, largest=Max("amount_usd"))

    work(wider, reprocess(0, 60))

    assert wider.rows("select amount_usd, largest, revision from aggregated_sales") == [(7, 4, 2)]
    assert wider.rows(
        "select b.definition_hash = p.definition_hash from microbatch.batch as b, microbatch.pipeline p"
    ) == [(True,)]
    check(wider)


def test_the_same_definition_changes_nothing(world: World) -> None:
    first = register(world)

    assert register(world) == first
    assert register(world.replace(shards=2, max_records=5, description="Other words.")) == first


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"size": "2 minutes"}, "outputs.0.size_s: 60 -> 120"),
        ({"by": []}, "outputs.0.by"),
        ({"measures": {"sales": Count()}}, "outputs.0.measures.amount_usd"),
        ({"measures": {"amount_usd": Min("amount_usd"), "sales": Count()}}, "outputs.0.measures.amount_usd.measure"),
    ],
    ids=["size", "key", "measure-gone", "measure-changed"],
)
def test_any_other_change_is_refused_with_two_ways_out(world: World, change: dict[str, Any], differs: str) -> None:
    before = register(world)

    with pytest.raises(DefinitionChangedError) as caught:
        register(with_output(world, **change))

    assert differs in str(caught.value)
    assert str(caught.value).endswith("Undo that, or give the changed pipeline another name and sinks of its own")
    assert world.rows("select definition_hash from microbatch.pipeline") == [(before.definition_hash,)]
    assert register(world) == before


def test_an_addition_beside_another_change_is_refused_whole(world: World) -> None:
    register(world)
    both = with_measures(world, largest=Max("amount_usd")).replace(dead_letters=KafkaTopic("elsewhere"))

    with pytest.raises(DefinitionChangedError):
        register(both)

    assert "largest" not in columns(world, "aggregated_sales")


# -- who may still write -----------------------------------------------------------------------------------


def test_a_task_from_before_the_change_may_not_write(world: World) -> None:
    world.send(sale("ada", 3))
    old = register(world)
    register(with_measures(world, largest=Max("amount_usd")))

    with (
        connect(world.connections.postgres, "test") as connection,
        pytest.raises(
            OldDefinitionError, match=rf"definition {old.definition_hash[:12]}, the ledger has [0-9a-f]+; it"
        ),
        connection.transaction(),
    ):
        lock_batch(connection, world.pipeline, old, 0)
    with pytest.raises(DefinitionChangedError, match="largest"):
        world.run(minute=0)
    with pytest.raises(DefinitionChangedError, match="largest"):
        publish(world.pipeline, world.run_of(0), world.connections)
    assert world.rows("select count(*) from microbatch.batch") == [(0,)]


def test_a_change_waits_for_a_batch_in_progress(world: World) -> None:
    old = register(world)
    wider = with_measures(world, largest=Max("amount_usd"))
    changed: list[Registration] = []

    with connect(world.connections.postgres, "test") as connection, connection.transaction():
        lock_batch(connection, world.pipeline, old, 0)
        changing = threading.Thread(target=lambda: changed.append(register(wider)))
        changing.start()
        wait_for("the change waits", lambda: waiting(world) == ["advisory"])
        time.sleep(0.1)
        still = list(changed)
        assert connection.execute("select definition_hash from microbatch.pipeline").fetchone() == (
            old.definition_hash,
        )
    changing.join(120)

    assert (still, len(changed)) == ([], 1)
    assert changed[0].definition_hash != old.definition_hash


def test_processes_that_make_the_same_change_at_once_agree(world: World) -> None:
    register(world)
    wider = with_measures(world, largest=Max("amount_usd"))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: register(wider), range(4)))

    assert len({each.definition_hash for each in found}) == 1
    assert found[0] == register(wider)


def test_of_processes_that_make_different_changes_at_once_one_is_refused(world: World) -> None:
    register(world)
    changes = [with_measures(world, largest=Max("amount_usd")), with_measures(world, smallest=Min("amount_usd"))]

    def outcome(changed: World) -> str:
        try:
            return register(changed).definition_hash
        except DefinitionChangedError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(outcome, changes))

    accepted = [each for each in found if each != "refused"]
    assert len(accepted) == 1
    assert world.rows("select definition_hash from microbatch.pipeline") == [(accepted[0],)]
    there = {"largest", "smallest"} & set(columns(world, "aggregated_sales"))
    assert len(there) == 1, "what was refused has added nothing"


def test_a_change_that_fails_leaves_nothing(world: World) -> None:
    before = register(world)
    execute(world, "alter table aggregated_sales_history rename to somewhere_else")

    with pytest.raises(psycopg.errors.UndefinedTable):
        register(with_measures(world, largest=Max("amount_usd")))

    assert "largest" not in columns(world, "aggregated_sales")
    assert world.rows("select definition_hash from microbatch.pipeline") == [(before.definition_hash,)]


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute(statement.encode())
