"""DAGs run on real Kafka and PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
import typer
from airflow.sdk import DAG
from typer.testing import CliRunner

import producers.airflow
import producers.cli
import producers.sending
from fix_airflow import DAGS, RunDag, states
from fix_dags import Interval, rows, sell
from microbatch.airflow import as_dag, every_minute
from microbatch.declared import load_pipelines
from outside import all_messages
from producers.pacing import Pace

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

MINUTE = timedelta(minutes=1)
AN_HOUR_AGO = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
SUCCESS = {"consume_0": "success", "publish": "success"}


def results(warehouse: str) -> list[tuple[datetime, str, int, bool]]:
    return rows(
        warehouse,
        "select window_start, seller_id, amount_usd::int, is_final from aggregated_sales order by 1, 2",
    )


def test_a_manual_run_publishes_the_closed_minutes(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO), ("bob", 5, AN_HOUR_AGO), ("ada", 4, AN_HOUR_AGO + MINUTE / 2))

    run = run_dag(dags["sales"])

    assert states(run) == SUCCESS
    assert results(airflow_environment) == [(AN_HOUR_AGO, "ada", 7, True), (AN_HOUR_AGO, "bob", 5, True)]
    assert len(all_messages(topics, "aggregated-sales")) == 2


def test_the_command_airflow_dags_test_runs_the_pipeline(topics: str, airflow_environment: str) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))

    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "sales"], env=os.environ, check=True)

    assert results(airflow_environment) == [(AN_HOUR_AGO, "ada", 3, True)]


def test_a_scheduled_run_closes_the_windows_of_its_interval(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO), ("ada", 4, AN_HOUR_AGO + MINUTE))

    assert states(run_dag(dags["sales"], interval=(AN_HOUR_AGO, AN_HOUR_AGO + MINUTE))) == SUCCESS

    assert results(airflow_environment) == [(AN_HOUR_AGO, "ada", 3, True)]


def test_a_dag_paused_for_two_hours_reads_all_of_them_in_its_first_run(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = AN_HOUR_AGO + timedelta(seconds=20)
    paused = AN_HOUR_AGO - timedelta(hours=2)
    sell(topics, *(("ada", 1, paused + n * MINUTE) for n in range(120)))

    interval, after_it = next_intervals(dags["sales"], last=(paused - MINUTE, paused), now=resumed, patch=monkeypatch)
    assert interval == (AN_HOUR_AGO - MINUTE, AN_HOUR_AGO), "the newest interval only, and whole"
    assert after_it[1] > resumed, "one run makes up for the pause, not one for each minute"
    assert states(run_dag(dags["sales"], interval=interval)) == SUCCESS

    assert results(airflow_environment) == [(paused + n * MINUTE, "ada", 1, True) for n in range(120)]


def next_intervals(dag: DAG, last: Interval, now: datetime, patch: pytest.MonkeyPatch) -> tuple[Interval, Interval]:
    """The intervals of the next two runs that the scheduler would make at some time."""
    from airflow.serialization.encoders import coerce_to_core_timetable  # noqa: PLC0415
    from airflow.timetables import interval  # noqa: PLC0415
    from airflow.timetables.base import DataInterval, TimeRestriction  # noqa: PLC0415
    from pendulum import instance  # noqa: PLC0415

    timetable = coerce_to_core_timetable(dag.timetable)
    assert dag.start_date is not None
    restriction = TimeRestriction(earliest=instance(dag.start_date), latest=None, catchup=dag.catchup)
    patch.setattr(interval, "utcnow", lambda: instance(now))
    found = []
    known = DataInterval(instance(last[0]), instance(last[1]))
    for _ in range(2):
        info = timetable.next_dagrun_info(last_automated_data_interval=known, restriction=restriction)
        assert info is not None
        assert info.data_interval is not None
        known = info.data_interval
        found.append((known.start, known.end))
    return found[0], found[1]


def batches(warehouse: str) -> list[tuple[str, int, int]]:
    """Kind, messages and attempt of each batch."""
    return rows(warehouse, "select kind, messages, attempt from microbatch.batch order by batch_id")


def as_params(mode: str, interval: Interval) -> dict[str, str]:
    return {"mode": mode, "from": interval[0].isoformat(), "to": interval[1].isoformat()}


FIRST, SECOND, THIRD = ((AN_HOUR_AGO + n * MINUTE, AN_HOUR_AGO + (n + 1) * MINUTE) for n in range(3))


@pytest.mark.parametrize(
    "facts",
    [
        {"run_type": "backfill", "interval": SECOND},
        {"run_type": "backfill", "interval": SECOND, "conf": {"max_records": 7}},
        {"run_type": "manual", "interval": FIRST, "conf": as_params("interval", SECOND)},
        {"run_type": "manual", "conf": as_params("interval", SECOND)},
        {"run_type": "asset_triggered", "conf": as_params("interval", SECOND)},
    ],
    ids=["backfill", "bounded backfill", "manual with an inferred interval", "manual", "asset triggered"],
)
def test_backfills_and_runs_in_mode_interval_read_their_interval_only(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str, facts: dict[str, Any]
) -> None:
    sell(topics, *(("ada", n, AN_HOUR_AGO + n * MINUTE) for n in range(3)))

    assert states(run_as(dags["sales"], **facts)) == SUCCESS

    assert batches(airflow_environment) == [("interval", 1, 1)]
    assert rows(airflow_environment, "select amount_usd::int from aggregated_sales_contribution") == [(1,)]


def test_catching_up_reads_what_an_interval_has_left(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str
) -> None:
    sell(topics, *(("ada", n, AN_HOUR_AGO + n * MINUTE) for n in range(3)))
    run_as(dags["sales"], SECOND, run_type="backfill")

    assert states(run_as(dags["sales"], FIRST, run_type="manual")) == SUCCESS

    assert batches(airflow_environment) == [("interval", 1, 1), ("catch up", 2, 1)]
    assert results(airflow_environment) == [(AN_HOUR_AGO + n * MINUTE, "ada", n, True) for n in range(3)]


def test_a_manual_run_in_mode_reprocess_computes_an_interval_again(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str
) -> None:
    for n in range(2):
        sell(topics, ("ada", 5, AN_HOUR_AGO + n * MINUTE))
        run_as(dags["sales"])
    with psycopg.connect(airflow_environment) as connection:
        connection.execute("update aggregated_sales_contribution set amount_usd = 99")

    assert states(run_as(dags["sales"], conf=as_params("reprocess", SECOND))) == SUCCESS

    assert batches(airflow_environment) == [("catch up", 1, 1), ("catch up", 1, 2)]
    contributions = "select amount_usd::int from aggregated_sales_contribution order by window_start"
    assert rows(airflow_environment, contributions) == [(99,), (5,)]
    assert results(airflow_environment) == [(start, "ada", 5, True) for start, _ in (FIRST, SECOND)]


def test_max_records_bounds_the_batches_of_a_run(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str
) -> None:
    sell(topics, *(("ada", n, AN_HOUR_AGO) for n in range(5)))

    assert states(run_as(dags["sales"], conf={"max_records": 2})) == SUCCESS

    assert [messages for _, messages, _ in batches(airflow_environment)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"conf": {"form": "x"}}, "form of the run is 'x'; there are only mode, from, to, max_records"),
        ({"conf": {"from": FIRST[0].isoformat()}}, "mode catch up reads all that is uncovered"),
        ({"conf": {"mode": "reprocess"}}, "from of the run is None; mode reprocess works on an interval"),
        ({"conf": as_params("interval", (AN_HOUR_AGO, AN_HOUR_AGO + 99 * MINUTE))}, "what has not happened yet"),
        (
            {"run_type": "backfill", "interval": FIRST, "conf": {"mode": "reprocess"}},
            "mode of the run is 'reprocess'; a backfill reads the interval of each of its runs",
        ),
    ],
)
def test_params_that_cannot_be_meant_fail_the_run_at_once_and_say_why(
    dags: dict[str, DAG], topics: str, run_as: RunDag, facts: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_as(dags["sales"], **facts)

    assert states(run) == {"consume_0": "failed", "publish": "failed"}
    assert text in caplog.text
    assert [instance.try_number for instance in instances(run, "consume")] == [1], "trying again cannot help"


def test_airflow_itself_refuses_params_of_another_type(dags: dict[str, DAG], run_as: RunDag) -> None:
    for conf in ({"mode": "catchup"}, {"max_records": 0}, {"from": 1_763_719_200}):
        with pytest.raises(ValueError, match=f"Invalid input for param {next(iter(conf))}"):
            run_as(dags["sales"], conf=conf)


def test_a_mapped_task_has_the_name_of_its_partitions(topics: str, run_dag: RunDag) -> None:
    sales = next(pipeline for pipeline in load_pipelines(DAGS) if pipeline.name == "sales")
    two_shards = as_dag(msgspec.structs.replace(sales, shards=2), schedule=every_minute)

    found = instances(run_dag(two_shards), "consume")

    assert [instance.rendered_map_index for instance in found] == ["partitions 0, 2", "partitions 1, 3"]


def test_a_mapped_task_that_fails_has_the_name_of_its_shard(dags: dict[str, DAG], topics: str, run_as: RunDag) -> None:
    (failed,) = instances(run_as(dags["sales"], conf={"mode": "reprocess"}), "consume")

    assert failed.rendered_map_index == "shard 0"


def instances(run: "DagRun", task_id: str) -> list[Any]:
    """The task instances that a run has of a task."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    with create_session() as session:
        wanted = select(TaskInstance).where(TaskInstance.run_id == run.run_id, TaskInstance.task_id == task_id)
        found = list(session.scalars(wanted.order_by(TaskInstance.map_index)))
        session.expunge_all()
    return found


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_that_completed_and_was_cleared_redoes_its_batches(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str, run_type: str
) -> None:
    """A backfill that reprocesses completed runs clears them, and makes them its own."""
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    run_as(dags["sales"], FIRST, run_id="scheduled__first")
    sell(topics, ("ada", 4, AN_HOUR_AGO + MINUTE))
    run_as(dags["sales"], SECOND, run_id="scheduled__second")

    again = run_as(dags["sales"], FIRST, clear_number=1, run_id="scheduled__first", run_type=run_type)
    assert states(again) == SUCCESS

    assert batches(airflow_environment) == [("catch up", 1, 2), ("catch up", 1, 1)]
    lives = "select clear_number from microbatch.run where run_id = 'scheduled__first' order by clear_number"
    assert rows(airflow_environment, lives) == [(0,), (1,)]
    assert results(airflow_environment) == [(FIRST[0], "ada", 3, True), (SECOND[0], "ada", 4, True)]


