"""What a person does with a fresh checkout: `make up`, look at it, have something break, `make down`.

The times are deadlines that end a hang on any machine; nothing here is about speed.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import psutil
import psycopg
import pytest

from fix_dags import sell
from leaks import command_lines, listening, members, must_be_open, open_to_others, rows_with_secrets, with_secrets
from local import airflow_services, postgres, process, roles, stack
from local.home import REPOSITORY
from microbatch import Pipeline
from microbatch.declared import load_pipelines
from outside import all_messages
from own_stack import own_stack, until


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


def test_the_readmes_look_around_shows_all_it_says(home: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"Then look around .*?^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    once = re.sub(r"(watch sales)$", r"\1 --once", script, flags=re.MULTILINE)  # it goes on until Ctrl-C
    # One event in fifty is bad, by chance: the first minute may have had none.
    until(home, "a dead letter of a sale", lambda: messages(home, "sales-usd-dlq") > 0)

    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", once], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "amount_usd" in done.stdout
    assert "microbatch.reason=" in done.stdout
    assert "airflow-scheduler" in done.stdout
    assert done.stdout.endswith("all agrees\n")


def test_all_topics_get_messages(home: Path, pipelines: list[Pipeline]) -> None:
    topics = [output.topic.name for pipeline in pipelines for output in pipeline.outputs if output.topic]
    until(home, "messages on each topic", lambda: all(messages(home, topic) > 0 for topic in topics))


def test_a_second_make_up_is_harmless(home: Path) -> None:
    before = [health.pid for health in stack.status(home)]
    make("up")

    assert [health.pid for health in stack.status(home)] == before


def test_a_sale_of_yesterday_corrects_that_day_and_its_report_is_made(home: Path) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)

    sell(stack.addresses(stack.find(home))["KAFKA_BOOTSTRAP_SERVERS"], ("ada", 3, yesterday))

    report = home / "reports" / f"{yesterday:%Y-%m-%d}.parquet"
    until(home, "the report of yesterday", report.exists)
    assert [tuple(row) for row in pd.read_parquet(report).itertuples(index=False)] == [("ada", 1, 3, 3.0)]


def test_tasks_and_a_scheduler_killed_between_two_commits_are_made_up_for_and_all_agrees(
    home: Path, pipelines: list[Pipeline]
) -> None:
    scheduler = replace_scheduler(home, MICROBATCH_CRASH="publish.before_kafka_commit:stop")
    # One run of a pipeline at a time: each task that stands is another pipeline's.
    until(
        home,
        "each pipeline stands before its Kafka commit",
        lambda: len(stopped_tasks(scheduler)) == len(pipelines),
    )
    before = closed(home)

    process.kill(stopped_tasks(scheduler), "task")
    process.kill(process.members(scheduler), "scheduler")
    make("up")  # starts another one, which has no crash point

    until(
        home,
        "each has closed a later minute",
        lambda: all(now > before[name] for name, now in closed(home).items()),
    )
    for checked in [recount(home, pipeline.name) for pipeline in pipelines]:
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_secret_is_in_a_log(home: Path) -> None:
    secrets: dict[str, str] = json.loads((home / "credentials.json").read_text(encoding="utf-8"))
    texts = {file: file.read_bytes() for file in logs(home)}

    assert {"dag_id=sales", "dag_id=poll_weather"} <= {part for file in texts for part in file.parts}
    told = [(name, file) for name, secret in secrets.items() for file, text in texts.items() if secret.encode() in text]
    assert told == []


def test_no_secret_is_in_what_airflow_stores_and_shows_or_in_the_process_list(home: Path) -> None:
    """Airflow's pages show its database: XCom, rendered fields, connections, DAGs, events."""
    running = stack.find(home)
    for database, needed in (
        (roles.AIRFLOW, ["public.xcom", "public.rendered_task_instance_fields", "public.serialized_dag"]),
        (roles.WAREHOUSE, ["microbatch.batch", "microbatch.run"]),
    ):
        dsn = postgres.admin_dsn(running.ports.postgres, running.credentials, database)
        counts = rows_with_secrets(home, dsn)
        assert all(counts[table][0] > 0 for table in needed)
        assert {table: told for table, (_, told) in counts.items() if told} == {}
    listed = command_lines(members(home, stack.ORDER))
    assert any("airflow" in line for line in listed)
    assert with_secrets(home, listed) == []


def test_only_the_owner_and_this_machine_get_at_the_stack(home: Path) -> None:
    assert open_to_others(home) == must_be_open()
    assert set(listening(members(home, stack.ORDER))) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


@pytest.mark.parametrize("page", ["dags", "connections", "dags/sales/dagRuns/~/taskInstances/~/xcomEntries"])
def test_airflows_pages_are_behind_its_login(home: Path, page: str) -> None:
    at = stack.addresses(stack.find(home))["AIRFLOW_URL"]

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{at}/api/v2/{page}")  # noqa: S310 - our own address


def test_make_down_leaves_no_process(home: Path) -> None:
    records = [process.load(home, health.component) for health in stack.status(home)]
    processes = [member for record in records if record for member in process.members(record)]
    make("down")

    assert processes
    assert [member for member in processes if process.birth_of(member.pid)] == []
    assert {health.state for health in stack.status(home)} == {"not started"}
