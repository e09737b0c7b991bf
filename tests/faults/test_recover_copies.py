"""`microbatch recover` after Postgres was restored from a copy, or made anew: it learns from Kafka what was sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from fix_child import Children, check, wait_for
from fix_cli import Command
from fix_late import LATE, MESSAGES, RESULTS, begin_late
from fix_others import delete_offsets, sent
from fix_pipeline import T0, World, new_database, sale
from fix_recover import POINTS, WHY, revisions, stopped
from fix_stack import Stack
from microbatch import Pairs, PostgresTable, Stream
from microbatch.settings import Connections
from outside import dead_letters, on_topic, published, sink


class Copies:
    """Copies of a world's database, as a dump and its restoring would give."""

    def __init__(self, stack: Stack, world: World) -> None:
        self._stack = stack
        self._name = str(conninfo_to_dict(world.connections.postgres)["dbname"])
        self._copy = f"{self._name}_copy"

    def take(self) -> None:
        """Keep the database as it is now."""
        self._replace(self._copy, self._name)

    def restore(self) -> None:
        """Put back what was kept."""
        self._replace(self._name, self._copy)

    def drop(self) -> None:
        """Keep nothing."""
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self._copy)))

    def _replace(self, old: str, new: str) -> None:
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(old)))
        # Sessions of processes that were killed end a moment later.
        wait_for("the database is left alone", lambda: not self._sessions(new))
        statement = sql.SQL("create database {} template {} owner microbatch")
        self._execute(statement.format(sql.Identifier(old), sql.Identifier(new)))

    def _sessions(self, name: str) -> list[Any]:
        with psycopg.connect(self._stack.admin_dsn) as admin:
            return admin.execute("select from pg_stat_activity where datname = %s", (name,)).fetchall()

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._stack.admin_dsn, autocommit=True) as admin:
            admin.execute(statement)


@contextmanager
def copies_of(stack: Stack, world: World) -> Iterator[Copies]:
    copies = Copies(stack, world)
    yield copies
    copies.drop()


