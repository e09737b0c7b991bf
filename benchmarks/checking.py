"""What stands in Postgres and on topics, read back without the engine, by plain SQL and a plain consumer."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec
import psycopg
from benchmarks.inputs import PARTITIONS, Rows, Sums, checksum
from benchmarks.own_stack import OwnStack
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from psycopg import sql

_SUMS: Final = """
    select seller_id || ' ' || extract(epoch from window_start)::bigint, amount_usd::bigint, sales from {}
"""
_ROWS: Final = """
    select
        count(*),
        coalesce(sum(crc32(convert_to(concat_ws(
            '|', user_id, app_version, device_type, ip, locale, device_id, "timestamp"
        ), 'UTF8'))), 0)::bigint,
        coalesce(bool_and(extract(epoch from timestamp_in_utc) = "timestamp" and processed_time is not null), true)
    from {}
"""


class _Sum(msgspec.Struct):
    """A result on the topic."""

    window_start: datetime
    seller_id: str
    amount_usd: int
    sales: int


class _Row(msgspec.Struct):
    """A login on the topic."""

    user_id: str
    app_version: str
    device_type: str
    ip: str
    locale: str
    device_id: str
    timestamp: int
    timestamp_in_utc: datetime
    processed_time: datetime

    def checksum(self) -> int:
        """What `inputs` says of it too."""
        fields = (self.user_id, self.app_version, self.device_type, self.ip, self.locale, self.device_id)
        return checksum(*fields, self.timestamp)


def sums_in_table(stack: OwnStack, table: str) -> Sums:
    """The sums in a table of results."""
    with psycopg.connect(stack.postgres) as connection:
        found = connection.execute(sql.SQL(_SUMS).format(sql.Identifier(table))).fetchall()
    return {key: [amount, sales] for key, amount, sales in found}


def sums_on_topic(stack: OwnStack, topic: str) -> Sums:
    """The sums on a topic of results: the last message of each key holds."""
    decoder, last = msgspec.json.Decoder(_Sum), {}
    for message in committed(stack, topic):
        last[message.key()] = decoder.decode(message.value() or b"")
    return {
        f"{found.seller_id} {found.window_start.timestamp():.0f}": [found.amount_usd, found.sales]
        for found in last.values()
    }


def rows_in_table(stack: OwnStack, table: str) -> tuple[int, int]:
    """The number of logins in a table, and their checksum."""
    with psycopg.connect(stack.postgres) as connection:
        (found,) = connection.execute(sql.SQL(_ROWS).format(sql.Identifier(table))).fetchall()
    number, total, are_timed = found
    assert are_timed, f"a time in {table} is missing or wrong"
    return number, total


def rows_on_topic(stack: OwnStack, topic: str) -> tuple[int, int]:
    """The number of logins on a topic, and their checksum."""
    decoder, number, total = msgspec.json.Decoder(_Row), 0, 0
    for message in committed(stack, topic):
        number += 1
        total += decoder.decode(message.value() or b"").checksum()
    return number, total


def wrong_rows(stack: OwnStack, expected: Rows, table: str, topic: str, dead_letters: str) -> str | None:
    """What is not as expected; None if all is."""
    wanted = (expected.valid, expected.checksum)
    if (found := rows_in_table(stack, table)) != wanted:
        return f"{found} in the table, not {wanted}"
    if (found := rows_on_topic(stack, topic)) != wanted:
        return f"{found} on the topic, not {wanted}"
    if (letters := sum(1 for _ in committed(stack, dead_letters))) != expected.rejected:
        return f"{letters:,} dead letters, not {expected.rejected:,}"
    return None


def committed(stack: OwnStack, topic: str) -> Iterator[Message]:
    """All committed messages of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap,
            "group.id": "check",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    left = PARTITIONS
    while left:
        for message in consumer.consume(1000, 1.0):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                left -= 1
            else:
                raise SystemExit(f"{topic}: {error}")
    consumer.close()
