"""Real Kafka and PostgreSQL, once per test run, on free ports in a temporary folder."""

import importlib.metadata
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import msgspec
import psutil
import pytest

from free_ports import random_free
from local import kafka, postgres, process, roles
from local.credentials import Credentials, load_credentials
from local.data import ensure_kafka, ensure_postgres, start_data, stop_data
from local.files import read_json, write_json
from local.jars import kafka_version
from local.ports import HOST

PREFIX = "microbatch-test-"


class Stack(msgspec.Struct, frozen=True):
    """A running Kafka and PostgreSQL, and ways to hurt them."""

    home: Path
    kafka_port: int
    controller_port: int
    postgres_port: int

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` of the broker."""
        return f"{HOST}:{self.kafka_port}"

    @property
    def owner_dsn(self) -> str:
        """The warehouse, as the role that runs pipelines."""
        return roles.owner_dsn(self.postgres_port, self.credentials)

    @property
    def reader_dsn(self) -> str:
        """The warehouse, as the role that only reads."""
        return roles.reader_dsn(self.postgres_port, self.credentials)

    @property
    def admin_dsn(self) -> str:
        """The warehouse, as superuser."""
        return postgres.admin_dsn(self.postgres_port, self.credentials, roles.WAREHOUSE)

    @property
    def credentials(self) -> Credentials:
        """The stack's generated secrets."""
        return load_credentials(self.home)

    def pid(self, component: str) -> int:
        """The process id of `kafka` or `postgres`."""
        record = process.load(self.home, component)
        assert record is not None
        return record.pid

    def kill(self, component: str) -> None:
        """SIGKILL the first process of `kafka` or `postgres` and wait until it is gone."""
        process.kill([psutil.Process(self.pid(component))], component)

    def freeze(self, component: str) -> None:
        """SIGSTOP it: connections stay open, nothing answers."""
        os.kill(self.pid(component), signal.SIGSTOP)

    def thaw(self, component: str) -> None:
        """SIGCONT what was frozen."""
        os.kill(self.pid(component), signal.SIGCONT)

    def start(self, component: str) -> None:
        """Start `kafka` or `postgres` again on its port with its data, and wait until it answers."""
        if component == kafka.COMPONENT:
            ensure_kafka(self.home, self.kafka_port, self.controller_port, print)
        else:
            ensure_postgres(self.home, self.postgres_port, self.credentials, print)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The test run's own Kafka and PostgreSQL; durability is on as in production."""
    _stop_abandoned()
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    write_json(home / "owner.json", (os.getpid(), process.birth_of(os.getpid())))
    kafka_port = random_free()
    controller_port = random_free(frozenset({kafka_port}))
    postgres_port = random_free(frozenset({kafka_port, controller_port}))
    try:
        start_data(home, kafka_port, controller_port, postgres_port, print)
        yield Stack(home, kafka_port, controller_port, postgres_port)
    finally:
        stop_data(home, print)
        shutil.rmtree(home, ignore_errors=True)


def _stop_abandoned() -> None:
    """Stop the stacks of earlier runs whose process was killed before it could do so itself."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = read_json(home / "owner.json", tuple[int, str])
        if owner is not None and process.birth_of(owner[0]) != owner[1]:
            stop_data(home, print)
            shutil.rmtree(home, ignore_errors=True)


def pytest_configure() -> None:
    """Let SIGTERM (of `timeout`, of CI) end the run like Ctrl-C, so that fixtures are taken down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header() -> str:
    """Which versions this run is about."""
    parts = [
        f"Kafka {kafka_version()}",
        f"PostgreSQL {postgres.postgres_version()}",
        f"librdkafka {confluent_kafka.libversion()[0]}",
        f"DuckDB {importlib.metadata.version('duckdb')}",
    ]
    return "stack: " + ", ".join(parts)
