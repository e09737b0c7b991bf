"""A consumer as a careful person writes it, and what the contestants are told."""

import json
import os
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

BOOTSTRAP: Final = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
TOPIC: Final = os.environ["BENCH_TOPIC"]
OUTPUT: Final = os.environ.get("BENCH_OUTPUT", "")
PARTITIONS: Final = int(os.environ["BENCH_PARTITIONS"])


def consumer() -> Consumer:
    """One that begins at the first message of each partition, and says where each ends."""
    made = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": "bench",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The default of a second makes a fast reader wait whenever a partition's queue was full.
            "fetch.queue.backoff.ms": 5,
        }
    )
    made.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    return made


def is_end(message: Message) -> bool:
    """Whether it says that a partition ends here, instead of being a message."""
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        raise SystemExit(str(error))
    return True


def say(found: Iterable[Any]) -> None:
    """Print what was found, as the last line."""
    print(json.dumps(found))
