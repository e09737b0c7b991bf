"""Tables that an operator has partitioned: what docs/scaling.md says of it, by its own statements."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from child import LONG_AFTER
from fix_child import check
from fix_pipeline import T0, Message, World, sale
from microbatch import Keep, PostgresTable, Stream
from microbatch.maintaining import maintain
from microbatch.topics import create_topics
from modes import reprocess, work
from outside import sink

DAY = timedelta(days=1)
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
MakeWorld = Callable[..., World]


def statements(heading: str) -> str:
    """The SQL below a heading of the page."""
    _, _, section = PAGE.read_text().partition(f"\n### {heading}\n")
    assert section, heading
    return section.partition("```sql\n")[2].partition("```")[0]


def execute(world: World, text: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute(text.encode())


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Sales as rows and in windows, with two minutes of them; the second corrects the first."""
    plain = make_world(keep=Keep(contributions=DAY, history=DAY, rows=DAY))
    columns = {"seller_id": "seller_id", "amount_usd": "amount_usd"}
    stream = Stream(columns=columns, to=[PostgresTable("sale"), sink(plain, "rows")])
    world = plain.replace(outputs=[stream, *plain.pipeline.outputs])
    create_topics([world.pipeline], world.connections)
    for minute in range(2):
        sell(world, minute)
    return world


def sell(world: World, minute: int) -> None:
    """A minute with one late sale, and its run."""
    moment = T0 + 60 * minute
    late = Message(sale("ada", 5, T0), 1, at_s=moment)
    world.send(*(Message(sale("bob", n, moment), n % 2, at_s=moment) for n in range(4)), late)
    world.run(minute)


def test_results_and_history_that_are_partitioned_by_time_go_on(world: World) -> None:
    """With a boundary in the middle of what is sent here."""
    execute(world, statements("Results by time").replace("2026-12-01 00:00+00", "2026-11-21 10:30+00"))

    sell(world, 40)
    work(world, reprocess(0, 60))

    placed = (
        "select tableoid::regclass::text, count(*) from aggregated_sales_history group by 1"
        " union all select tableoid::regclass::text, count(*) from aggregated_sales group by 1 order by 1"
    )
    assert world.rows(placed) == [
        ("aggregated_sales_2026_12", 1),
        ("aggregated_sales_history_2026_12", 1),
        ("aggregated_sales_history_older", 5),
        ("aggregated_sales_older", 3),
    ]
    same = "select window_start, seller_id, amount_usd, revision from "
    assert sorted(world.rows(f"{same} aggregated_sales_as_of(now())")) == sorted(world.rows(f"{same} aggregated_sales"))
    assert maintain("sales", world.connections, LONG_AFTER).revisions > 0
    sell(world, 41)
    check(world)


def test_rows_that_are_partitioned_by_the_partition_of_the_topic_go_on_and_are_pruned(world: World) -> None:
    execute(world, statements("Rows of a stream"))
    sell(world, 2)
    work(world, reprocess(0, 60))
    check(world)

    assert maintain("sales", world.connections, LONG_AFTER).rows == 15

    assert world.rows("select count(*) from sale") == [(0,)]
    sell(world, 3)
    check(world)


def test_pruning_takes_no_rows_that_are_at_the_same_places_of_other_partitions(world: World) -> None:
    """The archive keeps only what was read of one partition, as if the other one's were of a younger day."""
    execute(world, statements("Rows of a stream"))
    execute(world, "update microbatch.pipeline set keep_rows = null")
    maintain("sales", world.connections, LONG_AFTER)
    execute(world, "update microbatch.pipeline set keep_rows = interval '1 day'")
    execute(world, "delete from microbatch.offset_range where partition = 1")
    younger = "select source_partition, source_offset from sale where source_partition = 1 order by 2"
    before = world.rows(younger)

    maintain("sales", world.connections, LONG_AFTER)

    assert world.rows("select count(*) from sale where source_partition = 0") == [(0,)]
    assert world.rows(younger) == before
