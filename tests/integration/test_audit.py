"""`microbatch audit`, as people call it, over what the engine has made, over what retention left, and tampered with."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner, Result

import recount
from fix_child import wait_for
from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack
from microbatch import KafkaTopic, PostgresTable, Stream, cli
from microbatch.deciding import Why, record
from microbatch.topics import create_topics
from outside import on_topic
from recount.kafka import Message as Found
from recount.kafka import ends

FIRST_HOUR, SECOND_HOUR = T0, T0 + 3600


def world_of(stack: Stack, dsn: str) -> World:
    """Sales as rows and sums: a stream in a table and a topic, before the windows."""
    base = new_world(stack, dsn)
    prefix = base.pipeline.source.name
    rows = Stream(
        columns={"seller": "seller_id", "amount": "amount_usd"},
        reject={"no gifts": "amount_usd = 0"},
        to=[PostgresTable("sale_rows"), KafkaTopic(f"{prefix}-rows", partitions=2)],
    )
    world = base.replace(outputs=[rows, *base.pipeline.outputs])
    create_topics([world.pipeline], world.connections)
    return world


def settle(world: World) -> None:
    """Two hours of one minute each, a batch per minute; the third one is late for the first hour."""
    world.send(
        *(Message(sale("ada", n), 0, b"k", FIRST_HOUR) for n in (1, 2, 3)),
        Message(b"bad", 0, b"k", FIRST_HOUR),
        Message(sale("bob", 5), 1, b"k", FIRST_HOUR),
    )
    world.run(minute=0)
    world.send(
        *(Message(sale("ada", n, SECOND_HOUR), 0, b"k", SECOND_HOUR) for n in (10, 20)),
        Message(sale("bob", 0, SECOND_HOUR), 1, b"k", SECOND_HOUR),
    )
    world.run(minute=60)
    world.send(Message(sale("ada", 100, FIRST_HOUR), 0, b"k", SECOND_HOUR + 60))
    world.run(minute=61)


@pytest.fixture
def sales(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A settled world that the command line looks at, with the role that only reads."""
    with new_database(stack) as dsn:
        world = world_of(stack, dsn)
        database = conninfo_to_dict(dsn)["dbname"]
        settle(world)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap)
        monkeypatch.setenv("POSTGRES_DSN", make_conninfo(stack.reader_dsn, dbname=database))
        monkeypatch.setenv("POSTGRES_OWNER_DSN", dsn)
        monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)
        yield world


def audit(*options: str) -> Result:
    return CliRunner().invoke(cli.app, ["audit", "sales", "--patience", "20", *options])


def agrees(*options: str) -> str:
    result = audit(*options)
    assert result.exit_code == 0, result.output + result.stderr
    assert "agrees." in result.output
    return result.output


def differs(*texts: str) -> str:
    """The output of an audit that finds differences, with those texts in it."""
    result = audit()
    assert result.exit_code == 1, result.output + result.stderr
    for text in texts:
        assert text in result.output, result.output
    return result.output


