"""How Airflow is configured."""

import json
from pathlib import Path

import msgspec
import pytest

from local.airflow_services import airflow_environment
from local.credentials import MOCK, Credentials
from local.demo import dag_files

CREDENTIALS = Credentials()


def environment(home: Path) -> dict[str, str]:
    return airflow_environment(
        home, kafka_port=9001, postgres_port=9002, airflow_port=9003, weather_port=9004, credentials=CREDENTIALS
    )


def test_airflow_settings_of_the_shell_do_not_leak_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "{}")
    monkeypatch.setenv("NUMBER_PAIRS_SUM", "7")

    made = environment(tmp_path)

    assert made["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert "AIRFLOW_CONN_OTHER" not in made
    assert made["NUMBER_PAIRS_SUM"] == "7"


def test_tasks_get_connections_to_this_stack_as_the_role_that_runs_pipelines(tmp_path: Path) -> None:
    made = environment(tmp_path)
    postgres = json.loads(made["AIRFLOW_CONN_POSTGRES_DEFAULT"])

    assert json.loads(made["AIRFLOW_CONN_KAFKA_DEFAULT"])["extra"] == {"bootstrap.servers": "127.0.0.1:9001"}
    assert (postgres["login"], postgres["port"], postgres["schema"]) == ("microbatch", 9002, "warehouse")


def test_airflow_gets_neither_the_superusers_password_nor_a_foreign_address(tmp_path: Path) -> None:
    made = environment(tmp_path)

    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert not [value for value in made.values() if CREDENTIALS.superuser in value]
    assert len(set(msgspec.structs.astuple(CREDENTIALS))) == len(msgspec.structs.astuple(CREDENTIALS))


@pytest.mark.parametrize("key", ["", f"{MOCK}of-an-earlier-stack"])
def test_the_weather_poller_asks_the_mock_unless_there_is_a_key_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", key)
    monkeypatch.setenv("OPENWEATHERMAP_URL", "http://127.0.0.1:1")
    made = environment(tmp_path)

    assert made["OPENWEATHERMAP_API_KEY"] == CREDENTIALS.weather_api_key
    assert made["OPENWEATHERMAP_URL"] == "http://127.0.0.1:9004"


def test_a_key_of_ones_own_goes_to_the_real_service_and_never_to_the_mock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", "my own")
    monkeypatch.delenv("OPENWEATHERMAP_URL", raising=False)
    made = environment(tmp_path)

    assert made["OPENWEATHERMAP_API_KEY"] == "my own"
    assert "OPENWEATHERMAP_URL" not in made
    assert not [value for value in made.values() if "9004" in value or CREDENTIALS.weather_api_key in value]


def test_files_that_speak_of_dag_and_airflow_are_dag_files(tmp_path: Path) -> None:
    (tmp_path / "sales.py").write_text("from microbatch.airflow import as_dag\n", encoding="utf-8")
    (tmp_path / "helper.py").write_text("x = 1\n", encoding="utf-8")

    assert dag_files(tmp_path) == {"sales.py"}
