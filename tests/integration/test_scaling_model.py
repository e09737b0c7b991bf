"""The model of size counts what a real run leaves: rows of the ledger and of results, messages, transactions, bytes."""

from collections.abc import Callable
from typing import Final

import msgspec
import pytest
from benchmarks.model import ROW_BYTES, Load, Rows, rows, sizes

from fix_pipeline import T0, Message, World, sale
from microbatch import KafkaTopic, PostgresTable, Stream
from microbatch.topics import create_topics
from outside import on_topic, with_output
from recount.kafka import ends

MakeWorld = Callable[..., World]

KEYS: Final = ("ada", "bob")
RESULTS: Final = ("aggregated_sales", "aggregated_sales_history", "aggregated_sales_contribution")


def one_partition(world: World, name: str) -> KafkaTopic:
    """A topic on which all messages are in one order."""
    return KafkaTopic(f"{world.pipeline.source.name}-{name}", partitions=1)


def minute_of(load: Load, minute: int) -> list[Message]:
    """Each key at the start and in the middle of a minute, and in the next one; and a late sale for one key.

    In each partition, and so many of each that batches of two thirds of them all meet the minute.
    """
    start = T0 + 60 * minute
    moments = [start] * 4 + [start + 30] * 4 + [start + 60] * 2
    messages = [
        Message(sale(KEYS[n % 2], 1, moment), partition, at_s=start)
        for partition in range(load.partitions)
        for n, moment in enumerate(moments)
    ]
    return [*messages, Message(sale("ada", 1, start - 60), 0, at_s=start)] if minute else messages


def left(world: World) -> Rows:
    """What the runs so far have left, counted from outside."""
    topic = world.pipeline.outputs[0].topic
    assert topic is not None
    sent = len(on_topic(world, topic.name))
    return Rows(
        batches=counted(world, "microbatch.batch"),
        ranges=counted(world, "microbatch.offset_range"),
        runs=counted(world, "microbatch.run"),
        merges=counted(world, "microbatch.merge"),
        contributions=counted(world, "aggregated_sales_contribution"),
        results=counted(world, "aggregated_sales"),
        revisions=counted(world, "aggregated_sales_history"),
        sent=sent,
        # Beside its messages, a partition has a marker of each transaction that wrote to it.
        transactions=ends(world.connections.bootstrap, topic.name)[0].high - sent,
    )


def counted(world: World, table: str) -> int:
    count: int = world.rows(f"select count(*) from {table}")[0][0]
    return count


@pytest.mark.parametrize(("shards", "max_records"), [(1, 100), (2, 12)])
def test_a_run_leaves_the_rows_messages_and_transactions_that_the_model_says(
    make_world: MakeWorld, shards: int, max_records: int
) -> None:
    """In each run, one of the two results of the minute before is corrected."""
    plain = make_world(partitions=4, shards=shards, max_records=max_records)
    world = with_output(plain, to=[PostgresTable("aggregated_sales"), one_partition(plain, "results")])
    create_topics([world.pipeline], world.connections)
    load = Load(messages_per_second=40 / 60, keys=2, corrected=0.5, shards=shards, max_records=max_records)
    found = []
    for minute in range(3):
        world.send(*minute_of(load, minute))
        world.run(minute)
        found.append(left(world))

    assert minus(found[1], found[0]) == minus(found[2], found[1]) == rows(load)


def minus(after: Rows, before: Rows) -> Rows:
    """What has come since."""
    return Rows(*(a - b for a, b in zip(msgspec.structs.astuple(after), msgspec.structs.astuple(before), strict=True)))


def test_many_results_take_the_room_that_the_model_says(make_world: MakeWorld) -> None:
    """Within a quarter: pages of indexes are as full as the order of their keys lets them be."""
    world, count = make_world(), 4_000
    world.run(-1)
    before = room(world, *RESULTS)
    world.send(*(Message(sale(f"seller {n}", 1), n % 2) for n in range(count)))
    world.run(0)

    taken = room(world, *RESULTS) - before

    stored = sizes()
    assert taken / count == pytest.approx(stored.contribution + stored.result + stored.revision, rel=0.25)


def test_rows_of_a_stream_take_the_room_that_the_model_says(make_world: MakeWorld) -> None:
    """Their columns have a third of the bytes of a message here, which has their names too."""
    plain, count = make_world(), 4_000
    columns = {"seller_id": "seller_id", "amount_usd": "amount_usd", "sale_ts": "sale_ts"}
    world = plain.replace(outputs=[Stream(columns=columns, to=[PostgresTable("sale")])])
    world.send(*(Message(sale(f"seller {n}", 1), n % 2) for n in range(count)))
    world.run(0)

    (columns_bytes,) = world.rows("select avg(pg_column_size(s.*) - 24 - 4 - 8 - 8) from sale as s")[0]
    assert room(world, "sale") / count == pytest.approx(float(columns_bytes) + ROW_BYTES, rel=0.25)


def room(world: World, *tables: str) -> int:
    """Bytes of tables with their indexes."""
    return sum(world.rows("select pg_total_relation_size(%s)", table)[0][0] for table in tables)
