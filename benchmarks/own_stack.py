"""A Kafka and a PostgreSQL of a benchmark's own, beside whatever else runs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from local.credentials import load_credentials
from local.data import ensure_postgres, start_data, stop_data
from local.home import prepare
from local.ports import HOST, random_free
from local.postgres import admin_dsn
from local.process import load
from local.roles import WAREHOUSE, owner_dsn


class OwnStack(msgspec.Struct, frozen=True):
    """A running Kafka and PostgreSQL.

    Attributes:
        home: the folder of their data.
        bootstrap: Kafka's address.
        postgres: connection string of the role that owns the pipelines' tables.
    """

    home: Path
    bootstrap: str
    postgres: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that uses it. Byte code is kept, as it is wherever things run for long."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "POSTGRES_OWNER_DSN": self.postgres}

    def superuser(self, database: str) -> str:
        """Connection string of the superuser of PostgreSQL."""
        record = load(self.home, "postgres")
        assert record is not None, f"PostgreSQL has never been started in {self.home}"
        return admin_dsn(record.port or 0, load_credentials(self.home), database)

    def server(self, component: str) -> psutil.Process:
        """The first process of "kafka" or "postgres"."""
        record = load(self.home, component)
        assert record is not None, f"{component} has never been started in {self.home}"
        return psutil.Process(record.pid)


class OwnPostgres(msgspec.Struct, frozen=True):
    """A running PostgreSQL alone: connection strings of the role that owns pipelines' tables, and of the superuser."""

    owner: str
    superuser: str


@contextmanager
def own_postgres(console: Console) -> Iterator[OwnPostgres]:
    """Start it, empty; stop it and delete its data at the end."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    port = random_free()
    try:
        credentials = load_credentials(prepare(home))
        ensure_postgres(home, port, credentials, console.print)
        yield OwnPostgres(owner_dsn(port, credentials), admin_dsn(port, credentials, WAREHOUSE))
    finally:
        stop_data(home, console.print)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def own_stack(console: Console) -> Iterator[OwnStack]:
    """Start both, empty; stop them and delete their data at the end."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    ports = (random_free(), random_free(), random_free())
    try:
        start_data(home, *ports, console.print)
        yield OwnStack(home, f"{HOST}:{ports[0]}", owner_dsn(ports[2], load_credentials(home)))
    finally:
        stop_data(home, console.print)
        shutil.rmtree(home, ignore_errors=True)
