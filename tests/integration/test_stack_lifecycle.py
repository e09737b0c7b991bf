"""Starting, breaking, repairing and stopping a stack of one's own, by the commands that people use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from typer.testing import CliRunner, Result

from local import process, stack
from microbatch import cli
from own_stack import own_stack


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A stack of Kafka and PostgreSQL that these tests may break."""
    with own_stack(COLUMNS="120") as folder:
        assert run("up", "--only", "stack").exit_code == 0
        yield folder


def run(*command: str) -> Result:
    return CliRunner().invoke(cli.app, list(command))


def of_the_stack(home: Path) -> list[psutil.Process]:
    """Every living process that has to do with a state folder."""
    found = []
    for candidate in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = [*(candidate.info["cmdline"] or []), candidate.info["cwd"] or ""]
        if any(str(home) in word for word in words) and candidate.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(candidate)
    return found


def kill(home: Path, component: str) -> None:
    record = process.load(home, component)
    assert record is not None
    process.kill([psutil.Process(record.pid)], component)


@pytest.mark.usefixtures("home")
def test_status_and_check_are_content_with_a_healthy_stack() -> None:
    assert run("status").exit_code == 0
    checked = run("check")

    assert checked.exit_code == 0
    assert [line.split()[0] for line in checked.output.splitlines()] == ["ok", "ok", "ok"]


def test_starting_it_again_changes_nothing(home: Path) -> None:
    before = stack.status(home)

    assert run("up", "--only", "stack").exit_code == 0
    assert stack.status(home) == before


def test_a_component_that_died_is_reported_with_the_end_of_its_log_and_repaired(home: Path) -> None:
    kill(home, "postgres")
    broken = run("status")
    repaired = run("up", "--only", "stack")

    assert broken.exit_code == 1
    assert "postgres: died" in broken.output
    assert "ready to accept connections" in broken.output
    assert repaired.exit_code == 0
    assert run("status").exit_code == 0


def test_data_survives_a_stop(home: Path) -> None:
    with psycopg.connect(stack.addresses(stack.find(home))["POSTGRES_OWNER_DSN"]) as owner:
        # In public: the role's own schema, where names without one go, is the ledger's.
        owner.execute("create table public.kept as select 42 as answer")
    assert run("down").exit_code == 0
    assert of_the_stack(home) == []
    assert run("up", "--only", "stack").exit_code == 0

    assert "42" in run("sql", "select answer from kept").output


def test_down_leaves_no_process_behind_although_both_were_killed(home: Path) -> None:
    kill(home, "kafka")
    record = process.load(home, "postgres")
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)

    assert run("down").exit_code == 0
    assert of_the_stack(home) == []
    assert run("up", "--only", "stack").exit_code == 0


def test_a_topic_that_does_not_exist_is_told_with_those_that_do(home: Path) -> None:
    assert stack.is_running(home, "kafka")
    result = run("consume", "nowhere")

    assert result.exit_code == 1
    assert result.stderr.startswith("microbatch: topic 'nowhere' does not exist on 127.0.0.1:")
