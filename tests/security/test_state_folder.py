"""The state folder, the processes that work in it, and what they tell others. With Airflow: tests/e2e."""

import contextlib
from pathlib import Path

import pytest

from fix_stack import Stack
from leaks import command_lines, listening, members, must_be_open, open_to_others, with_secrets
from local.home import database_user, prepare

COMPONENTS = ("kafka", "postgres")
LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_nothing_in_the_state_folder_is_open_to_others(stack: Stack) -> None:
    assert {path.name for path in stack.home.iterdir()} >= {"credentials.json", "kafka", "postgres", "log", "run"}
    assert open_to_others(stack.home) == must_be_open()


def test_only_the_database_belongs_to_the_account_of_the_database(stack: Stack) -> None:
    user = database_user()
    if user is None:
        pytest.skip("everything belongs to the account that runs the tests")

    theirs = set()
    for path in (stack.home, *stack.home.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # the database deletes files while we look
            theirs |= {path} if path.lstat().st_uid == user.pw_uid else set()

    assert {path.relative_to(stack.home).parts[:1] for path in theirs} == {("postgres",)}


def test_a_folder_that_was_open_is_closed_when_the_stack_starts(tmp_path: Path) -> None:
    home = tmp_path / "state"
    (home / "log").mkdir(parents=True)
    home.chmod(0o755)
    (home / "log").chmod(0o777)

    prepare(home)

    assert open_to_others(home) == must_be_open()


def test_no_secret_is_in_the_process_list_or_in_a_log(stack: Stack) -> None:
    listed = command_lines(members(stack.home, COMPONENTS))
    logs = [log.read_text(errors="replace") for log in (stack.home / "log").glob("*.log*")]

    assert any("kafka.Kafka" in line for line in listed)
    assert any("postgres" in line for line in listed)
    assert any("ready to accept connections" in log for log in logs)
    assert with_secrets(stack.home, [*listed, *logs]) == []


def test_every_address_that_is_listened_on_is_of_this_machine_alone(stack: Stack) -> None:
    found = listening(members(stack.home, COMPONENTS))

    assert len(found) >= 3, "Kafka's two, and PostgreSQL's"
    assert set(found) <= LOOPBACK
