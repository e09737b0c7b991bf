"""The stack's data half: Kafka and PostgreSQL, started side by side, stopped one after the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import kafka, postgres, process, roles
from local.credentials import Credentials, load_credentials
from local.home import prepare

Say = Callable[[str], None]


def start_data(home: Path, kafka_port: int, controller_port: int, postgres_port: int, say: Say) -> Credentials:
    """Start what is not running yet of Kafka and PostgreSQL, wait for both, and make databases and roles.

    Returns the stack's secrets. If one of the two fails, the other one keeps running.
    """
    credentials = load_credentials(prepare(home))
    with ThreadPoolExecutor(2) as pool:
        starts = [
            pool.submit(ensure_postgres, home, postgres_port, credentials, say),
            pool.submit(ensure_kafka, home, kafka_port, controller_port, say),
        ]
    for started in starts:
        started.result()
    return credentials


def ensure_kafka(home: Path, port: int, controller_port: int, say: Say) -> process.Record:
    """Start Kafka unless it runs, and wait until it answers."""

    def start() -> process.Record:
        say(f"Kafka: starting on port {port}")
        return kafka.start_kafka(home, port, controller_port)

    record = process.ensure(home, kafka.COMPONENT, start)
    kafka.wait_for_kafka(record)
    say(f"Kafka: ready on port {port}")
    return record


def ensure_postgres(home: Path, port: int, credentials: Credentials, say: Say) -> process.Record:
    """Start PostgreSQL unless it runs, wait until it answers, and make missing databases and roles."""

    def start() -> process.Record:
        say(f"PostgreSQL: starting on port {port}")
        return postgres.start_postgres(home, port, credentials)

    record = process.ensure(home, postgres.COMPONENT, start)
    postgres.wait_for_postgres(record, credentials)
    roles.create_roles(port, credentials)
    say(f"PostgreSQL: ready on port {port}")
    return record


def stop_data(home: Path, say: Say) -> None:
    """Stop Kafka, then PostgreSQL; the data stays."""
    if process.stop(home, kafka.COMPONENT):
        say("Kafka: stopped")
    if process.stop(home, postgres.COMPONENT, lambda: postgres.strays(home)):
        say("PostgreSQL: stopped")
