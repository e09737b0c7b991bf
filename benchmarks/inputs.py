"""What the contestants read: seeded sales and logins, and what has to come out.

A topic's messages are spread evenly over its partitions, and over ten minutes that ended about an hour ago: so recent
that Kafka's retention, which goes by their timestamps, leaves them alone.
"""

import os
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.progress import track

DEFAULT_SIZES: Final = (2_000_000, 10_000_000)
SIZES: Final = tuple(map(int, os.environ["BENCH_SIZES"].split(","))) if "BENCH_SIZES" in os.environ else DEFAULT_SIZES
"""How many messages; a trial may take fewer: two numbers with a comma between them in BENCH_SIZES."""
PARTITIONS: Final = 4
MINUTES: Final = 10
SECONDS: Final = MINUTES * 60
FIRST_S: Final = int(time.time()) // 60 * 60 - 3600 - SECONDS
SELLERS: Final = 4
SEED: Final = 1

USERS: Final = 300
DEVICE_TYPES: Final = ("android", "iOS")
APP_VERSIONS: Final = ("2.0.0", "2.3.0", "2.9.0", "2.10.1", "3.0.0")
# One in fifty has a device that the pipeline does not know, one in fifty an app that is too old.
ODD_DEVICES: Final = (*DEVICE_TYPES * 49, "windows", "web")
ODD_VERSIONS: Final = (*APP_VERSIONS * 49, "1.4.2", "1.10.0", "0.9", "1.99.99", "1.0")
_QUEUED: Final = 200_000

Sums = dict[str, list[int]]
"""By "seller minute": the amount and the number of sales."""

Batch = list[tuple[bytes, bytes | None]]
"""Values and keys of one second's messages; the n-th goes to partition n mod PARTITIONS."""


class Rows(msgspec.Struct, frozen=True):
    """What has to come out of the logins: how many valid ones, a checksum over them, and how many that are not.

    The checksum is the sum of the CRC-32 of each row's fields with `|` between them, so it does not depend on order and
    notices whatever is there twice.
    """

    valid: int
    checksum: int
    rejected: int


def create_topic(bootstrap: str, name: str) -> None:
    """Create a topic with as many partitions as the inputs have."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    for done in admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)]).values():
        done.result(30)


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics that were read and checked, so that the disk is not filled."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    for done in admin.delete_topics(list(names)).values():
        done.result(30)


def produce_sales(bootstrap: str, topic: str, messages: int, console: Console) -> Sums:
    """Create a topic of sales; gives what each seller sold in each minute."""
    chance = np.random.default_rng(SEED)
    sums: Sums = {}

    def batches() -> Iterator[tuple[int, Batch]]:
        for number, at_s in _seconds(messages):
            sellers, amounts = chance.integers(0, SELLERS, number), chance.integers(1, 1000, number)
            for seller in range(SELLERS):
                sold = amounts[sellers == seller]
                total = sums.setdefault(f"seller-{seller} {at_s // 60 * 60}", [0, 0])
                total[0] += int(sold.sum())
                total[1] += len(sold)
            yield at_s, _sales(sellers.tolist(), amounts.tolist(), at_s)

    _produce(bootstrap, topic, batches(), console)
    return sums


def _sales(sellers: list[int], amounts: list[int], at_s: int) -> Batch:
    heads = [b'{"seller_id": "seller-%d", "amount_usd": ' % seller for seller in range(SELLERS)]
    end = b', "sale_ts": %d}' % at_s
    return [(b"%b%d%b" % (heads[seller], amount, end), None) for seller, amount in zip(sellers, amounts, strict=True)]


def produce_logins(bootstrap: str, topic: str, messages: int, console: Console) -> Rows:
    """Create a topic of logins; gives what has to come out of them."""
    chance = np.random.default_rng(SEED)
    found = [0, 0]

    def batches() -> Iterator[tuple[int, Batch]]:
        for number, at_s in _seconds(messages):
            yield at_s, _logins(chance, number, at_s, found)

    _produce(bootstrap, topic, batches(), console)
    return Rows(found[0], found[1], messages - found[0])


def _logins(chance: np.random.Generator, number: int, at_s: int, found: list[int]) -> Batch:
    """Logins of one second; adds the valid ones, and their checksum, to what was found."""
    picked = zip(
        chance.integers(0, USERS, number).tolist(),
        chance.integers(0, len(ODD_VERSIONS), number).tolist(),
        chance.integers(0, len(ODD_DEVICES), number).tolist(),
        chance.integers(1, 255, (number, 4)).tolist(),
        strict=True,
    )
    batch: Batch = []
    for at, (user, version_at, device_at, parts) in enumerate(picked):
        version, device, ip = ODD_VERSIONS[version_at], ODD_DEVICES[device_at], ".".join(map(str, parts))
        user_id, device_id = f"3f0c9a54-7d1e-4b6a-9{user:03d}-{user * 7919:012d}", f"{user + 100}-{user % 90 + 10}-7319"
        # As apps do it: the time is a text in every other login.
        time_ = at_s if at % 2 else f'"{at_s}"'
        value = (
            f'{{"user_id": "{user_id}", "app_version": "{version}", "device_type": "{device}", "ip": "{ip}", '
            f'"locale": "DE", "device_id": "{device_id}", "timestamp": {time_}}}'
        )
        batch.append((value.encode(), user_id.encode()))
        if device in DEVICE_TYPES and version in APP_VERSIONS:
            found[0] += 1
            found[1] += checksum(user_id, version, device, ip, "DE", device_id, at_s)
    return batch


def checksum(*fields: str | int) -> int:
    """Of one row; PostgreSQL says the same of `crc32(convert_to(concat_ws('|', …), 'UTF8'))`."""
    return zlib.crc32("|".join(map(str, fields)).encode())


def _seconds(messages: int) -> Iterator[tuple[int, int]]:
    """How many messages each second has."""
    for second in range(SECONDS):
        number = messages * (second + 1) // SECONDS - messages * second // SECONDS
        yield number, FIRST_S + second


def _produce(bootstrap: str, topic: str, batches: Iterator[tuple[int, Batch]], console: Console) -> None:
    create_topic(bootstrap, topic)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "log_level": 4,
            "linger.ms": 50,
            "batch.num.messages": 50_000,
            "queue.buffering.max.messages": 10 * _QUEUED,
        }
    )
    for at_s, batch in track(batches, f"producing {topic}", SECONDS, console=console, update_period=1):
        for at, (value, key) in enumerate(batch):
            # `produce_batch` would be faster, but knows no timestamps.
            producer.produce(topic, value, key, at % PARTITIONS, timestamp=at_s * 1000)
        while len(producer) > _QUEUED:
            producer.poll(0.01)
    left = producer.flush(60)
    assert not left, f"{left} messages for {topic} are not sent after a minute"
