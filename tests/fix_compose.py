"""The services of docker-compose.yaml with all profiles, as processes; and visits, for their workers to count."""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from confluent_kafka import Producer

from compose_file import REPOSITORY
from compose_native import Box, Native
from waiting import wait_until

DAGS: Final = (
    "dags/sales.py",
    "dags/produce_sales.py",
    "dags/weather.py",
    "dags/poll_weather.py",
    "tests/compose_dags/four_shards.py",
)
WORKER: Final = "airflow-worker"


class Compose(Native):
    """The services with some of our DAGs and one of four shards, and ways to ask them."""

    def worker(self, number: int, **variables: str) -> Box:
        """One of several workers, on a host of its own."""
        return self.box(WORKER, f"{WORKER}-{number}", **variables)

    @property
    def bootstrap(self) -> str:
        """Kafka's address."""
        return f"{self.addresses['kafka']}:19092"

    @property
    def warehouse(self) -> str:
        """How the role that reads connects to the warehouse."""
        return self._dsn("reader", "READER_DB_PASSWORD", "warehouse")

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse."""
        with psycopg.connect(self.warehouse) as reader:
            return reader.execute(statement.encode()).fetchall()

    def ask_airflow(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of Airflow's database."""
        with psycopg.connect(self._airflow) as airflow:
            return airflow.execute(statement.encode()).fetchall()

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for what the services do."""
        wait_until(what, condition, self._airflow, self.home / "log")

    @property
    def _airflow(self) -> str:
        return self._dsn("airflow", "AIRFLOW_DB_PASSWORD", "airflow")

    def _dsn(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{self.variables[password]}@{self.addresses['postgres']}:5432/{database}"


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """The services of all profiles, with Celery, none of them started; what runs at the end is stopped."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-compose-"))
    dags = home / "dags"
    dags.mkdir()
    for file in DAGS:
        shutil.copy(REPOSITORY / file, dags)
    services = Compose(home, dags, {"celery", "observability"}, MICROBATCH_EXECUTOR="CeleryExecutor")
    try:
        yield services
    finally:
        services.down()
        shutil.rmtree(home, ignore_errors=True)


class Visitors:
    """Sends visits to the topic of the four shards, 50 a second, until it is told to stop."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
        self._end = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def stop(self) -> int:
        """How many visits Kafka has acknowledged, which are all."""
        self._end.set()
        self._thread.join()
        assert self._producer.flush(60) == 0
        return self._sent

    def _send(self) -> None:
        numbers = count()
        while not self._end.wait(0.02):
            number = next(numbers)
            visit = {"page": f"page-{number % 7}", "seconds": number % 60, "at": time.time_ns() // 1_000_000}
            self._producer.produce("visits", json.dumps(visit).encode(), key=str(number).encode())
            self._producer.poll(0)
            self._sent = number + 1


@pytest.fixture(scope="module")
def visitors(compose: Compose) -> Iterator[Visitors]:
    """Visits, sent from the first test on that asks for them; the services run by then."""
    sender = Visitors(compose.bootstrap)
    yield sender
    sender.stop()
