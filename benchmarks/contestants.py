"""What `run.py` measures, each as `python contestants.py NAME`. The last line printed is what it found, as JSON."""

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage

TOPIC = "sales-usd"
PARTITIONS = 4
DAGS = Path(__file__).parents[1] / "dags"


def floor() -> dict[str, int]:
    """The least that this client can do: take blocks of messages and count them, values not decoded."""
    return {"messages": sum(1 for message in _blocks() if message.value())}


def poll_and_json() -> dict[str, int]:
    """The loop that people write: poll, json.loads, add to a dict."""
    sums: dict[str, int] = {}
    for message in _singles():
        sale = json.loads(message.value() or b"{}")
        sums[sale["seller_id"]] = sums.get(sale["seller_id"], 0) + sale["amount_usd"]
    return sums


def microbatch() -> dict[str, int]:
    """A whole run of the sales pipeline: consume and publish, as a DAG run does it."""
    import psycopg  # noqa: PLC0415 - the other contestants do not pay for these imports

    from microbatch.consume import consume  # noqa: PLC0415
    from microbatch.declared import find_pipeline  # noqa: PLC0415
    from microbatch.publish import publish  # noqa: PLC0415
    from microbatch.runs import Run  # noqa: PLC0415
    from microbatch.settings import connections  # noqa: PLC0415

    run, there, sales = Run("bench", "bench"), connections(), find_pipeline(DAGS, "sales")
    consume(sales, 0, run, there)
    publish(sales, run, there)
    with psycopg.connect(there.postgres) as connection:
        rows = connection.execute("select seller_id, sum(amount_usd) from aggregated_sales group by 1").fetchall()
    return {seller: int(amount) for seller, amount in rows}


def prepare() -> dict[str, int]:
    """Create the topics."""
    from microbatch.declared import find_pipeline  # noqa: PLC0415
    from microbatch.settings import connections  # noqa: PLC0415
    from microbatch.topics import create_topics  # noqa: PLC0415

    create_topics([find_pipeline(DAGS, "sales")], connections())
    return {}


def _consumer() -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": "bench",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    return consumer


def _blocks() -> Iterator[KafkaMessage]:
    consumer = _consumer()
    yield from _until_end(lambda: consumer.consume(1000, 1.0))


def _singles() -> Iterator[KafkaMessage]:
    consumer = _consumer()
    yield from _until_end(lambda: [message] if (message := consumer.poll(1.0)) else [])


def _until_end(read: Callable[[], list[KafkaMessage]]) -> Iterator[KafkaMessage]:
    left = PARTITIONS
    while left:
        for message in read():
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                left -= 1
            else:
                raise SystemExit(str(error))


if __name__ == "__main__":
    found = {c.__name__: c for c in (floor, poll_and_json, microbatch, prepare)}[sys.argv[1]]()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"found": found, "peak_mib": peak_mib}))
