"""The weather poller on the real Kafka, with the mock as a process."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fix_airflow import DAGS, RunDag, states
from fix_stack import Stack
from fix_weather import KEY, Mock, running_mock
from outside import all_messages
from producers.openweathermap import KeyRefusedError, Patience, Service
from producers.polling import NothingReadError, poll

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

QUICK = Patience(attempts=2, backoff_s=0.01)
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock(WEATHER_API_RATE=1000) as running:
        yield running


@pytest.fixture
def kafka(stack: Stack) -> Iterator[dict[str, str]]:
    """Settings of a Kafka that has an empty topic `weather`."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic("weather", 4, 1)])["weather"].result()
    while "weather" not in admin.list_topics(timeout=60).topics:
        time.sleep(0.01)  # the controller has it, and the broker will
    yield {"bootstrap.servers": stack.bootstrap}
    admin.delete_topics(["weather"], operation_timeout=60)["weather"].result()


def sent(kafka: dict[str, str]) -> list[Any]:
    return all_messages(kafka["bootstrap.servers"], "weather")


def test_one_bad_city_never_costs_the_others_their_reading(
    mock: Mock, kafka: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    mock.fault("Cairo", "error", times=QUICK.attempts)
    before_ms = int(time.time() * 1000)

    with caplog.at_level(logging.INFO):
        polled = poll(mock.service, ["Berlin", "Cairo", "Atlantis", "1850144", "São Paulo"], kafka, QUICK)

    assert sorted(polled.read) == ["1850144", "Berlin", "São Paulo"]
    assert set(polled.failed) == {"Cairo", "Atlantis"}
    assert polled.describe().startswith("weather of 3 cities sent to topic weather; none of ")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert any("knows no city 'Atlantis'" in line for line in warnings)
    messages = {json.loads(message.value())["name"]: message for message in sent(kafka)}
    assert set(messages) == {"Berlin", "Tokyo", "São Paulo"}
    for message in messages.values():
        value = json.loads(message.value())
        assert message.key() == str(value["id"]).encode()
        assert before_ms <= message.timestamp()[1] <= time.time() * 1000
        assert before_ms / 1000 - 130 < value["dt"] <= time.time()
        assert {"coord", "main", "wind", "sys", "cod"} < set(value), "the answer is whole"
        assert KEY not in caplog.text


def test_the_same_observation_polled_twice_is_sent_twice(mock: Mock, kafka: dict[str, str]) -> None:
    """It is the pipeline that leaves repeats out, and counts them."""
    for _ in range(2):
        poll(mock.service, ["Paris"], kafka, QUICK)

    assert len(sent(kafka)) == 2


def test_if_no_city_gives_any_the_poll_fails(mock: Mock, kafka: dict[str, str]) -> None:
    with pytest.raises(NothingReadError, match=r"no weather of any of 2 cities; first reason: .* knows no city"):
        poll(mock.service, ["Atlantis", "Avalon"], kafka, QUICK)
    assert sent(kafka) == []


def test_a_refused_key_is_said_once(mock: Mock, kafka: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyRefusedError):
        poll(Service(mock.url, "wrong", "metric"), ["Paris", "Berlin"], kafka, QUICK)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def dag(mock: Mock, monkeypatch: pytest.MonkeyPatch) -> "DAG":
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    monkeypatch.setenv("OPENWEATHERMAP_URL", mock.url)
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", KEY)
    monkeypatch.setenv("WEATHER_CITIES", "Paris,Atlantis")
    return DagBag(dag_folder=DAGS / "poll_weather.py").dags["poll_weather"]


def test_a_run_of_the_dag_polls_now(
    dag: "DAG",
    kafka: dict[str, str],
    run_dag: RunDag,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    long_past = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 1, tzinfo=UTC))

    with caplog.at_level(logging.INFO), caplog.at_level(logging.DEBUG, "httpcore"):
        assert states(run_dag(dag)) == {"poll": "success"}
        assert states(run_dag(dag, interval=long_past)) == {"poll": "success"}

    messages = sent(kafka)
    assert len(messages) == 2
    assert all(time.time() * 1000 - message.timestamp()[1] < HOUR_MS for message in messages)
    assert "weather of 1 cities sent to topic weather; none of Atlantis" in caplog.text
    assert "mock-key" not in caplog.text + "".join(capfd.readouterr())


def test_a_backfill_is_skipped(
    dag: "DAG", kafka: dict[str, str], run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.serialization.definitions.dag import SerializedDAG  # noqa: PLC0415

    create = SerializedDAG.create_dagrun

    def create_backfill(self: SerializedDAG, **facts: Any) -> "DagRun":
        return create(self, **facts | {"run_type": "backfill"})

    monkeypatch.setattr(SerializedDAG, "create_dagrun", create_backfill)

    assert states(run_dag(dag)) == {"poll": "skipped"}
    assert sent(kafka) == []
