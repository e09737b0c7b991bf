"""DAGs run on real Kafka and PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import typer
from airflow.sdk import DAG, Param
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

import producers.airflow
import producers.cli
import producers.registry
import producers.sales
import producers.sending
from fix_airflow import DAGS, RunDag, states
from fix_stack import Stack
from microbatch.declared import load_pipelines
from microbatch.settings import Connections
from microbatch.topics import create_topics
from producers.pacing import Pace

MINUTE = timedelta(minutes=1)
AN_HOUR_AGO = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
SUCCESS = {"consume_0": "success", "publish": "success"}


@pytest.fixture
def topics(stack: Stack) -> Iterator[str]:
    """Empty topics of the DAG files' pipelines; gives the broker's address."""
    connections = Connections({"bootstrap.servers": stack.bootstrap}, "", "test")
    names = create_topics(load_pipelines(DAGS), connections)
    assert "sales-usd" in names, "another test left the topic behind"
    yield stack.bootstrap
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for deleted in admin.delete_topics(names, operation_timeout=10).values():
        deleted.result()


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    return dict(DagBag(dag_folder=DAGS).dags)


def sell(bootstrap: str, *sales: tuple[str, int, datetime]) -> None:
    """Send sales `(seller, amount, time)`, with Kafka's timestamps at their times."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for seller, amount, at in sales:
        value = json.dumps({"seller_id": seller, "amount_usd": amount, "sale_ts": int(at.timestamp())})
        producer.produce("sales-usd", value, seller, timestamp=int(at.timestamp() * 1000))
    assert producer.flush(10) == 0


def results(warehouse: str) -> list[tuple[datetime, str, int, bool]]:
    return rows(
        warehouse,
        "select window_start, seller_id, amount_usd::int, is_final from aggregated_sales order by 1, 2",
    )


def rows(warehouse: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(warehouse, options="-c timezone=UTC") as connection:
        return connection.execute(query.encode()).fetchall()


def read(bootstrap: str, topic: str) -> list[Any]:
    """All committed messages of a topic, by a consumer that shares no code with the engine."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "observer",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    left = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    found = []
    while left:
        message = consumer.poll(10)
        assert message is not None, f"{topic} does not answer"
        if message.error() is None:
            found.append(message)
        else:
            left.discard(message.partition())
    consumer.close()
    return found


def test_a_manual_run_publishes_the_closed_minutes(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO), ("bob", 5, AN_HOUR_AGO), ("ada", 4, AN_HOUR_AGO + MINUTE / 2))

    run = run_dag(dags["sales"])

    assert states(run) == SUCCESS
    assert results(airflow_environment) == [(AN_HOUR_AGO, "ada", 7, True), (AN_HOUR_AGO, "bob", 5, True)]
    assert len(read(topics, "aggregated-sales")) == 2


def test_the_command_airflow_dags_test_runs_the_pipeline(topics: str, airflow_environment: str) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))

    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "sales"], env=os.environ, check=True, timeout=60)

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


def next_intervals(
    dag: DAG, last: tuple[datetime, datetime], now: datetime, patch: pytest.MonkeyPatch
) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
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


def test_a_cleared_run_is_told_from_a_retried_one(
    dags: dict[str, DAG], topics: str, run_dag: RunDag, airflow_environment: str
) -> None:
    run_dag(dags["sales"], interval=(AN_HOUR_AGO, AN_HOUR_AGO + MINUTE), clear_number=1)

    assert rows(airflow_environment, "select clear_number from microbatch.run") == [(1,)]


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

    messages = read(topics, "sales-usd")
    assert len(messages) == 20
    assert all(before_ms <= message.timestamp()[1] <= time.time() * 1000 for message in messages)


def test_a_producer_that_is_told_to_end_ends_at_once(
    dags: dict[str, DAG], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(producers.sending, "send", be_stopped)
    before_s = time.monotonic()

    assert states(run_dag(dags["produce_sales"])) == {"send": "failed"}
    assert time.monotonic() - before_s < 10


def test_the_command_line_sends_a_burst(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "POSTGRES_OWNER_DSN"):
        monkeypatch.setenv(name, topics)
    app = typer.Typer()
    app.command()(producers.cli.produce)

    done = CliRunner().invoke(app, ["sales", "--count", "1500", "--bad-share", "0.5", "--seed", "1"])

    assert done.exit_code == 0, done.output
    assert "1,500 events sent to topic sales-usd" in done.output
    assert len(read(topics, "sales-usd")) == 1500


def test_a_producer_without_its_topic_says_so(stack: Stack) -> None:
    nowhere = producers.registry.Producer("none", "nowhere", producers.sales.sale)
    with pytest.raises(producers.sending.NoTopicError, match=f"topic 'nowhere' does not exist on {stack.bootstrap}"):
        producers.sending.send(nowhere, {"bootstrap.servers": stack.bootstrap}, Pace(total=1), bad_share=0)


def test_the_params_of_a_producer_are_bounded_and_described(dags: dict[str, DAG]) -> None:
    params = dags["produce_sales"].params
    for name in ("rate_per_second", "bad_share"):
        param = params.get_param(name)
        assert isinstance(param, Param)
        assert param.description
        assert {"minimum", "maximum"} <= param.schema.keys()
