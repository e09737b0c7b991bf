"""The views over a window's tables: results as of a time, where they come from, and what came late."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from fix_pipeline import T0, Message, World, sale
from microbatch import Max
from microbatch.errors import TableExistsError
from microbatch.window_views import VIEWS
from modes import at, reprocess, work
from outside import with_output

MINUTE = timedelta(minutes=1)


@pytest.fixture
def corrected(world: World) -> World:
    """The minutes from ten to two past: the first was corrected, by two messages that came 90 s and 30 s late."""
    world.send(Message(sale("ada", 3)), Message(sale("bob", 5), 1), Message(sale("ada", 4, T0 + 60), at_s=T0 + 60))
    world.run(1)
    late = [Message(sale("ada", 10), 1, at_s=T0 + 150), Message(sale("eve", 1), at_s=T0 + 90)]
    world.send(*late, Message(sale("eve", 2, T0 + 61), at_s=T0 + 119))
    world.run(2)
    return world


def merged(world: World) -> list[datetime]:
    """When each merge was."""
    return [moment for (moment,) in world.rows("select merged_at from microbatch.merge order by merge_id")]


def as_of(world: World, moment: Any) -> list[tuple[str, int, int]]:
    """Seller, amount and revision of the first minute's results at that time."""
    return world.rows(
        "select seller_id, amount_usd::int, revision from aggregated_sales_as_of(%s)"
        " where window_start = %s order by 1",
        moment,
        at(0),
    )


# -- late messages -----------------------------------------------------------------------------------------------


def test_late_messages_are_counted_by_the_window_that_they_belong_to(corrected: World) -> None:
    rows = corrected.rows(
        "select window_start, window_end, late_messages, latest, corrections from aggregated_sales_late"
    )

    # eve's first sale is a new result of a final minute: what was final is corrected for ada alone.
    assert rows == [(at(0), at(60), 2, timedelta(seconds=90), 1)]


def test_the_time_of_the_last_correction_is_that_of_its_merge(corrected: World) -> None:
    ((corrected_at,),) = corrected.rows("select corrected_at from aggregated_sales_late")

    assert corrected_at == merged(corrected)[-1]


def test_a_change_before_the_window_is_final_is_no_correction(world: World) -> None:
    world = with_output(world, emit="early")
    world.send(Message(sale("ada", 3)))
    world.run(-1)
    world.send(Message(sale("ada", 4)))

    world.run(0)

    assert world.results() == [(0, "ada", 7, 2, True, 2)]
    assert world.rows("select * from aggregated_sales_late") == []


def test_a_message_at_the_end_of_its_window_is_late_by_nothing(world: World) -> None:
    world.send(Message(sale("ada", 3), at_s=T0 + 60), Message(sale("bob", 3), at_s=T0 + 59.999))

    world.run(1)

    assert world.rows("select messages, lateness from microbatch.late") == [(1, timedelta(0))]


def test_what_is_a_dead_letter_for_being_late_is_not_counted(make_world: Callable[..., World]) -> None:
    world = make_world(allowed_lateness=timedelta(seconds=60))
    world.send(Message(sale("ada", 3), at_s=T0 + 100), Message(sale("bob", 3), at_s=T0 + 121))

    world.run(2)

    assert world.rows("select messages, lateness from microbatch.late") == [(1, timedelta(seconds=40))]
    assert world.rows("select reason from microbatch.reject") == [("late",)]


def test_a_redo_replaces_what_its_batch_counted_as_late(corrected: World) -> None:
    counted = corrected.rows("select * from microbatch.late order by batch_id")

    work(corrected, reprocess(0, 600))

    assert len(counted) == 1
    assert corrected.rows("select * from microbatch.late order by batch_id") == counted


def test_late_data_of_a_day_is_shown_by_pipeline_and_table(corrected: World) -> None:
    rows = corrected.rows("select pipeline, output, day, windows, messages, latest from microbatch.lateness")

    assert rows == [("sales", "public.aggregated_sales", at(0).date(), 1, 2, timedelta(seconds=90))]


# -- as of a time ------------------------------------------------------------------------------------------------


def test_results_are_shown_as_they_were_published_then(corrected: World) -> None:
    first, second = merged(corrected)

    assert as_of(corrected, first - timedelta(microseconds=1)) == []
    assert as_of(corrected, first) == [("ada", 3, 1), ("bob", 5, 1)]
    assert as_of(corrected, second) == [("ada", 13, 2), ("bob", 5, 1), ("eve", 1, 1)]


def test_results_as_of_now_are_the_results(corrected: World) -> None:
    rows = corrected.rows("select * from aggregated_sales_as_of(now()) order by 1, 3")

    assert rows == corrected.rows("select * from aggregated_sales order by 1, 3")
    assert len(rows) == 5


def test_a_result_that_was_retracted_is_shown_until_then(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    with psycopg.connect(world.connections.postgres) as owner:
        owner.execute("delete from aggregated_sales_contribution")
        owner.execute(
            "insert into microbatch.touched (pipeline_id, output, window_start)"
            " values (1, 'public.aggregated_sales', %s)",
            [at(0)],
        )
    world.run(1)

    published, retracted = merged(world)
    assert (as_of(world, published), as_of(world, retracted)) == ([("ada", 3, 1)], [])


def test_a_time_before_what_is_kept_of_the_history_is_an_error_that_names_it(corrected: World) -> None:
    first, second = merged(corrected)
    corrected.rows("update microbatch.pipeline set history_from = %s returning 1", second)

    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"superseded before {second:%Y-%m-%d %H:%M}"):
        # No row is looked at: also then it says so.
        corrected.rows("select * from aggregated_sales_as_of(%s) where amount_usd > 1000", first)

    assert len(as_of(corrected, second)) == 3


