"""What a person does with a fresh checkout: `make up`, look at it, have something break, `make down`.

The times are deadlines that end a hang on any machine; nothing here is about speed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import psycopg
import pytest

from local import airflow_services, process, stack
from local.home import REPOSITORY
from microbatch import Pipeline
from microbatch.declared import load_pipelines
from outside import all_messages
from own_stack import own_stack

pytestmark = pytest.mark.timeout(600)
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A whole stack, started by `make up` on ports and in a folder of its own."""
    with own_stack() as folder:
        yield folder


@pytest.fixture(scope="module")
def pipelines() -> list[Pipeline]:
    """What `dags/` declares."""
    found = load_pipelines(REPOSITORY / "dags")
    assert {pipeline.name for pipeline in found} == {"logins", "number_pairs", "orders", "sales", "weather"}
    return found


def make(target: str) -> str:
    """Run a target of the Makefile and return what it printed."""
    command = ["make", target, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.1)


def ask(home: Path, statement: str) -> object:
    """One value from the warehouse, with the reading role."""
    with psycopg.connect(stack.addresses(stack.find(home))["POSTGRES_DSN"]) as reader:
        row = reader.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def closed(home: Path) -> dict[str, datetime]:
    """Up to when each pipeline has closed its windows."""
    with psycopg.connect(stack.addresses(stack.find(home))["POSTGRES_DSN"]) as reader:
        return dict(reader.execute("select name, closed_until from microbatch.pipeline"))


def messages(home: Path, topic: str) -> int:
    """How many committed messages a topic has, counted by reading it."""
    bootstrap = stack.addresses(stack.find(home))["KAFKA_BOOTSTRAP_SERVERS"]
    return len(all_messages(bootstrap, topic))


def replace_scheduler(home: Path, **extra: str) -> process.Record:
    """Stop the scheduler with all its tasks, and start another one with more in its environment."""
    running = stack.find(home)
    process.stop(home, airflow_services.SCHEDULER)
    return airflow_services.start_airflow(
        home, airflow_services.SCHEDULER, running.ports.airflow, running.environment | extra
    )


def stopped_tasks(scheduler: process.Record) -> list[psutil.Process]:
    return [member for member in process.members(scheduler) if member.status() == psutil.STATUS_STOPPED]


def recount(home: Path, pipeline: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recount", pipeline],
        env=os.environ | stack.addresses(stack.find(home)),
        capture_output=True,
        text=True,
        check=False,
    )


def logs(home: Path) -> list[Path]:
    """All log files of the stack: of its components, and of Airflow's tasks."""
    folders = (home / "log", home / "airflow" / "logs")
    return [file for folder in folders for file in folder.rglob("*") if file.is_file()]


def test_make_up_ends_with_the_first_results_of_all_pipelines(home: Path, pipelines: list[Pipeline]) -> None:
    printed = make("up")

    assert "aggregated_sales" in printed
    assert stack.addresses(stack.find(home))["AIRFLOW_URL"] in printed
    assert "Try next:" in printed
    assert {health.state for health in stack.status(home)} == {"running"}
    assert closed(home).keys() == {pipeline.name for pipeline in pipelines}
    for table in [output.table for pipeline in pipelines for output in pipeline.outputs if output.table]:
        assert ask(home, f"select count(*) > 0 from {table}") is True, table
    for window in [window for pipeline in pipelines for window in pipeline.windows]:
        if window.table and window.emit == "closed":
            assert ask(home, f"select bool_and(is_final) from {window.table}") is True, window.table


def test_all_topics_get_messages(home: Path, pipelines: list[Pipeline]) -> None:
    topics = [output.topic.name for pipeline in pipelines for output in pipeline.outputs if output.topic]
    until("messages on each topic", lambda: all(messages(home, topic) > 0 for topic in topics))


def test_a_second_make_up_is_harmless(home: Path) -> None:
    before = [health.pid for health in stack.status(home)]
    make("up")

    assert [health.pid for health in stack.status(home)] == before


def test_tasks_killed_between_their_two_commits_are_retried_and_all_agrees(
    home: Path, pipelines: list[Pipeline]
) -> None:
    scheduler = replace_scheduler(home, MICROBATCH_CRASH="publish.before_kafka_commit:stop")
    # One run of a pipeline at a time: each task that stands is another pipeline's.
    until("each pipeline stands before its Kafka commit", lambda: len(stopped_tasks(scheduler)) == len(pipelines))
    before = closed(home)

    process.kill(stopped_tasks(scheduler), "task")
    process.stop(home, airflow_services.SCHEDULER)
    make("up")  # this scheduler has no crash point

    until("each has closed a later minute", lambda: all(now > before[name] for name, now in closed(home).items()))
    for checked in [recount(home, pipeline.name) for pipeline in pipelines]:
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_secret_is_in_a_log(home: Path) -> None:
    secrets: dict[str, str] = json.loads((home / "credentials.json").read_text(encoding="utf-8"))
    texts = {file: file.read_bytes() for file in logs(home)}

    assert {"dag_id=sales", "dag_id=poll_weather"} <= {part for file in texts for part in file.parts}
    told = [(name, file) for name, secret in secrets.items() for file, text in texts.items() if secret.encode() in text]
    assert told == []


def test_make_down_leaves_no_process(home: Path) -> None:
    records = [process.load(home, health.component) for health in stack.status(home)]
    members = [member for record in records if record for member in process.members(record)]
    make("down")

    assert members
    assert [member for member in members if process.birth_of(member.pid)] == []
    assert {health.state for health in stack.status(home)} == {"not started"}
