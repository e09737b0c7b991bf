"""What a person does with a fresh checkout: `make up`, look at it, have something break, `make down`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from local import airflow_services, process, stack
from local.home import REPOSITORY
from local.ports import random_free

pytestmark = pytest.mark.timeout(420)
FIRST_RUN_S = 240


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A whole stack, started by `make up` on ports and in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="microbatch-e2e-"))
    ports: set[int] = set()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MICROBATCH_HOME", str(folder))
        for name in ("KAFKA", "CONTROLLER", "POSTGRES", "AIRFLOW"):
            ports.add(port := random_free(frozenset(ports)))
            environment.setenv(f"MICROBATCH_{name}_PORT", str(port))
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "POSTGRES_OWNER_DSN", "AIRFLOW_URL"):
            environment.delenv(name, raising=False)
        try:
            yield folder
        finally:
            stack.down(folder, print)
            shutil.rmtree(folder, ignore_errors=True)


def make(target: str) -> str:
    """Run a target of the Makefile and return what it printed."""
    command = ["make", target, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(what: str, condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.1)


def ask(home: Path, statement: str) -> object:
    """One value from the warehouse, with the reading role."""
    with psycopg.connect(stack.addresses(stack.find(home))["POSTGRES_DSN"]) as reader:
        row = reader.execute(statement).fetchone()
    assert row is not None
    return row[0]


def messages(home: Path, topic: str) -> int:
    """How many committed messages a topic has, counted by reading it."""
    bootstrap = stack.addresses(stack.find(home))["KAFKA_BOOTSTRAP_SERVERS"]
    settings = {"bootstrap.servers": bootstrap, "group.id": "e2e", "isolation.level": "read_committed"}
    consumer = Consumer({**settings, "enable.auto.commit": False, "enable.partition.eof": True})
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        counted, ended = 0, 0
        while ended < len(partitions):
            for message in consumer.consume(1000, timeout=10):
                counted, ended = (counted, ended + 1) if message.error() else (counted + 1, ended)
    finally:
        consumer.close()
    return counted


def replace_scheduler(home: Path, **extra: str) -> process.Record:
    """Stop the scheduler with all its tasks, and start another one with more in its environment."""
    running = stack.find(home)
    process.stop(home, airflow_services.SCHEDULER)
    return airflow_services.start_airflow(
        home, airflow_services.SCHEDULER, running.ports.airflow, running.environment | extra
    )


def stopped_task(scheduler: process.Record) -> psutil.Process | None:
    found = [member for member in process.members(scheduler) if member.status() == psutil.STATUS_STOPPED]
    return found[0] if found else None


def test_make_up_ends_with_the_first_results(home: Path) -> None:
    began = time.monotonic()
    printed = make("up")

    assert time.monotonic() - began < FIRST_RUN_S
    assert "aggregated_sales" in printed
    assert stack.addresses(stack.find(home))["AIRFLOW_URL"] in printed
    assert "Try next:" in printed
    assert {health.state for health in stack.status(home)} == {"running"}
    assert ask(home, "select count(*) > 0 and bool_and(is_final) from aggregated_sales") is True
    until("results on the topic", lambda: messages(home, "aggregated-sales") > 0, 10)


def test_a_second_make_up_is_harmless_and_quick(home: Path) -> None:
    before = [health.pid for health in stack.status(home)]
    began = time.monotonic()
    make("up")

    assert time.monotonic() - began < 30
    assert [health.pid for health in stack.status(home)] == before


def test_a_task_killed_between_its_two_commits_is_retried_and_all_agrees(home: Path) -> None:
    scheduler = replace_scheduler(home, MICROBATCH_CRASH="publish.before_kafka_commit:stop")
    until("a publish task stands before its Kafka commit", lambda: stopped_task(scheduler) is not None, 130)
    task = stopped_task(scheduler)
    assert task is not None
    closed = ask(home, "select closed_until from microbatch.pipeline where name = 'sales'")

    process.kill([task], "task")
    process.stop(home, airflow_services.SCHEDULER)
    make("up")  # this scheduler has no crash point

    later = f"select closed_until > '{closed}' from microbatch.pipeline where name = 'sales'"
    until("a later minute is closed", lambda: ask(home, later) is True, 150)
    checked = subprocess.run(
        [sys.executable, "-m", "recount", "sales"],
        env=os.environ | stack.addresses(stack.find(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_make_down_leaves_no_process(home: Path) -> None:
    records = [process.load(home, health.component) for health in stack.status(home)]
    members = [member for record in records if record for member in process.members(record)]
    make("down")

    assert members
    assert [member for member in members if process.birth_of(member.pid)] == []
    assert {health.state for health in stack.status(home)} == {"not started"}