def test_a_run_that_completed_and_was_not_cleared_does_nothing_again(
    dags: dict[str, DAG], topics: str, run_as: RunDag, airflow_environment: str, caplog: pytest.LogCaptureFixture
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    run_as(dags["sales"], FIRST, run_id="scheduled__first")

    assert states(run_as(dags["sales"], FIRST, run_id="scheduled__first")) == SUCCESS

    assert "this run had completed before; nothing was done" in caplog.text
    assert batches(airflow_environment) == [("catch up", 1, 1)]


def test_publish_publishes_what_there_is_and_then_names_the_shard_that_failed(
    dags: dict[str, DAG],
    topics: str,
    run_dag: RunDag,
    airflow_environment: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    assert states(run_dag(dags["sales"])) == SUCCESS
    sell(topics, *(("ada", "no number", AN_HOUR_AGO) for _ in range(200)))  # type: ignore[arg-type]

    run = run_dag(dags["sales"])

    assert states(run) == {"consume_0": "failed", "publish": "failed"}
    assert "published what there is, but consume_0 failed" in caplog.text


def test_a_connection_without_an_address_fails_at_once_and_says_what_is_missing(
    dags: dict[str, DAG], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": {}}))

    run = run_dag(dags["sales"])

    assert states(run) == {"consume_0": "failed", "publish": "failed"}
    assert "bootstrap.servers in the extra of Airflow's connection 'kafka_default' is not set" in caplog.text


def test_a_producer_sends_events_of_now_to_its_topic(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producers.airflow, "live", lambda rate, _now: Pace(total=20, rate_per_second=rate))
    before_ms = int(time.time() * 1000)

    assert states(run_dag(dags["produce_sales"])) == {"send": "success"}

    messages = all_messages(topics, "sales-usd")
    assert len(messages) >= 20, "more with duplicates"
    assert all(before_ms <= message.timestamp()[1] <= time.time() * 1000 for message in messages)


def test_a_producer_that_is_told_to_end_ends_at_once(
    dags: dict[str, DAG], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(590)

    monkeypatch.setattr(producers.sending, "send", be_stopped)
    before_s = time.monotonic()

    assert states(run_dag(dags["produce_sales"])) == {"send": "failed"}
    assert time.monotonic() - before_s < 300


def test_the_command_line_sends_a_burst(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "POSTGRES_OWNER_DSN"):
        monkeypatch.setenv(name, topics)
    app = typer.Typer()
    app.command()(producers.cli.produce)

    done = CliRunner().invoke(
        app, ["sales", "--count", "1500", "--bad-share", "0.5", "--duplicate-share", "0", "--seed", "1"]
    )

    assert done.exit_code == 0, done.output
    assert "1,500 messages sent to topic sales-usd" in done.output
    assert len(all_messages(topics, "sales-usd")) == 1500
