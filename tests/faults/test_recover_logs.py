"""`microbatch recover` where the source is another log: what was counted stays, what is new is added, once each."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from fix_child import Children, check
from fix_cli import Command
from fix_late import LATER, RESULTS
from fix_others import cursor, recreate_source
from fix_pipeline import T0, Message, World, sale
from fix_recover import WHY, revisions, stopped
from microbatch import PostgresTable, Stream
from microbatch.crash import CrashPoint
from microbatch.errors import (
    BatchRetiredError,
    OtherClusterError,
    TopicRecreatedError,
    TopicTruncatedError,
)
from microbatch.runs import Run
from microbatch.settings import Connections
from microbatch.topics import create_topics
from modes import at
from outside import dead_letters, published
from own_stack import own_kafka

FIRST_RESULTS: Final = [(0, "ada", 7, 2, True, 1), (0, "bob", 5, 1, True, 1)]


def at_rest(world: World) -> bool:
    """Nothing waits, no gap, and the group has the ledger's cursor and positions."""
    waiting = world.rows(
        "select (select count(*) from microbatch.outbox_segment), (select count(*) from microbatch.touched),"
        " (select count(*) from microbatch.gap), (select count(*) from microbatch.publisher"
        " where cursor <> last_publication or intent is not null)"
    )
    (marked, position) = world.rows(
        "select p.cursor, g.covered_until from microbatch.publisher as p"
        " join microbatch.partition_progress as g using (pipeline_id) where partition = 0 and retired_by is null"
    )[0]
    found = cursor(world)
    return (waiting, found.offset) == ([(0, 0, 0, 0)], position) and f'"publication":{marked}}}' in found.metadata


def ranges(world: World) -> list[tuple[Any, ...]]:
    """The ranges of logs that are read no more, and of the one that is read."""
    return world.rows(
        "select g.retired_by is not null, r.partition, lower(r.offsets), upper(r.offsets)"
        " from microbatch.offset_range as r"
        " join microbatch.partition_progress as g using (pipeline_id, topic_id, partition)"
        " order by 1 desc, 2, 3"
    )


# -- the source was deleted and created anew ---------------------------------------------------------------


@pytest.fixture
def recreated(late: World) -> World:
    """Three messages of the first minute are counted, then nine were lost with the topic, for nobody had read them."""
    with psycopg.connect(late.connections.postgres) as connection:
        # A run that looked at them and was killed before its first batch.
        connection.execute("update microbatch.partition_progress set looked_at_end = covered_until + 4")
    recreate_source(late)
    late.send(sale("ada", 100), sale("dan", 1, T0 + 60), b"junk", Message(sale("bob", 1), 1))
    return late


