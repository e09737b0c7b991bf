"""Folding and pruning: what is old takes less room, can be redone no more, and says the same as before."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from child import LONG_AFTER
from fix_child import Children, check, look
from fix_cli import Command
from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack
from microbatch import Count, Event, KafkaTopic, Keep, Max, Mean, Min, Pairs, PostgresTable, Stream, Sum
from microbatch.clock import Clock
from microbatch.columntypes import ColumnType
from microbatch.errors import BatchArchivedError, NotRegisteredError
from microbatch.maintaining import Maintained, maintain, registered
from microbatch.measures import AnyMeasure
from microbatch.runs import Run
from microbatch.topics import create_topics
from modes import at, consume_all, of_interval, reprocess, work

MakeWorld = Callable[..., World]
DAY = timedelta(days=1)


def old(world: World) -> Maintained:
    """Maintain the world when all that it has is old."""
    return maintain("sales", world.connections, LONG_AFTER)


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute(statement.encode())


def three_batches(world: World) -> World:
    """Three runs of a batch each, a minute apart, each with a correction to the first minute; a reject in the first."""
    for number in range(3):
        world.send(
            Message(sale("ada", 10**number, T0 + 60 * number), at_s=T0 + 60 * number),
            Message(sale("bob", 1, T0), 1, at_s=T0 + 60 * number),
        )
        if number == 0:
            world.send(b"junk", None)
        world.run(number, f"run {number}")
    return world


@pytest.fixture
def done(world: World) -> World:
    """Three batches, all published."""
    return three_batches(world)


def batches(world: World) -> list[tuple[Any, ...]]:
    """Number, kind, and of archives the numbers that they stand for."""
    return world.rows(
        "select batch_id, kind, lower(batch_ids), upper(batch_ids) - 1 from microbatch.batch order by batch_id"
    )


def published(world: World) -> list[Any]:
    """Results and their history, as readers see them; and how far everything is covered and closed."""
    return [
        world.rows(
            "select window_start, seller_id, amount_usd, sales, is_final, revision from aggregated_sales order by 1, 2"
        ),
        world.rows(
            "select window_start, seller_id, revision, amount_usd, sales, is_final, retracted"
            " from aggregated_sales_history order by 1, 2, 3"
        ),
        world.rows(
            "select partition, covered_until, complete_from::text from microbatch.partition_progress order by 1"
        ),
        world.rows("select partition, start_offset, end_offset from microbatch.gap order by 1, 2"),
    ]


# -- folding -----------------------------------------------------------------------------------------------


def test_old_batches_become_one_archive_and_nothing_that_was_published_changes(done: World) -> None:
    before = published(done)

    maintained = old(done)

    assert maintained.describe().startswith("sales: 3 batches folded into 1 archives, 0 revisions, 0 rows and ")
    assert batches(done) == [(1, "archive", 1, 3)]
    assert done.rows("select messages, rejected, runs, attempt, dag_id from microbatch.batch") == [
        (8, 1, ["sales run 0", "sales run 1", "sales run 2"], 1, None)
    ]
    assert done.rows(
        "select partition, lower(offsets), upper(offsets), messages, rejected from microbatch.offset_range"
    ) == [
        (0, 0, 5, 5, 1),
        (1, 0, 3, 3, 0),
    ]
    assert done.rows(
        "select batch_id, seller_id, amount_usd, amount_usd__count, sales from aggregated_sales_contribution"
        " order by window_start, 2"
    ) == [(1, "ada", 1, 1, 1), (1, "bob", 3, 3, 3), (1, "ada", 10, 1, 1), (1, "ada", 100, 1, 1)]
    assert done.rows("select batch_id, reason like 'JSON%%' from microbatch.reject") == [(1, True)]
    assert published(done) == before


def test_what_is_an_archive_already_stays_as_it_is(done: World) -> None:
    old(done)

    assert "0 batches folded into 0 archives" in old(done).describe()


def test_data_that_comes_late_corrects_what_was_archived(done: World) -> None:
    old(done)
    done.send(Message(sale("bob", 7, T0)), Message(sale("new", 5, T0), 1))

    _, published = done.run(3)

    assert (published.revisions, published.corrections) == (2, 1)
    assert [row for row in done.results() if row[0] == 0] == [
        (0, "ada", 1, 1, True, 1),
        (0, "bob", 10, 4, True, 4),
        (0, "new", 5, 1, True, 1),
    ]


def test_the_audit_takes_archives_on_trust_and_counts_the_rest(done: World) -> None:
    old(done)
    done.send(Message(sale("bob", 7, T0)))
    done.run(3)

    report = check(done)

    assert {(part.why, part.batches) for part in report.on_trust} == {
        ("it was archived: single batches are not known any more", (1,))
    }
    assert sum(part.end - part.start for part in report.on_trust) == 8
    assert report.messages == 1


def test_the_days_of_a_pipeline_are_archived_one_by_one_and_what_is_young_is_not(done: World) -> None:
    execute(done, "update microbatch.batch set batch_time = batch_time - interval '2 days' where batch_id = 1")

    maintain("sales", done.connections, Clock().now() + 89 * DAY)
    assert batches(done) == [(1, "archive", 1, 1), (2, "catch up", None, None), (3, "catch up", None, None)]

    old(done)
    assert batches(done) == [(1, "archive", 1, 1), (2, "archive", 2, 3)]


def test_archives_of_one_day_that_were_made_one_after_the_other_become_one(done: World) -> None:
    old(done)
    done.send(sale("eve"))
    done.run(3, "run 3")

    old(done)

    assert batches(done) == [(1, "archive", 1, 4)]
    assert done.rows("select runs[4] from microbatch.batch") == [("sales run 3",)]
    check_coverage(done)


def check_coverage(world: World) -> None:
    """One range covers each partition, from 0 to where it is covered."""
    assert world.rows(
        "select bool_and(r.offsets = int8range(0, g.covered_until)) from microbatch.offset_range as r"
        " join microbatch.partition_progress as g using (partition)"
    ) == [(True,)]


@pytest.mark.parametrize(
    "keeps_apart",
    [
        "update microbatch.batch set kind = 'loss', messages = 0, decision_id = 1 where batch_id = 2",
        "update microbatch.batch set definition_hash = 'other' where batch_id = 2",
        "update microbatch.batch set generation = 7 where batch_id = 2",
        "insert into microbatch.touched (pipeline_id, output, batch_id, window_start) values (1, 'x', 2, now())",
        (
            "insert into microbatch.outbox_segment (pipeline_id, batch_id, topic_id, partition, start_offset, messages,"
            " payload) select 1, 2, gen_random_uuid(), 0, 0, 1, ''"
        ),
        "update microbatch.offset_range set topic_id = gen_random_uuid() where batch_id = 2 and partition = 0",
    ],
    ids=["loss", "definition", "generation", "touched", "segment", "two logs"],
)
def test_what_does_not_belong_together_is_not_put_together(done: World, keeps_apart: str) -> None:
    execute(
        done,
        "insert into microbatch.decision (pipeline_id, kind, details, reason, decided_by)"
        " values (1, 'accept-loss', '{}', 'a test', 'somebody')",
    )
    execute(done, keeps_apart)

    old(done)

    assert [row for row in batches(done) if row[0] != 2] == [(1, "archive", 1, 1), (3, "archive", 3, 3)]


def test_what_other_pipelines_read_between_two_batches_does_not_keep_them_apart(done: World) -> None:
    execute(done, "select setval(pg_get_serial_sequence('microbatch.batch', 'batch_id'), 1000)")
    done.send(sale("eve"))
    done.run(3)

    old(done)

    assert batches(done) == [(1, "archive", 1, 1001)]


def test_late_data_of_an_archive_is_that_of_its_batches(done: World) -> None:
    before = done.rows(
        "select output, window_start, sum(messages), max(lateness) from microbatch.late group by 1, 2 order by 2"
    )

    old(done)

    assert done.rows("select output, window_start, messages, lateness from microbatch.late order by 2") == before
    assert done.rows("select distinct batch_id from microbatch.late") == [(1,)]


def test_rejects_of_an_archive_can_be_redriven(world: World, command: Command) -> None:
    """The dead letter names the batch of then."""
    world.send(sale("ada"))
    world.run(0)
    world.send(b"junk", sale("ada", 2))
    world.run(1)
    old(world)

    redriven = command(world, "redrive", "sales", "--yes", "--reason", "a test")

    assert redriven.exit_code == 0, redriven.output
    assert world.rows('select "offset" from microbatch.redriven') == [(1,)]


class Number(Event):
    """A number."""

    number: int


def test_events_that_wait_for_a_partner_keep_their_order(make_world: MakeWorld) -> None:
    made = make_world(1)
    source = msgspec.structs.replace(made.pipeline.source, event=Number, event_time=None)
    world = made.replace(source=source, outputs=[Pairs("number", 12, to=[PostgresTable("pairs")])])
    for minute in range(3):
        # The later a message was booked, the earlier is its timestamp.
        world.send(Message(b'{"number": 5}', at_s=T0 - minute))
        world.run(minute)
    old(world)
    world.send(Message(b'{"number": 7}'), Message(b'{"number": 7}'))

    world.run(3)

    assert world.rows("select first_offset, first_batch_id, second_offset, batch_id from pairs order by 3") == [
        (0, 1, 3, 4),
        (1, 2, 4, 4),
    ]
    assert world.rows("select source_offset from pairs_waiting") == [(2,)]
    check(world)


def test_a_pipeline_that_nobody_knows_is_named(done: World) -> None:
    with pytest.raises(NotRegisteredError, match="registered there: sales"):
        maintain("sails", done.connections, LONG_AFTER)

    assert registered(done.connections) == ["sales"]


def test_what_is_declared_last_counts(done: World) -> None:
    done.replace(keep=Keep(contributions=None)).run(3)

    assert "0 batches folded" in old(done).describe()


# -- archives cannot be redone ------------------------------------------------------------------------------


def attempts(world: World) -> list[tuple[int, int]]:
    return world.rows("select batch_id, attempt from microbatch.batch order by 1")


@pytest.fixture
def partly(done: World) -> World:
    """The first two batches are an archive, the third is young."""
    execute(
        done,
        "update microbatch.batch set batch_time = batch_time - interval '50 days',"
        " committed_at = committed_at - interval '50 days' where batch_id < 3",
    )
    maintain("sales", done.connections, Clock().now() + 45 * DAY)
    assert [row[:2] for row in batches(done)] == [(1, "archive"), (3, "catch up")]
    return done


def test_reprocessing_an_archive_is_refused_before_anything_is_redone(done: World) -> None:
    """A batch before it that was not archived could be redone."""
    execute(done, "update microbatch.batch set batch_time = batch_time - interval '50 days' where batch_id = 2")
    maintain("sales", done.connections, Clock().now() + 45 * DAY)

    refused = r"a batch of these offsets cannot be redone: it is in the archive of batches 2 to 2, read from 20\S+Z to"
    with pytest.raises(BatchArchivedError, match=refused):
        consume_all(done, reprocess(0, 180))

    assert [row[:2] for row in batches(done)] == [(1, "catch up"), (2, "archive"), (3, "catch up")]
    assert attempts(done) == [(1, 1), (2, 1), (3, 1)]


def test_batches_after_the_archive_can_be_redone(partly: World) -> None:
    before = published(partly)

    work(partly, reprocess(120, 180))

    assert attempts(partly) == [(1, 1), (3, 2)]
    assert published(partly) == before


@pytest.mark.parametrize("is_kept", [True, False], ids=["", "and forgotten"])
def test_a_cleared_run_whose_batch_is_archived_is_refused(partly: World, is_kept: bool) -> None:
    if not is_kept:
        execute(partly, "delete from microbatch.run")

    with pytest.raises(
        BatchArchivedError, match="run run 1 of sales cannot be redone: it is in the archive of batches 1"
    ):
        consume_all(partly, Run("sales", "run 1", 1, interval=(at(60), at(120))))

    assert attempts(partly) == [(1, 1), (3, 1)]


def test_a_cleared_run_whose_batch_is_young_is_redone(partly: World) -> None:
    work(partly, Run("sales", "run 2", 1, interval=(at(120), at(180))))

    assert attempts(partly) == [(1, 1), (3, 2)]


def test_an_interval_that_archives_cover_is_covered(partly: World) -> None:
    (consumed,), _ = work(partly, of_interval(0, 180))

    assert "all of the interval was read before, by batches 1, 3" in consumed.describe()


def test_explain_names_the_archive(partly: World, command: Command, tmp_path: Path) -> None:
    explained = command(partly, "explain", "aggregated_sales", "bob", "--window", "2026-11-21T10:00:00Z")

    assert explained.exit_code == 0, explained.output
    assert "revision 3: final, a correction" in explained.output
    assert "sums 3 batches; new: 3" in explained.output
    lines = [line for line in explained.output.splitlines() if "1..2" in line]
    assert ["amount_usd 2" in line and "1 to 3" in line and "archived: single batches" in line for line in lines] == [
        True
    ]


# -- pruning -----------------------------------------------------------------------------------------------


def test_superseded_revisions_are_pruned_and_numbers_go_on(done: World) -> None:
    kept = done.replace(keep=Keep(contributions=DAY, history=DAY))
    kept.run(3)

    maintained = old(kept)

    assert maintained.revisions == 2
    assert kept.rows("select seller_id, revision from aggregated_sales_history order by window_start, 1") == [
        ("ada", 1),
        ("bob", 3),
        ("ada", 1),
        ("ada", 1),
    ]
    assert kept.rows("select history_from from microbatch.pipeline") == [(LONG_AFTER - DAY,)]
    kept.send(sale("bob", 5))
    kept.run(4)
    assert (0, "bob", 8, 4, True, 4) in kept.results()
    check(kept)


def test_what_was_superseded_lately_is_kept(done: World) -> None:
    kept = done.replace(keep=Keep(contributions=DAY, history=30 * DAY))
    kept.run(3)

    maintained = maintain("sales", kept.connections, Clock().now() + 29 * DAY)

    assert maintained.revisions == 0
    assert kept.rows("select count(*) from aggregated_sales_history") == [(6,)]


def test_a_retraction_stays_for_what_comes_back_is_numbered_after_it(done: World, children: Children) -> None:
    """As after a rebuild that rejects all that a key had."""
    execute(done, "delete from aggregated_sales_contribution where seller_id = 'bob'")
    execute(
        done,
        "insert into microbatch.touched (pipeline_id, output, window_start)"
        " select 1, 'public.aggregated_sales', min(window_start) from aggregated_sales",
    )
    kept = done.replace(keep=Keep(contributions=DAY, history=DAY))
    kept.run(3)

    old(kept)

    assert kept.rows("select revision, retracted from aggregated_sales_history where seller_id = 'bob'") == [(4, True)]


def test_records_of_runs_and_failures_go_with_the_batches_and_merges_with_their_revisions(done: World) -> None:
    execute(
        done,
        "insert into microbatch.failure (pipeline_id, shard, ranges, messages, rejected, error)"
        " values (1, 0, '[]', 0, 0, 'x')",
    )
    kept = done.replace(keep=Keep(contributions=DAY, history=DAY))
    kept.run(3)

    maintained = old(kept)

    assert maintained.records == 4 + 1
    assert kept.rows("select (select count(*) from microbatch.run), (select count(*) from microbatch.failure)") == [
        (0, 0)
    ]
    named = "select distinct merge_id from aggregated_sales_history order by 1"
    assert kept.rows("select merge_id from microbatch.merge order by 1") == kept.rows(named)


def stream_of(world: World, **kept: Any) -> World:
    """The world with a table of its sales, one of a seller, and no windows."""
    stream = Stream(unique=["seller_id"], to=[PostgresTable("rows")])
    return world.replace(outputs=[stream], keep=Keep(**kept))


def test_rows_of_archives_are_pruned_and_what_was_first_stays_first(make_world: MakeWorld) -> None:
    world = stream_of(make_world(), contributions=2 * DAY, rows=3 * DAY)
    world.send(sale("ada"), Message(sale("bob"), 1))
    world.run(0)
    execute(world, "update microbatch.batch set batch_time = batch_time - interval '10 days'")
    world.send(sale("eve"))
    world.run(1)

    maintained = maintain("sales", world.connections, Clock().now())

    assert maintained.rows == 2
    assert world.rows("select seller_id from rows") == [("eve",)]
    world.send(sale("ada", 2))
    world.run(2)
    assert world.rows("select seller_id from rows") == [("eve",)]
    assert world.rows("select count(*) from rows_key") == [(3,)]
    check(world)


def test_rows_of_a_batch_that_could_be_redone_stay(make_world: MakeWorld) -> None:
    """Whatever keeps it from being archived: a redo would bring them back."""
    world = stream_of(make_world(), contributions=DAY, rows=DAY)
    world.send(sale("ada"))
    world.run(0)
    execute(
        world, "insert into microbatch.touched (pipeline_id, output, batch_id, window_start) values (1, 'x', 1, now())"
    )

    assert old(world).rows == 0
    assert world.rows("select seller_id from rows") == [("ada",)]


# -- totals ------------------------------------------------------------------------------------------------

MEASURES: list[AnyMeasure] = [Sum("a"), Min("a"), Max("a"), Mean("a", scale=2), Count()]
MONEY = ColumnType("DECIMAL(17,2)")
VALUES = st.none() | st.integers(-(10**15), 10**15).map(lambda cents: Decimal(cents).scaleb(-2))
# What a batch contributes: None, if its definition did not have the measure yet; else the values that it has read.
BATCHES = st.lists(st.tuples(st.none() | st.lists(VALUES, min_size=1, max_size=4), st.integers(0, 2)), min_size=1)


@pytest.fixture(scope="module")
def postgres(stack: Stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.owner_dsn) as connection:
        yield connection


@pytest.mark.parametrize("measure", MEASURES, ids=str)
@given(BATCHES)
def test_folded_partial_values_give_the_total_that_the_batches_gave(
    postgres: psycopg.Connection, measure: AnyMeasure, contributed: list[tuple[list[Decimal | None] | None, int]]
) -> None:
    """However batches are grouped into archives."""
    partials = measure.partials("a", MONEY)
    names = [f"p{number}" for number in range(len(partials))]
    columns = ", ".join(f"{name} {each.kind}" for name, each in zip(names, partials, strict=True))
    folded = ", ".join(f"{each.folded(name)} as {name}" for name, each in zip(names, partials, strict=True))
    total = measure.total(names, MONEY)
    rows = [
        {"archive": archive, **dict(zip(names, partial_values(measure, values), strict=True))}
        for values, archive in contributed
    ]
    query = f"""
        with batch as (select * from jsonb_to_recordset(%s) as t (archive int, {columns})),
        archive as (select {folded} from batch group by archive)
        select (select {total} from batch), (select {total} from archive)
    """

    found = postgres.execute(query.encode(), [Jsonb(rows, dumps=partial(json.dumps, default=str))]).fetchone()

    assert found is not None
    assert found[0] == found[1]


def partial_values(measure: AnyMeasure, values: list[Decimal | None] | None) -> list[Any]:
    """What a batch stores for a measure over some values."""
    if values is None:
        return [None] * measure.partial_count
    if isinstance(measure, Count):
        return [len(values)]
    there = [value for value in values if value is not None]
    put_together = {Min: min, Max: max}.get(type(measure), sum)
    return [put_together(there) if there else None, len(there)]


# -- random histories ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_pipeline_that_folds_now_and_then_publishes_what_its_twin_publishes(stack: Stack, start: str) -> None:
    """History in any order, late data and holes: folding changes no number, no revision and no gap."""
    chance = random.Random(start)  # noqa: S311 - a history, not a secret
    with new_database(stack) as dsn, new_database(stack) as other:
        folds = new_world(stack, dsn, max_records=3, start=start)
        worlds = folds, twin_of(folds, other)
        folds.send(*(random_sale(chance, 0) for _ in range(4)))
        for world in worlds:
            world.run(0)
        for step, minute in enumerate(chance.sample(range(1, 9), 8)):
            folds.send(*(random_sale(chance, minute) for _ in range(6)))
            an_interval = of_interval(60 * minute, 60 * (minute + 1), f"step {step}")
            for run in chance.choice([[], [an_interval], [folds.run_of(minute)]]):
                for world in worlds:
                    work(world, run)
            before = published(folds)
            if chance.random() < 0.5:
                old(folds)
            assert published(folds) == before
        for world in worlds:
            work(world, of_interval(0, 600, "all of it"))
        twin = worlds[1]
        assert published(folds) == published(twin)
        assert batches(folds)[0][1] == "archive"
        assert len(batches(folds)) < len(batches(twin)) > 10
        assert any(row[2] > 1 for row in published(folds)[1])
        assert look(folds, settled=False).ok
        check(twin, settled=False)


def twin_of(world: World, dsn: str) -> World:
    """A pipeline over the same source, in a database of its own and with topics of its own."""
    output = world.pipeline.outputs[0]
    own = [
        msgspec.structs.replace(sink, name=f"twin-{sink.name}") if isinstance(sink, KafkaTopic) else sink
        for sink in output.to
    ]
    letters = KafkaTopic(f"twin-{world.pipeline.source.name}-dlq")
    twin = world.replace(outputs=[msgspec.structs.replace(output, to=own)], dead_letters=letters)
    at_home = msgspec.structs.replace(
        world.connections, postgres=dsn, deployment=f"{world.connections.deployment}-twin"
    )
    create_topics([twin.pipeline], at_home)
    return msgspec.structs.replace(twin, connections=at_home)


def random_sale(chance: random.Random, minute: int) -> Message:
    """A sale of that minute or of one before it, sent in it; now and then something else."""
    second = 60 * minute + chance.randrange(50)
    value = sale(chance.choice(["ada", "bob"]), chance.randrange(100), T0 + second - 60 * chance.randrange(3))
    return Message(value if chance.random() < 0.9 else b"junk", chance.randrange(2), at_s=T0 + second)
