"""Commands that look at data: where the stack is, a topic's messages, a statement's rows."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psycopg
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.cimpl import NewTopic
from psycopg.conninfo import make_conninfo
from psycopg.types.string import TextLoader
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from microbatch.errors import (
    KafkaUnreachableError,
    MessagesLostError,
    MicrobatchError,
    PostgresUnreachableError,
    PsqlMissingError,
    SchemaRegistrySettingsError,
    SettingMissingError,
    StatementError,
    TopicNotCreatedError,
    TopicUnknownError,
)
from microbatch.kafka import READER, Broker, client_config
from microbatch.outputs import KafkaTopic
from microbatch.postgres import connect, one_row, parts_of, refuse_shared_sessions, where
from microbatch.settings import (
    KAFKA_BOOTSTRAP_SERVERS,
    POSTGRES_OWNER_DSN,
    Connections,
    deployment,
    kafka_settings,
    schema_registry_settings,
)

TIMEOUT_S = 10.0
QUEUE_MESSAGES = 50_000


def check(at: dict[str, str]) -> int:
    """Print a line about each connection; returns the exit status."""
    failed = 0
    looks: list[Callable[[dict[str, str]], str]] = [_look_at_kafka, _look_at_postgres]
    if POSTGRES_OWNER_DSN in at:
        looks.append(_look_at_owner)
    if registry := schema_registry_settings():
        looks.append(lambda _: _look_at_registry(registry))
    for look in looks:
        try:
            print(f"ok      {look(at)}")
        except MicrobatchError as error:
            print(f"failed  {error}")
            failed = 1
    return failed


def consume(at: dict[str, str], topic: str, *, live: bool, max_messages: int | None) -> None:
    """Print a topic's committed messages; without `live`, from its beginning to its present end."""
    there = kafka_at(at)
    Broker(there)  # if it cannot be reached, it says why
    bootstrap = there.bootstrap
    consumer = Consumer(
        {
            **there.kafka,
            "group.id": READER,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "log_level": 2,
        }
    )
    try:
        for count, message in enumerate(_messages(consumer, bootstrap, topic, live=live), start=1):
            print(line_of(message), flush=live)
            if count == max_messages:
                return
    except KeyboardInterrupt:
        return
    finally:
        consumer.close()


def send(at: dict[str, str], topic: str, lines: Iterable[bytes]) -> int:
    """Send lines to a topic, which is made if it does not exist; empty ones are left out. Returns how many were sent.

    Raises:
        KafkaUnreachableError, TopicNotCreatedError: nothing was sent.
        MessagesLostError: some were not taken.
    """
    there = kafka_at(at)
    _ensure_topic(topic, Broker(there))
    producer = Producer(client_config(there, **{"enable.idempotence": True}))
    count = 0
    lost: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            lost.append(error.str())

    for line in lines:
        if message := line.rstrip(b"\r\n"):
            while len(producer) > QUEUE_MESSAGES:
                producer.poll(0.1)
            producer.produce(topic, message, on_delivery=delivered)
            count += 1
    left = producer.flush(TIMEOUT_S)
    if left or lost:
        reason = lost[0] if lost else "no answer"
        raise MessagesLostError(topic=topic, count=len(lost) + left, total=count, reason=reason)
    return count


def _ensure_topic(topic: str, broker: Broker) -> None:
    try:
        if broker.topic(topic) is None:
            # As many partitions as a pipeline's topic gets, and the broker's default replication factor.
            broker.create([NewTopic(topic, num_partitions=KafkaTopic(topic).partitions, replication_factor=-1)])
    except KafkaException as error:
        raise TopicNotCreatedError(topic=topic, reason=error.args[0].str()) from error


def sql(at: dict[str, str], statement: str) -> None:
    """Print a statement's rows as a table."""
    with ask(at) as connection:
        # As the server writes them: Python has no infinite times.
        for kind in ("timestamptz", "timestamp", "date"):
            connection.adapters.register_loader(kind, TextLoader)
        cursor = connection.execute(statement.encode())
        if cursor.description is None:
            print(cursor.statusmessage)
            return
        table = Table(*(Column(column.name, overflow="fold") for column in cursor.description))
        for row in cursor:
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
    # A file or a pipe has no width: nothing is folded there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
    print(f"({table.row_count} rows)")


