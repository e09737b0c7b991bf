"""Result tables and topics: any names, any keys, exact numbers."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest

from fix_pipeline import T0, Message, World, sale
from fix_stack import Stack
from microbatch import Count, Event, KafkaTopic, PostgresTable, Sum, TumblingWindow
from microbatch.event import FIRST_S, LAST_S
from microbatch.settings import Connections
from outside import published, sink, with_output

MakeWorld = Callable[..., World]
LARGEST = 2**63 - 1


def test_without_keys_a_window_has_one_result(world: World) -> None:
    world = with_output(world, by=[])
    world.send(sale("ada", 3), sale("bob", 4))

    world.run(minute=0)

    assert world.rows("select amount_usd, sales, revision from aggregated_sales") == [(7, 2, 1)]
    assert [(m["amount_usd"], "seller_id" in m) for m in published(world)] == [(7, False)]


def test_a_key_of_several_fields_is_a_primary_key(world: World) -> None:
    world = with_output(world, by=["seller_id", "amount_usd"], measures={"sales": Count()})
    world.send(sale("ada", 3), sale("ada", 4), sale("ada", 3))

    world.run(minute=0)

    rows = world.rows("select seller_id, amount_usd, sales from aggregated_sales order by 2")
    assert rows == [("ada", 3, 2), ("ada", 4, 1)]
    assert [(m["amount_usd"], m["sales"]) for m in published(world)] == [(3, 2), (4, 1)]


def test_two_outputs_of_one_source_have_their_own_tables_and_topics(world: World) -> None:
    hourly = TumblingWindow(
        "1 hour", by=[], measures={"number": Count()}, to=[PostgresTable("hourly"), sink(world, "hourly")]
    )
    world = world.replace(outputs=[*world.pipeline.outputs, hourly])
    world.send(sale("ada", 3), sale("bob", 4, T0 + 60), sale("ada", 5, T0 + 3599))

    world.run(minute=0)
    after_a_minute = world.rows("select number from hourly")
    world.run(minute=59)

    assert after_a_minute == []
    assert world.rows("select number, is_final from hourly") == [(3, True)]
    assert [row[:3] for row in world.results()] == [(0, "ada", 3), (1, "bob", 4), (59, "ada", 5)]
    assert [m["number"] for m in published(world, output=1)] == [3]
    assert len(published(world, output=0)) == 3


def test_an_output_without_a_topic_sends_nothing(world: World) -> None:
    world = with_output(world, to=[PostgresTable("aggregated_sales")])
    world.send(sale("ada", 3))

    _, summary = world.run(minute=0)

    assert (summary.revisions, summary.sent) == (1, 0)
    assert world.results() == [(0, "ada", 3, 1, True, 1)]
    assert world.rows("select count(*) from microbatch.outbox_segment") == [(0,)]


def test_sums_beyond_64_bits_are_exact_in_table_and_topic(make_world: MakeWorld) -> None:
    world = make_world(max_records=2)
    world.send(*(sale("ada", LARGEST) for _ in range(3)), *(sale("bob", -LARGEST - 1) for _ in range(3)))

    world.run(minute=0)

    assert [row[1:3] for row in world.results()] == [("ada", 3 * LARGEST), ("bob", -3 * 2**63)]
    assert [m["amount_usd"] for m in published(world)] == [3 * LARGEST, -3 * 2**63]


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        (-1, "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"),
        (-61, "1969-12-31T23:58:00Z", "1969-12-31T23:59:00Z"),
        (FIRST_S, "0001-01-08T00:00:00Z", "0001-01-08T00:01:00Z"),
    ],
)
def test_times_long_ago_have_their_windows(world: World, at: int, start: str, end: str) -> None:
    world.send(sale("ada", 3, at))

    world.run(minute=0)

    assert [(m["window_start"], m["window_end"], m["is_final"]) for m in published(world)] == [(start, end, True)]


def test_a_time_in_the_far_future_is_counted_and_stays_open(make_world: MakeWorld) -> None:
    world = make_world(max_future=timedelta(days=3_000_000))
    world.send(sale("ada", 3, LAST_S), sale("ada", 4))

    world.run(minute=0)

    assert world.results() == [(0, "ada", 4, 1, True, 1)]
    assert world.rows("select max(window_start)::text from aggregated_sales_contribution") == [
        ("9999-12-23 23:59:00+00",)
    ]


def test_texts_arrive_as_they_were(world: World) -> None:
    sellers = ["", " ", "é", "e\u0301", "O'Hara", '"', "\\N", "a\tb\nc", "😀", "\x7f\u2028", "x" * 1000]
    world.send(*(sale(seller) for seller in sellers))

    world.run(minute=0)

    assert sorted(row[1] for row in world.results()) == sorted(sellers)
    assert sorted(m["seller_id"] for m in published(world)) == sorted(sellers)


NAMES = ['a "quoted" name', "select", "Mixed Case of {all}", "it's ünïcödé; --"]


@pytest.mark.parametrize("name", NAMES)
def test_awkward_names_work_from_end_to_end(world: World, name: str) -> None:
    measures: dict[str, Sum | Count] = {f"{name} sum": Sum("amount_usd"), name: Count()}
    world = with_output(world, measures=measures, to=[PostgresTable(name), sink(world, "results")])
    world.send(sale("ada", 3))
    world.run(minute=0)
    world.send(sale("ada", 4))

    world.run(minute=1)

    quoted = psycopg.sql.Identifier
    query = psycopg.sql.SQL("select {}, {} from {}").format(quoted(f"{name} sum"), quoted(name), quoted(name))
    with psycopg.connect(world.connections.postgres) as connection:
        assert connection.execute(query.as_bytes()).fetchall() == [(7, 2)]
    assert [(m[f"{name} sum"], m[name]) for m in published(world)] == [(3, 1), (7, 2)]


class Select(Event):
    """Fields that are key words of SQL, and two that differ only by case."""

    group: str
    Group: str
    order: int


def test_fields_may_be_key_words_and_differ_only_by_case(make_world: MakeWorld) -> None:
    world = make_world()
    source = KafkaTopic(world.pipeline.source.name, Select)
    output = TumblingWindow(
        "1 minute",
        by=["group", "Group"],
        measures={"table": Sum("order"), "Table": Count()},
        to=[PostgresTable("where"), sink(world, "where")],
    )
    world = world.replace(source=source, outputs=[output])
    world.send(b'{"group": "a", "Group": "b", "order": 5}', b'{"group": "a", "Group": "c", "order": 7}')

    world.run(minute=0)

    rows = world.rows('select "group", "Group", "table", "Table" from "where" order by 2')
    assert rows == [("a", "b", 5, 1), ("a", "c", 7, 1)]
    assert [(m["Group"], m["table"], m["Table"]) for m in published(world)] == [("b", 5, 1), ("c", 7, 1)]


@pytest.mark.parametrize("letter", ["t", "ü"])
def test_the_longest_names_work(world: World, letter: str) -> None:
    """PostgreSQL keeps 63 bytes of a name; the table's has 13 less, for those of its two companions."""
    table, column = letter * (50 // len(letter.encode())), "ü" * 31 + "x"
    world = with_output(world, measures={column: Count()}, to=[PostgresTable(table)])
    world.send(sale("ada", 3))

    world.run(minute=0)

    assert world.rows(f'select "{column}" from {table}_history') == [(1,)]
    assert world.rows(f'select "{column}" from {table}_contribution') == [(1,)]


@pytest.fixture
def in_the_warehouse(make_world: MakeWorld, stack: Stack) -> Iterator[World]:
    """A world in the database that the stack sets up for its users; the other tests' have no reading role."""
    made = make_world()
    connections = Connections(made.connections.kafka, stack.owner_dsn, made.connections.deployment)
    yield with_output(World(made.pipeline, connections), to=[PostgresTable('Read "me"')])
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("drop schema microbatch cascade")
        owner.execute('drop table "Read ""me""", "Read ""me""_contribution", "Read ""me""_history"')


def test_the_reading_role_reads_results_and_the_ledger(in_the_warehouse: World, stack: Stack) -> None:
    in_the_warehouse.send(sale("ada", 3))

    in_the_warehouse.run(minute=0)

    with psycopg.connect(stack.reader_dsn) as reader:
        assert reader.execute('select amount_usd from "Read ""me"""').fetchall() == [(3,)]
        assert reader.execute('select amount_usd from "Read ""me""_history"').fetchall() == [(3,)]
        assert reader.execute("select last_error from microbatch.freshness").fetchall() == [(None,)]


def test_many_results_of_one_window_are_all_published(world: World) -> None:
    world.send(*(Message(sale(f"seller {n}", n), partition=n % 2) for n in range(12_000)))

    _, summary = world.run(minute=0)

    assert (summary.revisions, summary.sent) == (12_000, 12_000)
    assert sum(m["amount_usd"] for m in published(world)) == 12_000 * 11_999 // 2
