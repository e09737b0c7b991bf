"""The DAGs of `dags/`, their topics, and ways to run them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from airflow.sdk import DAG
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from fix_airflow import DAGS, RunDag
from fix_stack import Stack
from microbatch.declared import load_pipelines
from microbatch.settings import Connections
from microbatch.topics import create_topics

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

Interval = tuple[datetime, datetime]


@pytest.fixture
def topics(stack: Stack) -> Iterator[str]:
    """Empty topics of the DAG files' pipelines; gives the broker's address."""
    connections = Connections({"bootstrap.servers": stack.bootstrap}, "", "test")
    names = create_topics(load_pipelines(DAGS), connections)
    assert "sales-usd" in names, "another test left the topic behind"
    yield stack.bootstrap
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for deleted in admin.delete_topics(names, operation_timeout=60).values():
        deleted.result()


@pytest.fixture
def dags() -> dict[str, DAG]:
    """Loaded anew for each test: in one process, the params of a run stay those of the DAG."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    return dict(DagBag(dag_folder=DAGS).dags)


@pytest.fixture
def run_as(run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    """`run_as(dag, interval=…, clear_number=…, run_type="backfill", …)`: as `run_dag`, with facts of the run."""
    from airflow.serialization.definitions.dag import SerializedDAG  # noqa: PLC0415

    create = SerializedDAG.create_dagrun

    def run(dag: DAG, interval: Interval | None = None, clear_number: int = 0, **facts: Any) -> "DagRun":
        def create_as_told(self: SerializedDAG, **given: Any) -> "DagRun":
            return create(self, **given | facts)

        with monkeypatch.context() as patch:
            patch.setattr(SerializedDAG, "create_dagrun", create_as_told)
            return run_dag(dag, interval, clear_number)

    return run


def sell(bootstrap: str, *sales: tuple[str, int, datetime]) -> None:
    """Send sales `(seller, amount, time)`, with Kafka's timestamps at their times."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for seller, amount, at in sales:
        value = json.dumps({"seller_id": seller, "amount_usd": amount, "sale_ts": int(at.timestamp())})
        producer.produce("sales-usd", value, seller, timestamp=int(at.timestamp() * 1000))
    assert producer.flush(120) == 0


def rows(warehouse: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(warehouse, options="-c timezone=UTC") as connection:
        return connection.execute(query.encode()).fetchall()
