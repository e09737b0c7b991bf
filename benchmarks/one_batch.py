"""One batch of a million messages, each way: peak memory and time of consume and of publish.

`python benchmarks/one_batch.py` starts a Kafka and a PostgreSQL of its own, produces the input, and runs each way in
processes of its own. Memory is bounded by the chunk, so the peak of a million must not be far from that of a hundred
thousand.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from confluent_kafka import Producer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from local.credentials import load_credentials
from local.data import start_data, stop_data
from local.ports import random_free
from local.roles import owner_dsn
from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pairs,
    Pipeline,
    PostgresTable,
    Stream,
    Sum,
    TumblingWindow,
)
from microbatch.consume import consume
from microbatch.outputs import AnyOutput
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import connections
from microbatch.topics import create_topics

SIZES: Final = (100_000, 1_000_000)
PARTITIONS: Final = 4
# An hour ago: Kafka's retention, which goes by timestamps, leaves it alone.
FIRST_S: Final = int(time.time()) // 60 * 60 - 3600


class Number(Event):
    """A number of somebody."""

    who: str
    number: int
    at: EpochSeconds


WAYS: Final = ("aggregate", "stream", "unique", "pairs")


def pipeline(way: str, size: int) -> Pipeline:
    """The pipeline of one way, which reads the whole topic of that size in one batch."""
    name = f"{way}_{size}"
    to: list[PostgresTable | KafkaTopic] = [PostgresTable(name), KafkaTopic(name)]
    columns = {"who": "upper(who)", "number": "number", "at": '"at"'}
    outputs: dict[str, AnyOutput] = {
        "aggregate": TumblingWindow(
            "1 minute", by=["who"], measures={"total": Sum("number"), "numbers": Count()}, to=to
        ),
        "stream": Stream(columns=columns, where="number >= 0", to=to),
        "unique": Stream(columns=columns, unique=["who", "number", "at"], to=to),
        "pairs": Pairs("number", 12, to=to),
    }
    return Pipeline(
        name=name,
        source=KafkaTopic(f"numbers-{size}", Number, event_time="at", partitions=PARTITIONS),
        outputs=[outputs[way]],
        max_records=size,
        dead_letters=KafkaTopic("numbers-dlq"),
    )


def main() -> None:
    """Produce the input, run each way, print the table."""
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    ports = (random_free(), random_free(), random_free())
    table = Table("way", "messages", "task", "wall s", "CPU s", "peak MiB")
    try:
        start_data(home, *ports, console.print)
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{ports[0]}"
        os.environ["POSTGRES_OWNER_DSN"] = owner_dsn(ports[2], load_credentials(home))
        for size in SIZES:
            create_topics([pipeline(way, size) for way in WAYS], connections())
            _produce(size)
            for way in WAYS:
                for task in ("consume", "publish"):
                    found = _measured(way, size, task)
                    table.add_row(way, f"{size:,}", task, *(f"{number:.1f}" for number in found))
                console.print(f"{way} of {size:,} done")
    finally:
        stop_data(home, console.print)
        shutil.rmtree(home, ignore_errors=True)
    console.print(table)


def _produce(size: int) -> None:
    producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"], "linger.ms": 50})
    for number in track(range(size), description=f"producing {size:,}", update_period=1):
        at_s = FIRST_S + number * 600 // size
        value = json.dumps({"who": f"w{number % 1000}", "number": number * 7919 % 13, "at": at_s}).encode()
        while True:
            try:
                producer.produce(f"numbers-{size}", value, partition=number % PARTITIONS, timestamp=at_s * 1000)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)


def _measured(way: str, size: int, task: str) -> list[float]:
    command = [sys.executable, __file__, way, str(size), task]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return list(json.loads(output.strip().splitlines()[-1]))


def _child(way: str, size: int, task: str) -> None:
    started_s = time.monotonic()
    run, there, made = Run("bench", "bench"), connections(), pipeline(way, size)
    done = consume(made, 0, run, there).messages if task == "consume" else publish(made, run, there).sent
    if not done:
        raise SystemExit(f"{way}: {task} had nothing to do")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([time.monotonic() - started_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _child(sys.argv[1], int(sys.argv[2]), sys.argv[3])
