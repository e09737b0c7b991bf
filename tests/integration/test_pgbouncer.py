"""Pipelines through PgBouncer, with the settings that docs/existing-airflow.md shows: session mode does, no other."""

import configparser
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_child import Children, check, wait_for
from fix_cli import Command
from fix_late import LATE, MESSAGES, RESULTS, at_once, begin_late
from fix_pipeline import World, sale
from fix_stack import Stack
from free_ports import random_free
from local.home import database_user
from local.ports import HOST
from microbatch.crash import CrashPoint
from microbatch.errors import SessionSharedError
from shell_pages import blocks_of

PAGE: Final = Path(__file__).parents[2] / "docs" / "existing-airflow.md"
SHORT: Final[dict[str, float]] = {"postgres.IDLE_IN_TRANSACTION_S": 4, "postgres.IDLE_SESSION_S": 6}
"""For a process that is stopped."""
IMPATIENT: Final[dict[str, float]] = {"postgres.LOCK_PATIENCE_S": 1}
"""For the process that waits for its locks."""
HOLDING_LOCKS: Final[tuple[CrashPoint, ...]] = (
    "consume.inside_copy",
    "consume.before_commit",
    "publish.after_lock",
    "publish.after_kafka_commit",
)

Pooler = Callable[..., AbstractContextManager[int]]


def shown_settings() -> configparser.ConfigParser:
    """The file that the page shows."""
    (block,) = blocks_of(PAGE.read_text(encoding="utf-8"), "ini")
    settings = configparser.ConfigParser()
    settings.read_string(block)
    return settings


@contextmanager
def pgbouncer(stack: Stack, **changes: str) -> Iterator[int]:
    """A PgBouncer before the stack's PostgreSQL, as the page sets it up; gives its port.

    Args:
        stack: the servers.
        **changes: to the page's settings.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "there is no PgBouncer: `apt-get install pgbouncer` (see .ci/run)"
    port, account = random_free(), database_user()
    folder = Path(tempfile.mkdtemp(prefix="microbatch-pgbouncer-"))
    settings = shown_settings()
    assert dict(settings["databases"]) == {"figures": "host=postgres.example port=5432"}
    settings["databases"] = {"*": f"host={HOST} port={stack.postgres_port}"}
    settings["pgbouncer"].update(
        {
            "listen_addr": HOST,
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_file": str(folder / "userlist.txt"),
            **changes,
        }
    )
    with (folder / "pgbouncer.ini").open("w") as file:
        settings.write(file)
    (folder / "userlist.txt").write_text(f'"microbatch" "{stack.credentials.microbatch_role}"\n')
    # It refuses to run as root.
    owner: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    for path in (folder, *folder.iterdir()):
        if account:
            os.chown(path, account.pw_uid, account.pw_gid)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, folder / "pgbouncer.ini"], stdout=log, stderr=log, **owner)
    try:
        wait_for("PgBouncer answers", lambda: answers(make_conninfo(stack.owner_dsn, port=port)), 30)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def pooled(stack: Stack) -> Iterator[int]:
    """The port of a PgBouncer in session mode."""
    with pgbouncer(stack) as port:
        yield port


def through(world: World, port: int) -> World:
    """The same world, whose PostgreSQL is reached by another port."""
    dsn = make_conninfo(world.connections.postgres, port=port)
    return World(world.pipeline, msgspec.structs.replace(world.connections, postgres=dsn))


def test_a_pipeline_gives_what_it_gives_without_it(
    make_world: Callable[..., World], pooled: int, command: Command, tmp_path: Path
) -> None:
    direct = make_world(**LATE)
    world = begin_late(through(direct, pooled))

    world.run(1)

    assert direct.results() == RESULTS
    assert check(world).messages == MESSAGES
    exported = command(world, "export", "aggregated_sales", str(tmp_path / "sales.parquet"), "--history")
    assert exported.exit_code == 0, exported.output
    assert command(world, "check").output.count("ok ") == 3


def test_killed_between_kafkas_commit_and_ours_it_goes_on(
    make_world: Callable[..., World], pooled: int, children: Children
) -> None:
    direct = make_world(**LATE)
    world = begin_late(through(direct, pooled))
    run = world.run_of(1, "killed")
    for point in ("consume.before_commit", "publish.after_kafka_commit"):
        assert children.start(world, run, crash=point).died_by_kill()

    children.succeed(world, run)

    assert direct.results() == RESULTS
    assert check(world).messages == MESSAGES


def test_one_that_is_stopped_with_its_locks_is_replaced_and_does_no_harm_when_it_goes_on(
    stack: Stack, pooled: int, module_children: Children
) -> None:
    def tell(world: World, point: CrashPoint) -> str:
        reached = through(world, pooled)
        run = reached.run_of(1, "stopped")
        zombie = module_children.start(reached, run, crash=f"{point}:stop", constants=SHORT)
        zombie.wait_until_stopped()
        other = module_children.do(reached, run, constants=IMPATIENT)
        zombie.go_on()
        assert not other.error, other.text
        assert zombie.outcome().is_ours, zombie.outcome()
        assert world.results() == RESULTS
        assert check(reached).messages == MESSAGES
        return point

    with at_once(stack, HOLDING_LOCKS, tell) as told:
        assert [told[point].result() for point in HOLDING_LOCKS] == list(HOLDING_LOCKS)


def test_tasks_wait_for_each_other_if_there_are_more_than_sessions(
    stack: Stack, make_world: Callable[..., World], children: Children
) -> None:
    with pgbouncer(stack, default_pool_size="2") as port:
        world = through(make_world(partitions=4, shards=4), port)
        world.run(0)
        world.send(*[sale("ada", 1) for _ in range(20)])
        run = world.run_of(1)

        started = [children.start(world, run, task="consume", shards=(shard,)) for shard in range(4)]
        ended = [child.outcome() for child in started]
        children.succeed(world, run, task="publish")

        assert [outcome.error for outcome in ended] == [""] * 4
        assert check(world).messages == 20


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_mode_without_sessions_is_refused_before_anything_is_done(
    stack: Stack, make_world: Callable[..., World], command: Command, mode: str
) -> None:
    direct = make_world()
    with pgbouncer(stack, pool_mode=mode) as port:
        world = through(direct, port)
        with pytest.raises(SessionSharedError, match="set `pool_mode = session`"):
            world.run(0)

        checked = command(world, "check")

    assert direct.rows("select count(*) from microbatch.pipeline") == [(0,)]
    assert checked.exit_code == 1
    assert "failed  PostgreSQL at 127.0.0.1:" in checked.output
