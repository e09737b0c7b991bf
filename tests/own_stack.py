"""A stack of a test's own, beside those of the test run: to start, break and stop by the commands that people use."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from free_ports import random_free
from local import kafka, postgres, process, roles, stack
from local.data import ensure_kafka
from local.home import prepare
from local.ports import HOST
from microbatch.addresses import ADDRESSES
from waiting import wait_until


@contextmanager
def own_stack(**settings: str) -> Iterator[Path]:
    """An empty state folder and free ports, by the environment; what runs in it at the end is stopped and deleted.

    Args:
        **settings: more variables of the environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="microbatch-own-"))
    ports: set[int] = set()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MICROBATCH_HOME", str(folder))
        for name in ("KAFKA", "CONTROLLER", "POSTGRES", "AIRFLOW", "WEATHER"):
            ports.add(port := random_free(frozenset(ports)))
            environment.setenv(f"MICROBATCH_{name}_PORT", str(port))
        for name in (*ADDRESSES, "OPENWEATHERMAP_URL", "OPENWEATHERMAP_API_KEY", "REPORTS_FOLDER"):
            environment.delenv(name, raising=False)
        for name, value in settings.items():
            environment.setenv(name, value)
        try:
            yield folder
        finally:
            stack.down(folder, print)
            shutil.rmtree(folder, ignore_errors=True)


def until(home: Path, what: str, condition: Callable[[], bool]) -> None:
    """Wait for what a stack that runs in this state folder does."""
    running = stack.find(home)
    dsn = postgres.admin_dsn(running.ports.postgres, running.credentials, roles.AIRFLOW)
    wait_until(what, condition, dsn, home / "log")


@contextmanager
def own_kafka() -> Iterator[str]:
    """A Kafka with nothing in it; its `bootstrap.servers`."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-other-"))
    port = random_free()
    try:
        ensure_kafka(prepare(home), port, random_free(frozenset({port})), print)
        yield f"{HOST}:{port}"
    finally:
        process.stop(home, kafka.COMPONENT)
        shutil.rmtree(home, ignore_errors=True)
