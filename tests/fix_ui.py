"""The pages in Airflow's UI without an Airflow: the app itself, asked by people with chosen rights."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from starlette.testclient import TestClient

from fix_airflow import forget_dags, postgres_connection
from fix_stack import Stack
from microbatch.settings import Connections


class Person(msgspec.Struct, frozen=True):
    """Who asks.

    Attributes:
        dags: those that the person may see and start; None: all.
        may_trigger: whether the person may start runs.
        reads_data: whether the person may read topics and ask in SQL.
    """

    name: str = "ada"
    dags: frozenset[str] | None = None
    may_trigger: bool = True
    reads_data: bool = True

    def get_name(self) -> str:
        """As Airflow's users have it."""
        return self.name


class Manager:
    """Airflow's auth manager, as far as the pages ask it."""

    def is_authorized_dag(self, *, method: str, details: Any, user: Person, access_entity: Any = None) -> bool:
        """Whether that DAG is among the person's."""
        is_theirs = user.dags is None or details.id in user.dags
        return is_theirs and (method == "GET" or user.may_trigger)

    def is_authorized_custom_view(self, *, method: str, resource_name: str, user: Person) -> bool:
        """As a manager that has no such rights."""
        return True

    def is_authorized_connection(self, *, method: str, details: Any, user: Person) -> bool:
        """Whether the person may read data."""
        return user.reads_data


OpenUi = Callable[..., TestClient]


@pytest.fixture
def open_ui(stack: Stack, monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Iterator[OpenUi]:
    """`open_ui(connections, person)`: a client of the app over the test's servers; of nobody if `person` is None.

    With the address that it has in Airflow: `client.get("/microbatch/api/pipelines")`. Airflow knows no DAG.
    """
    forget_dags()
    with ExitStack() as opened:

        def open_(connections: Connections, person: Person | None = Person()) -> TestClient:  # noqa: B008 - frozen
            _connect(stack, connections, monkeypatch)
            return opened.enter_context(_client(person, monkeypatch))

        yield open_


def _connect(stack: Stack, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    database = conninfo_to_dict(connections.postgres)["dbname"]
    postgres = postgres_connection(make_conninfo(stack.reader_dsn, dbname=database))
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_READER", json.dumps(postgres))
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps({"conn_type": "kafka", "extra": connections.kafka}))
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", connections.deployment)


def _client(person: Person | None, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415

    from microbatch_ui import access, app  # noqa: PLC0415

    made = app.make_app()
    if person is not None:
        monkeypatch.setattr(access, "get_auth_manager", Manager)
        made.dependency_overrides[get_user] = lambda: person
    root = FastAPI()
    root.mount("/microbatch", made)
    return TestClient(root)
