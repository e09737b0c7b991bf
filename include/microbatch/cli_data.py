"""Commands that look at data: where the stack is, a topic's messages, a statement's rows."""

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
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
    TopicPartition,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from microbatch.errors import (
    KafkaUnreachableError,
    MicrobatchError,
    PostgresUnreachableError,
    SettingMissingError,
    TerminalError,
)
from microbatch.kafka import Broker
from microbatch.postgres import where
from microbatch.settings import Connections

TIMEOUT_S = 10.0


class TopicUnknownError(TerminalError):
    """A topic that somebody wants to read does not exist."""

    message = "topic {topic!r} does not exist on {bootstrap}; it has {known}"


class StatementError(TerminalError):
    """PostgreSQL refuses a statement."""

    message = "PostgreSQL refuses it: {reason}"


class PsqlMissingError(TerminalError):
    """There is no psql to open."""

    message = 'there is no psql here; give a statement instead: microbatch sql "select …"'


def check(at: dict[str, str]) -> int:
    """Print a line about each connection; returns the exit status."""
    failed = 0
    for look in (_look_at_kafka, _look_at_postgres):
        try:
            print(f"ok      {look(at)}")
        except MicrobatchError as error:
            print(f"failed  {error}")
            failed = 1
    return failed


def consume(at: dict[str, str], topic: str, *, live: bool, max_messages: int | None) -> None:
    """Print a topic's committed messages; without `live`, from its beginning to its present end."""
    bootstrap = _needed(at, "KAFKA_BOOTSTRAP_SERVERS")
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"microbatch-consume-{uuid.uuid4()}",  # assigned only: no group is made
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


def sql(at: dict[str, str], statement: str) -> None:
    """Print a statement's rows as a table."""
    with _connect(_needed(at, "POSTGRES_DSN")) as connection:
        try:
            cursor = connection.execute(statement)
        except psycopg.Error as error:
            raise StatementError(reason=str(error).strip()) from error
        if cursor.description is None:
            print(cursor.statusmessage)
            return
        table = Table(*(Column(column.name, overflow="fold") for column in cursor.description))
        for row in cursor:
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
    # A file or a pipe has no width: nothing is folded there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)
    print(f"({table.row_count} rows)")


def become_psql(at: dict[str, str], binaries: Path | None) -> None:
    """Replace this process by psql: the embedded one, else the system's.

    psql gets the password by the environment: its arguments are for everybody to see.
    """
    parts = conninfo_to_dict(_needed(at, "POSTGRES_DSN"))
    password = str(parts.pop("password", "") or "")
    psql = shutil.which("psql", path=str(binaries)) or shutil.which("psql")
    if psql is None:
        raise PsqlMissingError
    os.execve(psql, [psql, make_conninfo("", **parts)], {**os.environ, "PGPASSWORD": password})  # noqa: S606


def line_of(message: Message) -> str:
    """A message in one line: `partition@offset time key headers value`."""
    kind, milliseconds = message.timestamp()
    at = "-" if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    found = cast("list[tuple[str, bytes | str | None]]", message.headers() or [])
    headers = " ".join(f"{name}={_text(value)}" for name, value in found)
    key, value = _text(message.key()), _text(message.value())
    return f"{message.partition()}@{message.offset()}  {at}  key={key}  [{headers}]  {value}"


def _text(value: bytes | str | None) -> str:
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
    bootstrap = _needed(at, "KAFKA_BOOTSTRAP_SERVERS")
    cluster = Broker(Connections({"bootstrap.servers": bootstrap}, "", "check")).cluster_id()
    return f"Kafka at {bootstrap}: cluster {cluster}"


def _look_at_postgres(at: dict[str, str]) -> str:
    dsn = _needed(at, "POSTGRES_DSN")
    with _connect(dsn) as connection:
        found: Any = connection.execute("select current_user, current_setting('server_version')").fetchone()
    return f"PostgreSQL at {where(dsn)}: version {found[1]}, role {found[0]}"


def _connect(dsn: str) -> psycopg.Connection:
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=int(TIMEOUT_S))
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise PostgresUnreachableError(where=where(dsn), reason=reason) from error


def _needed(at: dict[str, str], name: str) -> str:
    if name not in at:
        raise SettingMissingError(setting=name, remedy="start the embedded stack (`make up`), or set it yourself")
    return at[name]
