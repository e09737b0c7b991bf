"""PostgreSQL restored to a moment by a base backup and archived WAL, while Kafka went on: as operators have it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fix_child import check
from fix_cli import Command
from fix_pipeline import T0, Message, World, new_world, sale
from fix_recover import WHY, revisions, stopped
from fix_stack import Stack
from free_ports import random_free
from local import postgres, process
from local.credentials import load_credentials
from local.data import ensure_postgres
from local.home import database_user, prepare
from outside import dead_letters


class Archived:
    """A PostgreSQL of its own whose WAL is archived."""

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self.port = port
        self._archive = home / "archive"
        self._archive.mkdir()
        _give(self._archive)

    @property
    def settings(self) -> dict[str, str]:
        """Beside those of the embedded one."""
        return {"archive_mode": "on", "archive_command": f"cp %p {self._archive}/%f"}

    def start(self) -> None:
        """Start it, and wait until it can be written to."""
        ensure_postgres(self._home, self.port, load_credentials(self._home), print)

    def back_up(self) -> None:
        """Make a base backup."""
        program = str(postgres.binaries() / "pg_basebackup")
        dsn = postgres.admin_dsn(self.port, load_credentials(self._home))
        subprocess.run([program, "--checkpoint=fast", f"--pgdata={self._home}/base", f"--dbname={dsn}"], check=True)

    def restore(self, moment: str) -> None:
        """Stop it, and start it again as it was then."""
        process.stop(self._home, postgres.COMPONENT)
        data = self._home / postgres.COMPONENT
        shutil.rmtree(data)
        (self._home / "base").rename(data)
        (data / "recovery.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self._archive}/%f %p'\n")
            settings.write(f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n")
            settings.write("hot_standby = off\n")  # nobody gets in before it can be written to
        _give(data)
        self.start()


def _give(folder: Path) -> None:
    """Let the server's account own a folder and what is in it."""
    if user := database_user():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)


@pytest.fixture
def archived() -> Iterator[Archived]:
    """The server, in a folder that is gone at the end."""
    home = prepare(Path(tempfile.mkdtemp(prefix="microbatch-pitr-")))
    server = Archived(home, random_free())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | server.settings)
        replication = "host replication all 127.0.0.1/32 scram-sha-256\n"
        patch.setattr(postgres, "PASSWORDS_ONLY", postgres.PASSWORDS_ONLY + replication)
        try:
            server.start()
            yield server
        finally:
            process.stop(home, postgres.COMPONENT)
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def world(stack: Stack, archived: Archived) -> World:
    """A pipeline on that server, and on the Kafka of the test run."""
    there = Stack(archived._home, stack.kafka_port, stack.controller_port, archived.port)
    return new_world(there, there.owner_dsn, deployment="pitr")


def test_a_server_restored_to_a_moment_learns_what_was_sent_since(
    world: World, archived: Archived, command: Command
) -> None:
    world.send(Message(sale("ada", 3)), Message(b"junk"))
    world.run(0)
    archived.back_up()
    world.send(Message(sale("ada", 10)), Message(sale("bob", 5), 1))
    world.run(1)
    [(moment,)] = world.rows("select clock_timestamp()::text")
    world.send(Message(sale("bob", 7, T0 + 60), 1), Message(sale("ada", 100)), Message(b"more junk"))
    world.run(2)
    before = revisions(world, "ada")

    archived.restore(moment)
    assert [result[2] for result in world.results()] == [13, 5]
    done = command(world, *stopped(world, minute=3), *WHY)

    assert done.exit_code == 0, done.output
    world.run(4)
    assert world.results() == [(0, "ada", 113, 3, True, 3), (0, "bob", 5, 1, True, 1), (1, "bob", 7, 1, True, 1)]
    assert revisions(world, "ada") == before == [(3, 1), (13, 2), (113, 3)]
    assert len(dead_letters(world)) == 2
    check(world)
