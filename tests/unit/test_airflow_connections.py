"""Airflow's connections become what librdkafka and libpq want."""

import json
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from microbatch.airflow_connections import connections
from microbatch.errors import SettingMissingError


@pytest.fixture
def set_connections(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets both connections, with changes."""

    def set_both(kafka: dict[str, Any] | None = None, postgres: dict[str, Any] | None = None) -> None:
        given = {"host": "db.example", "port": 5433, "login": "worker", "password": "p w'd", "schema": "warehouse"}
        extra = {"bootstrap.servers": "kafka:9092"} if kafka is None else kafka
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": extra}))
        monkeypatch.setenv(
            "AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps({"conn_type": "postgres", **given, **(postgres or {})})
        )

    return set_both


def test_kafkas_settings_are_the_extra_as_text(set_connections: Any) -> None:
    set_connections(
        kafka={
            "bootstrap.servers": "kafka:9092",
            "sasl.password": "secret",
            "socket.keepalive.enable": True,
            "retries": 3,
        }
    )

    assert connections().kafka == {
        "bootstrap.servers": "kafka:9092",
        "sasl.password": "secret",
        "socket.keepalive.enable": "true",
        "retries": "3",
    }


def test_the_postgres_connection_is_quoted_and_keeps_what_libpq_knows_of_its_extra(set_connections: Any) -> None:
    set_connections(postgres={"extra": {"sslmode": "require", "cursor": "dictcursor"}})

    assert conninfo_to_dict(connections().postgres) == {
        "host": "db.example",
        "port": "5433",
        "user": "worker",
        "password": "p w'd",
        "dbname": "warehouse",
        "sslmode": "require",
    }


def test_the_deployment_comes_from_the_environment(set_connections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connections()
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", "blue")
    assert connections().deployment == "blue"


def test_a_connection_without_brokers_says_where_to_write_them(set_connections: Any) -> None:
    set_connections(kafka={})
    with pytest.raises(SettingMissingError, match=r"bootstrap\.servers in the extra of .*'kafka_default' is not set"):
        connections()


def test_a_missing_connection_is_named_with_the_remedy(set_connections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connections()
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT")
    with pytest.raises(SettingMissingError, match=r"'kafka_default' is not set; .*AIRFLOW_CONN_KAFKA_DEFAULT"):
        connections()


REGISTRIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an address": (
        {"host": "https://registry.example:8081/path", "extra": {"timeout": 3}},
        {"url": "https://registry.example:8081/path", "timeout": 3},
    ),
    "name and port, with a login": (
        {"host": "registry", "port": 8081, "login": "me", "password": "p:w"},
        {"url": "http://registry:8081", "basic.auth.user.info": "me:p:w"},
    ),
    "TLS": ({"host": "registry", "schema": "https"}, {"url": "https://registry"}),
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_schema_registry_is_asked_for_where_it_is_needed(
    set_connections: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    set_connections()
    given, expected = REGISTRIES[kind]
    monkeypatch.setenv("AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT", json.dumps({"conn_type": "http", **given}))

    assert connections(with_registry=True).schema_registry == expected
    assert connections().schema_registry == {}


def test_a_missing_schema_registry_is_named_with_the_remedy(
    set_connections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connections()
    with pytest.raises(SettingMissingError, match=r"AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT"):
        connections(with_registry=True)
    monkeypatch.setenv("AIRFLOW_CONN_SCHEMA_REGISTRY_DEFAULT", json.dumps({"conn_type": "http"}))
    with pytest.raises(SettingMissingError, match=r"host of Airflow's connection 'schema_registry_default'"):
        connections(with_registry=True)