@contextmanager
def ask(at: dict[str, str]) -> Iterator[psycopg.Connection]:
    """A session of the role that only reads; each statement is its own transaction, times are UTC.

    Raises:
        SettingMissingError, ConnectionStringError, PostgresUnreachableError: there is none to be had.
        StatementError: PostgreSQL refuses a statement.
    """
    dsn = needed(at, "POSTGRES_DSN")
    place = where(dsn)
    try:
        connection = psycopg.connect(dsn, autocommit=True, connect_timeout=int(TIMEOUT_S))
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise PostgresUnreachableError(where=place, reason=reason) from error
    with connection:
        try:
            connection.execute("set timezone to 'UTC'")
            yield connection
        except psycopg.Error as error:
            raise StatementError(reason=str(error).strip()) from error


def needed(at: dict[str, str], name: str) -> str:
    """A variable that says where something is.

    Raises:
        SettingMissingError: it is not known.
    """
    if name not in at:
        raise SettingMissingError(setting=name, remedy="start the embedded stack (`make up`), or set it yourself")
    return at[name]


def kafka_at(at: dict[str, str]) -> Connections:
    """How to reach Kafka alone: its address, and what KAFKA_SETTINGS has for it.

    Raises:
        SettingMissingError, KafkaSettingsError: there is none, or the settings cannot be read.
    """
    return Connections(kafka_settings(needed(at, KAFKA_BOOTSTRAP_SERVERS)), "", deployment())


def become_psql(at: dict[str, str], binaries: Path | None) -> None:
    """Replace this process by psql: the embedded one, else the system's.

    psql gets the password by the environment: its arguments are for everybody to see.
    """
    parts = parts_of(needed(at, "POSTGRES_DSN"))
    password = str(parts.pop("password", "") or "")
    psql = shutil.which("psql", path=str(binaries)) or shutil.which("psql")
    if psql is None:
        raise PsqlMissingError(program="psql")
    os.execve(psql, [psql, make_conninfo("", **parts)], {**os.environ, "PGPASSWORD": password})  # noqa: S606


def line_of(message: Message) -> str:
    """A message in one line: `partition@offset time key headers value`."""
    kind, milliseconds = message.timestamp()
    at = "-" if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    found = cast("list[tuple[str, bytes | str | None]]", message.headers() or [])
    headers = " ".join(f"{name}={shown_text(value)}" for name, value in found)
    key, value = shown_text(message.key()), shown_text(message.value())
    return f"{message.partition()}@{message.offset()}  {at}  key={key}  [{headers}]  {value}"


def shown_text(value: bytes | str | None) -> str:
    """Bytes for a person: what is no UTF-8, or would break the line, is escaped."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else value.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _messages(consumer: Consumer, bootstrap: str, topic: str, *, live: bool) -> Iterator[Message]:
    start = OFFSET_END if live else OFFSET_BEGINNING
    left = set(_partitions(consumer, bootstrap, topic))
    consumer.assign([TopicPartition(topic, partition, start) for partition in left])
    while left:
        message = consumer.poll(1.0)
        if message is None:
            continue
        error = message.error()
        if error is None:
            yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            left -= set() if live else {cast("int", message.partition())}
        else:
            raise KafkaUnreachableError(bootstrap=bootstrap, reason=error.str())


def _partitions(consumer: Consumer, bootstrap: str, topic: str) -> list[int]:
    try:
        known = consumer.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise KafkaUnreachableError(bootstrap=bootstrap, reason=error.args[0].str()) from error
    if topic not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("__"))) or "none"
        raise TopicUnknownError(topic=topic, bootstrap=bootstrap, known=names)
    return list(known[topic].partitions)


def _look_at_kafka(at: dict[str, str]) -> str:
    there = kafka_at(at)
    return f"Kafka at {there.bootstrap}: cluster {Broker(there).cluster_id()}"


def _look_at_registry(settings: dict[str, Any]) -> str:
    try:
        from microbatch.schema_registry import try_out  # noqa: PLC0415 - not everybody has its packages
    except ImportError as error:
        reason = f"there is no package {error.name!r}, which `pip install 'microbatch[avro]'` brings"
        raise SchemaRegistrySettingsError(reason=reason) from error
    return f"schema registry at {try_out(settings)}"


def _look_at_postgres(at: dict[str, str]) -> str:
    with ask(at) as connection:
        found: Any = connection.execute("select current_user, current_setting('server_version')").fetchone()
    return f"PostgreSQL at {where(needed(at, 'POSTGRES_DSN'))}: version {found[1]}, role {found[0]}"


def _look_at_owner(at: dict[str, str]) -> str:
    dsn = at[POSTGRES_OWNER_DSN]
    with connect(dsn, "check") as connection:
        refuse_shared_sessions(connection, dsn)
        (role,) = one_row(connection, "select current_user", {})
    return f"PostgreSQL at {where(dsn)}: role {role}, which runs pipelines"