def execute(world: World, statement: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        assert connection.execute(statement.encode()).rowcount > 0, statement


def delete_before(world: World, topic: str, offsets: dict[int, int]) -> None:
    """As retention does."""
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    for future in admin.delete_records([TopicPartition(topic, p, offset) for p, offset in offsets.items()]).values():
        future.result()


def send_again(world: World, message: Found) -> None:
    producer = Producer({"bootstrap.servers": world.connections.bootstrap})
    producer.produce(
        message.topic,
        message.value,
        message.key,
        message.partition,
        timestamp=message.timestamp_ms,
        headers=list(message.headers),
    )
    assert producer.flush(120) == 0


def interval(start: int, end: int) -> tuple[str, ...]:
    first, last = (datetime.fromtimestamp(at, UTC).isoformat() for at in (start, end))
    return "--from", first, "--to", last


# -- agreeing and differing --------------------------------------------------------------------------------


def test_what_agrees_and_each_thing_that_does_not(sales: World) -> None:
    """One world that is spoilt again and again: each difference is named with its place."""
    text = agrees()
    assert "9 messages of 3 batches counted again, 2 of them rejects; 9 read" in text
    assert "Not counted again" not in text

    execute(sales, "update aggregated_sales set amount_usd = 7 where seller_id = 'bob'")
    differs("aggregated_sales = input", "('bob',): amount_usd=7, sales=1, the input gives amount_usd=5, sales=1")
    execute(sales, "update aggregated_sales set amount_usd = 5 where seller_id = 'bob'")

    execute(sales, "delete from sale_rows where source_partition = 0 and source_offset = 2")
    differs("sale_rows = input", "0@2: missing")

    execute(sales, "delete from microbatch.offset_range where partition = 0 and lower(offsets) = 4")
    differs("offset ranges have no gap", "partition 0: the message at 4 was stepped over", "sale_rows = input")

    stream = sales.pipeline.outputs[0].topic
    assert stream is not None
    twice = next(m for m in on_topic(sales, stream.name) if m.header("microbatch.offset") == "1")
    send_again(sales, twice)
    result = differs(f"topic {stream.name} = input", "@1: sent 2 times")
    assert twice.where in result


def test_without_a_pipeline_or_a_moment_it_could_not_look(sales: World) -> None:
    other = CliRunner().invoke(cli.app, ["audit", "other"])
    half = audit("--from", "2026-11-21T10:00:00Z")
    with psycopg.connect(sales.connections.postgres, application_name="microbatch consume") as engine:
        engine.execute("select pg_advisory_xact_lock(pipeline_id, 2) from microbatch.pipeline")
        busy = CliRunner().invoke(cli.app, ["audit", "sales", "--patience", "0"])

    assert (other.exit_code, half.exit_code, busy.exit_code) == (2, 2, 2)
    assert "the ledger has no pipeline 'other'" in other.stderr
    assert "give both --from and --to" in half.stderr
    assert "sales was at work for all of 0 s (advisory lock, slot 2" in busy.stderr


def test_a_live_pipeline_is_audited_between_its_runs(sales: World) -> None:
    """Runs follow each other while the audit looks; it gets a moment, and what comes later does not matter."""
    stop, runs, failures = threading.Event(), [0], []

    def work() -> None:
        try:
            while not stop.is_set():
                sales.send(Message(sale("eve", runs[0], SECOND_HOUR + 600), 1, b"k", SECOND_HOUR + 600))
                sales.run(minute=70)
                runs[0] += 1
                stop.wait(1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails of it
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for("runs", lambda: runs[0] > 1)
        before = runs[0]
        agrees()
        wait_for("more runs", lambda: runs[0] > before)
    finally:
        stop.set()
        thread.join()
    assert not failures


# -- what nobody can count again ---------------------------------------------------------------------------


def test_what_retention_deleted_is_named_and_all_else_is_still_judged(sales: World) -> None:
    delete_before(sales, sales.pipeline.source.name, {0: 2})

    text = agrees()
    assert "All that could be counted again agrees." in text
    assert "Not counted again, and taken as the ledger has it: 5 offsets" in text
    assert f"{sales.pipeline.source.name}[0]" in text
    assert "0..3" in text  # the whole batch, not only what was deleted
    assert "retention deleted its input" in text
    assert "4 messages of 2 batches counted again" in text

    execute(sales, "update aggregated_sales set amount_usd = 31 where window_start = '2026-11-21 11:00Z'")
    differs("('ada',): amount_usd=31, sales=2, the input gives amount_usd=30, sales=2")
    execute(sales, "update aggregated_sales set amount_usd = 30 where window_start = '2026-11-21 11:00Z'")
    # A total over a batch on trust and one that is counted again.
    execute(sales, "update aggregated_sales set amount_usd = 107 where amount_usd = 106")
    differs("('ada',): amount_usd=107, sales=4, the input gives amount_usd=106, sales=4")

    there = sales.connections
    strict = recount.check("sales", there.bootstrap, there.postgres, there.deployment)
    assert any("are gone and cannot be counted again" in text for text in strict.differences)


def test_sent_messages_that_retention_deleted_are_no_difference(sales: World) -> None:
    topic = sales.pipeline.dead_letter_topic.name
    letter = next(letter for letter in on_topic(sales, topic) if letter.partition == 0)
    send_again(sales, letter)
    differs("sent 2 times")
    delete_before(sales, topic, {0: ends(sales.connections.bootstrap, topic)[0].high})

    assert "1 are not there any more: retention" in agrees()


def test_a_loss_that_was_accepted_is_shown_with_who_and_why(sales: World) -> None:
    """Unread messages are deleted; a batch of kind loss covers them, as `microbatch accept-loss` writes it."""
    source = sales.pipeline.source.name
    sales.send(*(Message(sale("eve", n), 1, b"k", SECOND_HOUR + 120) for n in (1, 2)))
    delete_before(sales, source, {1: 4})
    differs(f"{source}[1]: offsets 2..3 were deleted before they were counted")

    with psycopg.connect(sales.connections.postgres) as connection:
        (pipeline_id,) = connection.execute("select pipeline_id from microbatch.pipeline").fetchone() or (0,)
        decision_id = record(connection, pipeline_id, "accept-loss", {}, Why("anna@desk", "we have them on tape"))
        connection.execute(
            "with b as (insert into microbatch.batch"
            " (pipeline_id, shard, kind, batch_time, definition_hash, decision_id)"
            " select pipeline_id, 0, 'loss', now(), definition_hash, %s from microbatch.pipeline returning batch_id)"
            " insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets)"
            " select b.batch_id, p.pipeline_id, %s, p.topic_id, 1, '[2,4)' from b, microbatch.partition_progress as p"
            " where p.partition = 1",
            [decision_id, source],
        )
        connection.execute("update microbatch.partition_progress set covered_until = 4 where partition = 1")
    sales.run(minute=63)  # it renews the group's positions

    text = agrees()
    assert "Never counted, a loss that was accepted: 2 offsets" in text
    assert "anna@desk" in text
    assert "we have them on tape" in text


# -- an interval -------------------------------------------------------------------------------------------


def test_an_interval_is_judged_by_no_more_than_it_needs(sales: World) -> None:
    """The first hour has the first batch and the late one; the second hour's batch is not read."""
    text = agrees(*interval(FIRST_HOUR, FIRST_HOUR + 3600))
    assert "6 messages of 2 batches counted again, 1 of them rejects; 6 read" in text
    assert "everything" not in text

    execute(sales, "update aggregated_sales set amount_usd = 31 where window_start = '2026-11-21 11:00Z'")
    execute(sales, "delete from sale_rows where source_partition = 0 and source_offset = 4")
    agrees(*interval(FIRST_HOUR, FIRST_HOUR + 3600))

    execute(sales, "update aggregated_sales set amount_usd = 105 where amount_usd = 106")
    result = audit(*interval(FIRST_HOUR, FIRST_HOUR + 3600))
    assert result.exit_code == 1
    assert "('ada',): amount_usd=105, sales=4, the input gives amount_usd=106, sales=4" in result.output
    assert "amount_usd=31" not in result.output


def test_an_interval_with_nothing_in_it_reads_nothing(sales: World) -> None:
    text = agrees(*interval(FIRST_HOUR - 7200, FIRST_HOUR - 3600))

    assert "0 messages of 0 batches counted again, 0 of them rejects; 0 read" in text
    assert "There was nothing to count" in text