@pytest.mark.parametrize("point", ["", "recover.before_commit", "recover.after_commit"])
def test_a_new_topic_is_counted_beside_what_the_old_one_gave(
    recreated: World, children: Children, command: Command, point: CrashPoint
) -> None:
    words = stopped(recreated, TopicRecreatedError)
    if point:
        assert children.start(recreated, recreated.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(recreated, *words, *WHY)

    assert done.exit_code == 0, done.output
    if not point:
        assert f"4 of {recreated.pipeline.source.name}[0]" in done.output
    recreated.run(1)
    assert recreated.results() == [
        (0, "ada", 107, 3, True, 2),
        (0, "bob", 6, 2, True, 2),
        (1, "dan", 1, 1, True, 1),
    ]
    assert revisions(recreated, "ada") == [(7, 1), (107, 2)]
    assert [letter.header("microbatch.offset") for letter in dead_letters(recreated)] == ["1", "2"]
    assert ranges(recreated) == [
        *((True, partition, 0, end) for partition, end in ((0, 2), (1, 2), (2, 1))),
        *((False, partition, 0, end) for partition, end in ((0, 3), (1, 1))),
    ]
    assert at_rest(recreated)
    check(recreated)


def test_what_waits_for_a_gap_of_a_retired_log_is_sent_without_it(late: World, command: Command) -> None:
    """An interval was read above messages that nobody has read: they never will be."""
    late.send(Message(b"junk", 0, at_s=T0 + 600))
    interval = Run("sales", "interval", mode="interval", interval=(at(600), at(660)))
    late.run_as(interval)
    assert late.rows("select count(*) from microbatch.outbox_segment where number is null") == [(1,)]
    recreate_source(late)

    command(late, *stopped(late, TopicRecreatedError), *WHY)

    late.send(b"junk of the new one")
    late.run(2)
    assert [letter.value for letter in dead_letters(late)] == [b"junk", b"junk", b"junk of the new one"]
    assert at_rest(late)
    check(late)


def test_a_batch_of_a_retired_log_cannot_be_redone(recreated: World, command: Command) -> None:
    command(recreated, "recover", "sales", *WHY)
    recreated.run(1)
    before = recreated.results()

    with pytest.raises(BatchRetiredError, match="cannot be redone"):
        recreated.run_as(Run("sales", "first", clear_number=1, interval=recreated.run_of(0).interval))

    assert recreated.results() == before


def test_rows_that_are_known_by_their_offsets_keep_a_pipeline_from_another_log(world: World, command: Command) -> None:
    world = world.replace(outputs=[Stream(to=[PostgresTable("passed")]), *world.pipeline.outputs])
    world.send(sale("ada", 3))
    world.run(0)
    recreate_source(world)

    done = command(world, *stopped(world, TopicRecreatedError), *WHY)

    assert done.exit_code == 1
    assert "rows of passed are known by their partition and offset" in done.output
    assert world.rows("select * from microbatch.decision") == []


# -- the log was cut ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["", "recover.after_commit"])
def test_after_a_truncated_log_new_messages_count_at_offsets_that_were_counted(
    late: World, children: Children, command: Command, point: CrashPoint
) -> None:
    """The broker cannot be made to cut a log: the ledger is made to have counted more than there is."""
    with psycopg.connect(late.connections.postgres) as connection:
        connection.execute("update microbatch.offset_range set offsets = '[0, 99)' where partition = 0")
        connection.execute("update microbatch.partition_progress set covered_until = 99 where partition = 0")
    words, end = stopped(late, TopicTruncatedError), 6
    if point:
        assert children.start(late, late.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(late, *words, *WHY)

    assert done.exit_code == 0, done.output
    late.send(Message(sale("ada", 1000), 0))
    late.run(1)
    assert ranges(late)[:1] == [(True, 0, 0, 99)]
    assert (False, 0, end, end + 1) in ranges(late)
    # Partition 0's messages of the second run were written where others had been counted.
    assert late.results()[0] == (0, "ada", 1027, 4, True, 2)
    assert at_rest(late)
    check(late)


# -- another Kafka -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def another_kafka() -> Iterator[str]:
    """A Kafka with nothing in it; its bootstrap.servers."""
    with own_kafka() as bootstrap:
        yield bootstrap


@pytest.fixture
def moved(late: World, another_kafka: str) -> World:
    """The first minute was counted and published on a Kafka that is no more; the new one has a source of that name."""
    ours = late.connections
    moved = World(late.pipeline, Connections({"bootstrap.servers": another_kafka}, ours.postgres, ours.deployment))
    create_topics([moved.pipeline], moved.connections)
    moved.send(*LATER)
    return moved


@pytest.mark.parametrize("point", ["", "recover.before_commit", "recover.after_commit"])
def test_another_kafka_gets_the_results_that_there_are_and_runs_go_on(
    moved: World, children: Children, command: Command, point: CrashPoint
) -> None:
    words = stopped(moved, OtherClusterError)
    if point:
        assert children.start(moved, moved.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(moved, *words, *WHY)

    assert done.exit_code == 0, done.output
    moved.run(1)
    assert moved.results() == RESULTS
    assert revisions(moved, "ada") == [(7, 1), (37, 2)]
    assert len(published(moved)) == len(FIRST_RESULTS) + len(RESULTS)
    assert len(dead_letters(moved)) == 2
    assert at_rest(moved)
    check(moved)


def test_a_pipeline_that_comes_back_to_its_old_kafka_goes_on_where_it_was(
    moved: World, late: World, command: Command
) -> None:
    command(moved, *stopped(moved, OtherClusterError), *WHY)
    moved.run(1)
    late.send(sale("ada", 1000))

    command(late, *stopped(late, OtherClusterError, 2), *WHY)

    late.run(2)
    assert late.results()[0][:4] == (0, "ada", 37 + 30 + 1000, 4 + 2 + 1)
    assert at_rest(late)
    check(late)