def test_a_measure_that_is_added_is_in_the_results_as_of_a_time(corrected: World) -> None:
    changed = with_output(corrected, measures={**corrected.pipeline.windows[0].measures, "largest": Max("amount_usd")})
    changed.send(Message(sale("ada", 7, T0 + 180), at_s=T0 + 180))

    changed.run(3)

    rows = changed.rows("select largest, sales from aggregated_sales_as_of(now()) where window_start = %s", at(180))
    assert rows == [(7, 1)]


# -- where results come from -------------------------------------------------------------------------------------

BATCHES = (
    "select seller_id, revision, batch_id, source_partition, lower(source_offsets), upper(source_offsets)"
    " from aggregated_sales_batch where window_start = %s and seller_id = 'ada' order by revision, batch_id, 4"
)


def test_a_revision_shows_the_offsets_that_it_comes_from(corrected: World) -> None:
    assert corrected.rows(BATCHES, at(0)) == [
        ("ada", 1, 1, 0, 0, 2),
        ("ada", 1, 1, 1, 0, 1),
        ("ada", 2, 1, 0, 0, 2),
        ("ada", 2, 1, 1, 0, 1),
        ("ada", 2, 2, 0, 2, 4),
        ("ada", 2, 2, 1, 1, 2),
    ]


def forget_batch_2(owner: psycopg.Connection) -> None:
    owner.execute("delete from microbatch.late")
    owner.execute("delete from microbatch.offset_range where batch_id = 2")
    owner.execute("delete from microbatch.batch where batch_id = 2")


def test_the_number_of_an_old_batch_leads_to_the_archive_that_stands_for_it(corrected: World) -> None:
    """As folding leaves it: the lowest number stands for all, with their offsets."""
    with psycopg.connect(corrected.connections.postgres) as owner:
        forget_batch_2(owner)
        owner.execute("update microbatch.offset_range set offsets = int8range(0, upper(offsets) + 2)")
        owner.execute(
            "update microbatch.batch"
            " set kind = 'archive', batch_ids = '[1,2]', runs = '{}', dag_id = null, run_id = null"
        )

    assert corrected.rows(BATCHES, at(0)) == [
        ("ada", 1, 1, 0, 0, 4),
        ("ada", 1, 1, 1, 0, 3),
        ("ada", 2, 1, 0, 0, 4),
        ("ada", 2, 1, 1, 0, 3),
    ]


def test_a_batch_that_is_not_on_record_is_not_taken_for_another(corrected: World) -> None:
    with psycopg.connect(corrected.connections.postgres) as owner:
        forget_batch_2(owner)

    rows = corrected.rows("select batch_id from aggregated_sales_batch where seller_id = 'eve'")
    assert rows == []


def test_results_of_two_generations_are_shown_as_mixed(corrected: World) -> None:
    assert corrected.rows("select * from aggregated_sales_mixed") == []

    corrected.rows("update microbatch.pipeline set generation = 2 returning 1")
    corrected.rows("update microbatch.batch set generation = 2 where batch_id = 2 returning 1")

    assert corrected.rows("select * from aggregated_sales_mixed") == [(at(0), "ada", 2, [1, 2])]


# -- pipelines that an earlier engine has registered ---------------------------------------------------------------


def forget_views(world: World) -> None:
    """Leave the pipeline as an engine without views has registered it."""
    with psycopg.connect(world.connections.postgres) as owner:
        owner.execute("drop function aggregated_sales_as_of")
        owner.execute("drop view aggregated_sales_batch, aggregated_sales_late, aggregated_sales_mixed")
        owner.execute("delete from microbatch.sink where name ~ '_(as_of|batch|late|mixed)$'")
        owner.execute("update microbatch.pipeline set views = 0")


def test_a_pipeline_that_was_registered_before_gets_the_views(corrected: World) -> None:
    forget_views(corrected)

    corrected.run(3)

    assert len(as_of(corrected, datetime.now(UTC))) == 3
    assert corrected.rows("select views from microbatch.pipeline") == [(VIEWS,)]


def test_a_table_of_somebody_else_that_has_the_name_of_a_view_is_left_alone(corrected: World) -> None:
    forget_views(corrected)
    with psycopg.connect(corrected.connections.postgres) as owner:
        owner.execute("create table aggregated_sales_late (mine int)")

    with pytest.raises(TableExistsError, match=r"public\.aggregated_sales_late"):
        corrected.run(3)


# -- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "relation", ["aggregated_sales_as_of(now())", "aggregated_sales_batch", "aggregated_sales_late"]
)
def test_a_condition_on_the_window_reaches_the_indexes(corrected: World, relation: str) -> None:
    with psycopg.connect(corrected.connections.postgres) as owner:
        owner.execute("set enable_seqscan = off")  # of three rows, all is the shortest way
        plan = owner.execute(
            f"explain (costs off) select * from {relation} where window_start = '2026-11-21T10:00Z'".encode()
        ).fetchall()

    text = "\n".join(line for (line,) in plan)
    found = re.findall(r"(?:Index|Recheck) Cond: \(.*window_start = ", text)
    assert (len(found) >= 1, "Seq Scan" in text, "CTE Scan" in text) == (True, False, False), text
    assert "Function Scan on aggregated_sales_as_of" not in text