@pytest.mark.parametrize("point", ["", "publish.after_merge", "publish.after_intent", "publish.after_kafka_commit"])
def test_a_ledger_from_before_learns_what_was_sent_and_runs_go_on(
    late: World, stack: Stack, children: Children, command: Command, point: str
) -> None:
    """The copy was made before the run, or in the middle of its publish."""
    run = late.run_of(1, "first time")
    if point:
        assert children.start(late, run, crash=point).died_by_kill()
    with copies_of(stack, late) as copies:
        copies.take()
        children.succeed(late, run)
        late.send(sale("ada", 100), sale("dan", 1, T0 + 60), b"junk")
        late.run(2)
        copies.restore()
    late.send(sale("ada", 1000))
    stopped(late, minute=3)
    before = sent(late)

    done = command(late, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    assert sent(late) == before
    late.run(3)
    assert late.results()[0] == (0, "ada", 1137, 6, True, 4)
    assert revisions(late, "ada") == [(7, 1), (37, 2), (137, 3), (1137, 4)]
    assert len(dead_letters(late)) == 4
    assert check(late).messages == MESSAGES + 4


@pytest.fixture
def older(late: World, stack: Stack) -> World:
    """The copy is from before the second run, and has read what that had; its publish was stopped."""
    with copies_of(stack, late) as copies:
        copies.take()
        late.run(1)
        copies.restore()
    stopped(late)
    return late


@pytest.mark.parametrize("point", POINTS)
def test_an_adoption_that_is_killed_is_finished_by_the_next(
    older: World, children: Children, command: Command, point: str
) -> None:
    before = sent(older)
    assert children.start(older, older.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(older, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    assert ("nothing to recover" in done.output) == (point in ("recover.after_commit", "recover.after_cursor"))
    older.run(1)
    assert older.results() == RESULTS
    assert sent(older) == before
    assert check(older).messages == MESSAGES


def test_a_lost_cursor_beside_an_older_copy_is_recovered_too(older: World, command: Command) -> None:
    delete_offsets(older)
    stopped(older)

    command(older, "recover", "sales", *WHY)

    older.run(1)
    assert check(older).messages == MESSAGES


def test_a_ledger_that_has_counted_less_counts_on_first(late: World, stack: Stack, command: Command) -> None:
    with copies_of(stack, late) as copies:
        copies.take()
        late.run(1)
        copies.restore()

    early = command(late, "recover", "sales", *WHY)

    assert early.exit_code == 1
    assert "has counted less than what was published" in early.output
    stopped(late)
    command(late, "recover", "sales", *WHY)
    late.run(1)
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("has_counted", [True, False])
def test_rows_that_were_sent_are_stored_and_not_sent_again(
    make_world: Callable[..., World], stack: Stack, command: Command, has_counted: bool
) -> None:
    """Those that wait in the outbox; and without the group's positions, those of batches that are still to come."""
    world = make_world(**LATE)
    rows = Stream(columns={"amount": "amount_usd"}, to=[PostgresTable("passed"), sink(world, "passed")])
    world = world.replace(outputs=[rows, *world.pipeline.outputs])
    begin_late(world)
    with copies_of(stack, world) as copies:
        copies.take()
        world.run(1)
        copies.restore()
    if has_counted:
        stopped(world)
    else:
        delete_offsets(world)
    world.send(sale("ada", 1000))
    before = len(published(world))

    done = command(world, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    world.run(2)
    assert len(published(world)) == before + 1 == len(world.rows("select from passed"))
    assert check(world).messages == MESSAGES + 1


@pytest.mark.parametrize("what", ["pairs", "unique"])
def test_what_depends_on_the_order_of_batches_is_not_adopted(
    world: World, stack: Stack, command: Command, what: str
) -> None:
    output = Pairs("amount_usd", sum=12, to=[sink(world, "pairs")]) if what == "pairs" else Stream(unique=["seller_id"])
    world = world.replace(outputs=[output, *world.pipeline.outputs])
    world.run(0)
    with copies_of(stack, world) as copies:
        copies.take()
        world.send(sale("ada", 3), sale("bob", 9))
        world.run(1)
        copies.restore()
    stopped(world)

    done = command(world, "recover", "sales", *WHY)

    assert done.exit_code == 1
    assert "cannot be recovered like this" in done.output
    assert world.rows("select * from microbatch.decision") == []


@pytest.mark.parametrize("is_decided", [False, True])
def test_dead_letters_that_went_to_their_topic_again_do_not_go_there_twice(
    late: World, stack: Stack, command: Command, is_decided: bool
) -> None:
    """The copy was made before or after somebody decided that, and before it was done."""
    late.run(1)
    with copies_of(stack, late) as copies:
        if not is_decided:
            copies.take()
        assert command(late, "redrive", "sales", *WHY).exit_code == 0
        if is_decided:
            copies.take()
        late.run(2)
        copies.restore()
    stopped(late, minute=2)

    done = command(late, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    late.run(2)
    late.run(3)
    assert len(on_topic(late, late.pipeline.source.name)) == MESSAGES + 3
    assert late.rows("select count(*) from microbatch.redriven") == [(3,)]
    assert check(late).messages == MESSAGES + 3


# -- another ledger ----------------------------------------------------------------------------------------


@pytest.fixture
def anew(late: World, stack: Stack) -> Iterator[World]:
    """Postgres was made anew, after two runs; its first publish was stopped."""
    late.run(1)
    with new_database(stack) as dsn:
        other = World(late.pipeline, Connections(late.connections.kafka, dsn, late.connections.deployment))
        stopped(other)
        yield other


@pytest.mark.parametrize("point", ["", "recover.after_commit"])
def test_a_ledger_made_anew_learns_what_the_other_had_sent(
    anew: World, children: Children, command: Command, point: str
) -> None:
    before = sent(anew)
    if point:
        assert children.start(anew, anew.run_of(1), task="recover", crash=point).died_by_kill()

    done = command(anew, "recover", "sales", *WHY)

    assert done.exit_code == 0, done.output
    anew.run(1)
    assert anew.results() == RESULTS
    assert sent(anew) == before
    anew.send(sale("ada", 1000))
    anew.run(2)
    assert revisions(anew, "ada") == [(7, 1), (37, 2), (1037, 3)]
    assert len(dead_letters(anew)) == 3
    assert check(anew).messages == MESSAGES + 1


def test_a_second_deployment_is_told_so_and_harms_nobody(late: World, stack: Stack, command: Command) -> None:
    with new_database(stack) as dsn:
        other = World(late.pipeline, Connections(late.connections.kafka, dsn, late.connections.deployment))
        stopped(other)

        said = command(other, "recover", "sales")

        assert said.exit_code == 1
        assert "MICROBATCH_DEPLOYMENT" in said.output
    late.run(1)
    assert check(late).messages == MESSAGES


def test_the_ledger_that_was_taken_for_lost_is_stopped(anew: World, late: World, command: Command) -> None:
    """Somebody said yes by mistake, or the old server is back: it sends nothing."""
    command(anew, "recover", "sales", *WHY)
    anew.run(1)
    before = sent(late)

    late.send(sale("ada", 1000))
    stopped(late, minute=2)

    assert sent(late) == before
