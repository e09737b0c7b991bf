"""PostgreSQL has no connection, no room, no time or no lock left: the work fails whole, says so, and later succeeds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from fix_child import check, wait_for
from fix_late import MESSAGES, RESULTS
from fix_pipeline import World, sale
from fix_stack import Stack
from microbatch.errors import PostgresRefusesError, PostgresUnreachableError

PUBLISHED = "aggregated_sales_history"
CONTRIBUTED = "aggregated_sales_contribution"


@contextmanager
def used_up(world: World, stack: Stack) -> Iterator[None]:
    """All connections of the server are somebody's, but for those that it keeps for its superuser."""
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(world.connections.postgres, application_name="greedy"))
        yield
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        greedy = "select count(*) from pg_stat_activity where application_name = 'greedy'"
        wait_for("their sessions have ended", lambda: admin.execute(greedy).fetchone() == (0,))


@contextmanager
def full_disk(world: World, stack: Stack, table: str) -> Iterator[None]:
    """A table, as yet empty, lies on a disk that is full: what the system itself says of /dev/full."""
    with psycopg.connect(stack.admin_dsn) as admin:
        folder = admin.execute("show data_directory").fetchall()[0][0]
    file = Path(folder, world.rows("select pg_relation_filepath(%s)", table)[0][0])
    assert file.stat().st_size == 0
    aside = file.with_suffix(".aside")
    file.rename(aside)
    file.symlink_to("/dev/full")
    try:
        yield
    finally:
        aside.replace(file)


@contextmanager
def locked(world: World, setting: str, table: str) -> Iterator[None]:
    """Somebody holds a lock on a table, and the role's statements may not wait for long."""
    with psycopg.connect(world.connections.postgres, autocommit=True) as owner:
        database = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("alter database {} set {} = '700ms'").format(database, sql.Identifier(setting)))
        with owner.transaction():
            owner.execute(sql.SQL("lock table {}").format(sql.Identifier(table)))
            yield
        owner.execute(sql.SQL("alter database {} reset {}").format(database, sql.Identifier(setting)))


def batches(world: World) -> list[tuple[int]]:
    return world.rows("select batch_id from microbatch.batch order by 1")


def test_a_run_that_gets_no_connection_says_so_and_later_succeeds(late: World, stack: Stack) -> None:
    with used_up(late, stack), pytest.raises(PostgresUnreachableError, match="connection slots"):
        late.run(1)

    late.run(1)

    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize(("table", "stored"), [(CONTRIBUTED, 0), ("microbatch.outbox_segment", 0), (PUBLISHED, 1)])
def test_a_full_disk_fails_a_batch_or_a_merge_whole(world: World, stack: Stack, table: str, stored: int) -> None:
    world.run(0)
    world.send(sale("ada", 3), b"junk", sale("bob", 5))

    with full_disk(world, stack, table), pytest.raises(PostgresRefusesError, match=r"No space left.*make room"):
        world.run(1)

    assert len(batches(world)) == stored
    assert world.results() == []
    world.run(1)
    assert world.results() == [(0, "ada", 3, 1, True, 1), (0, "bob", 5, 1, True, 1)]
    assert check(world).messages == 3


@pytest.mark.parametrize("table", [CONTRIBUTED, PUBLISHED])
@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_a_lock_or_a_statement_that_times_out_fails_a_batch_or_a_merge_whole(
    late: World, setting: str, table: str
) -> None:
    before, was = batches(late), late.results()

    with locked(late, setting, table), pytest.raises(PostgresRefusesError, match=f"raise {setting}"):
        late.run(1)

    assert late.results() == was
    assert (batches(late) == before) is (table == CONTRIBUTED)
    late.run(1)
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_what_postgres_could_not_do_is_on_record(late: World) -> None:
    with locked(late, "lock_timeout", CONTRIBUTED), pytest.raises(PostgresRefusesError):
        late.run(1)

    found = late.rows("select error from microbatch.failure")
    assert ["LockNotAvailable" in error for (error,) in found] == [True]
