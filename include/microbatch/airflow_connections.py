"""Airflow's connections as the engine wants them. Nothing of them is ever logged."""

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from microbatch.errors import SettingMissingError
from microbatch.settings import Connections, deployment, text_of

KAFKA: Final = "kafka_default"
POSTGRES: Final = "postgres_default"
SCHEMA_REGISTRY: Final = "schema_registry_default"


def connections(*, with_registry: bool = False) -> Connections:
    """What `kafka_default` and `postgres_default` say, and if asked `schema_registry_default`; only inside a task.

    Raises:
        SettingMissingError: Airflow has no such connection, or it lacks what is needed.
    """
    return Connections(
        kafka=kafka_settings(),
        postgres=postgres_conninfo(POSTGRES),
        deployment=deployment(),
        schema_registry=schema_registry_settings() if with_registry else {},
    )


def kafka_settings() -> dict[str, str]:
    """The settings of librdkafka: the extra of `kafka_default`, as Airflow's Kafka provider has it too.

    Raises:
        SettingMissingError: there is no such connection, or its extra names no `bootstrap.servers`.
    """
    settings = {name: text_of(value) for name, value in _connection(KAFKA).extra_dejson.items()}
    if not settings.get("bootstrap.servers"):
        raise SettingMissingError(
            setting=f"bootstrap.servers in the extra of Airflow's connection {KAFKA!r}",
            remedy='write {"bootstrap.servers": "HOST:PORT"} there',
        )
    return settings


def schema_registry_settings() -> dict[str, Any]:
    """The settings of the schema registry's client: its address, its login, and the extra of the connection.

    The host is an address as it is (`https://registry.example/path`), or a name beside a port, with `https` in the
    connection's schema where it has TLS.

    Raises:
        SettingMissingError: there is no such connection, or it names no host.
    """
    connection = _connection(SCHEMA_REGISTRY)
    if not connection.host:
        raise SettingMissingError(
            setting=f"the host of Airflow's connection {SCHEMA_REGISTRY!r}",
            remedy="write the registry's address there, such as https://registry.example:8081",
        )
    url = connection.host if "://" in connection.host else f"{connection.schema or 'http'}://{connection.host}"
    login = f"{connection.login}:{connection.password or ''}" if connection.login else None
    return {
        **connection.extra_dejson,
        "url": f"{url}:{connection.port}" if connection.port else url,
        **({"basic.auth.user.info": login} if login else {}),
    }


def _connection(conn_id: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise SettingMissingError(
            setting=f"Airflow's connection {conn_id!r}",
            remedy=f"add it under Admin, Connections, or set AIRFLOW_CONN_{conn_id.upper()}",
        ) from error


def postgres_conninfo(conn_id: str) -> str:
    """The connection string of one of Airflow's connections; of its extra, what libpq knows, the rest is for hooks.

    Raises:
        SettingMissingError: there is no such connection.
    """
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415
    from psycopg.pq import Conninfo  # noqa: PLC0415

    connection = _connection(conn_id)
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    extra: Mapping[str, Any] = connection.extra_dejson
    return make_conninfo(
        **{name: text_of(value) for name, value in extra.items() if name in known},
        **_present(
            host=connection.host,
            port=connection.port,
            user=connection.login,
            password=connection.password,
            dbname=connection.schema,
        ),
    )


def _present(**values: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value}
