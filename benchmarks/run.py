"""`make bench`: the sales pipeline beside what the Kafka client alone can read, on one broker and one input.

Every contestant is a process of its own, imports included, and is checked: a figure counts only if its sums are
right. CPU and memory are the operating system's figures for the finished process; for the engine, Postgres' CPU
time is added. Ratios within one run mean something, seconds only on this machine.
"""

import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from local.credentials import load_credentials
from local.data import start_data, stop_data
from local.ports import random_free
from local.process import load
from local.roles import owner_dsn

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "2000000"))
PARTITIONS = 4
SEED = 1
# An hour ago: Kafka's retention, which goes by timestamps, leaves it alone.
FIRST_S = int(time.time()) // 60 * 60 - 3600
MINUTES = 10
TOPIC = "sales-usd"
HERE = Path(__file__).parent
CONTESTANTS = ("floor", "poll_and_json", "microbatch")


class Figures(msgspec.Struct, frozen=True):
    """What one contestant took. CPU in seconds of all its processes, Postgres included; memory in MiB."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    """Produce the input, run all contestants, print the table, write results.json."""
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="microbatch-bench-"))
    ports = (random_free(), random_free(), random_free())
    try:
        start_data(home, *ports, console.print)
        bootstrap = f"127.0.0.1:{ports[0]}"
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "POSTGRES_OWNER_DSN": owner_dsn(ports[2], load_credentials(home)),
            "BENCH_MESSAGES": str(MESSAGES),
        }
        _prepare(environment)
        expected = _produce(bootstrap)
        figures = [
            _measure(name, environment, {"messages": MESSAGES} if name == "floor" else expected, home)
            for name in CONTESTANTS
        ]
    finally:
        stop_data(home, console.print)
        shutil.rmtree(home, ignore_errors=True)
    _show(console, figures)
    facts = {"messages": MESSAGES, "machine": platform.platform(), "cpus": os.cpu_count(), "figures": figures}
    (HERE / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(facts)) + b"\n")


def _prepare(environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, HERE / "contestants.py", "prepare"], env=environment, check=True)


def _produce(bootstrap: str) -> dict[str, int]:
    """Seeded sales in PARTITIONS partitions; returns the sum per seller."""
    chance = random.Random(SEED)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.num.messages": 50_000})
    sums: dict[str, int] = {}
    for number in track(range(MESSAGES), description="producing", update_period=1):
        seller, amount = f"seller-{chance.randrange(4)}", chance.randrange(1, 1000)
        at_s = FIRST_S + number * 60 * MINUTES // MESSAGES
        sums[seller] = sums.get(seller, 0) + amount
        value = json.dumps({"seller_id": seller, "amount_usd": amount, "sale_ts": at_s}).encode()
        while True:
            try:
                producer.produce(TOPIC, value, partition=number % PARTITIONS, timestamp=at_s * 1000)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)
    return sums


def _measure(name: str, environment: dict[str, str], expected: dict[str, int], home: Path) -> Figures:
    """Run one contestant in a process of its own; it prints what it found, as JSON."""
    before, postgres_before = resource.getrusage(resource.RUSAGE_CHILDREN), _postgres_cpu_s(home)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, HERE / "contestants.py", name], env=environment, stdout=subprocess.PIPE, text=True
    )
    output, _ = process.communicate()
    wall_s = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Airflow's logging, which comes with the DAG file, prints to the same stream.
    line = json.loads(next(line for line in reversed(output.split("\n")) if line.startswith('{"found"')))
    if line["found"] != expected:
        raise SystemExit(f"{name} found {line['found']}, not {expected}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(name, wall_s, cpu_s + _postgres_cpu_s(home) - postgres_before, line["peak_mib"])


def _postgres_cpu_s(home: Path) -> float:
    """CPU seconds of the server's processes, ended ones included."""
    record = load(home, "postgres")
    assert record is not None
    root = psutil.Process(record.pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system + (times.children_user + times.children_system if process == root else 0)
    return total


def _show(console: Console, figures: list[Figures]) -> None:
    floor = figures[0]
    table = Table("contestant", "wall s", "CPU s", "CPU µs a message", "CPU / floor", "peak MiB")
    for each in figures:
        table.add_row(
            each.name,
            f"{each.wall_s:.1f}",
            f"{each.cpu_s:.1f}",
            f"{each.cpu_s / MESSAGES * 1e6:.2f}",
            f"{each.cpu_s / floor.cpu_s:.2f}",
            f"{each.peak_mib:.0f}",
        )
    console.print(f"{MESSAGES:,} messages in {PARTITIONS} partitions")
    console.print(table)


if __name__ == "__main__":
    main()
