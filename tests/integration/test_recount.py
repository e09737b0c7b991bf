"""The independent check: it agrees with an engine that works, and each of its comparisons can fail.

What the real engine has made is tampered with, in PostgreSQL and in Kafka, and the check has to name it.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fix_pipeline import T0, Message, World, sale, sales_pipeline
from fix_stack import Stack
from microbatch.settings import Connections
from microbatch.topics import create_topics
from recount import PipelineUnknownError, Report, check
from recount.kafka import Message as Found
from recount.kafka import committed, ends, read

_numbers = itertools.count(1)


def look(world: World, **options: Any) -> Report:
    """The report on a world where everything is settled, without waiting for a better moment."""
    defaults: dict[str, Any] = {"settled": True, "patience_s": 0}
    connections = world.connections
    return check(
        world.pipeline.name,
        connections.bootstrap,
        connections.postgres,
        connections.deployment,
        **(defaults | options),
    )


def finds(report: Report, name: str, text: str) -> bool:
    """Whether a comparison of that name has a difference with that text."""
    return any(
        text in difference for finding in report.findings if name in finding.name for difference in finding.differences
    )


def settle(world: World) -> None:
    """Three minutes with everything in them: rejects, a tombstone, an aborted transaction, a late correction."""
    world.send(
        Message(sale("ada", 3), partition=0, key=b"k"),
        Message(b"not json", partition=0, key=b"bad", headers=(("trace", b"\xff\x00"), ("trace", b"2"))),
        Message(sale("bob", -5), partition=1),
        Message(None, partition=1, key=b"k"),
        Message(b'{"seller_id": "ada"}', partition=1),
        Message(sale("ada", 2**62, T0 + 59), partition=1),
        Message(sale("ada", 100, T0 + 60), partition=0),
    )
    world.run(minute=0)
    abort(world)
    world.run(minute=1)
    world.send(Message(sale("ada", 2**62), partition=0), Message(b"[]", partition=0))
    world.run(minute=2)


def abort(world: World) -> None:
    """A transaction of somebody else that ends in an abort: its marker is the partition's last record."""
    producer = Producer({"bootstrap.servers": world.connections.bootstrap, "transactional.id": f"rc-{os.getpid()}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(world.pipeline.source.name, value=sale("eve", 666), partition=0)
    producer.flush(120)
    producer.abort_transaction(30)


# -- agreeing ----------------------------------------------------------------------------------------------


@pytest.fixture
def settled(make_world: Callable[..., World]) -> World:
    world = make_world(deployment="recount")
    settle(world)
    return world


def test_it_agrees_with_what_the_engine_did(settled: World) -> None:
    report = look(settled)

    assert report.ok, report.render()
    assert (report.messages, report.rejected) == (9, 3)
    assert all(finding.compared for finding in report.findings), report.render()


def test_a_pipeline_that_waits_for_its_next_run_agrees_unless_it_should_be_settled(settled: World) -> None:
    settled.send(sale("ada", 1, T0 + 200))

    assert look(settled, settled=False).ok
    assert finds(look(settled), "no gap", "last stable offset")


def test_an_open_window_agrees_unless_it_should_be_settled(settled: World) -> None:
    settled.send(sale("ada", 1, T0 + 600))
    settled.run(minute=3)

    report = look(settled, settled=False)
    assert report.ok, report.render()
    assert report.messages == 10
    assert finds(look(settled), "aggregated_sales = input", "still open")


def test_no_message_is_said_to_prove_nothing(make_world: Callable[..., World]) -> None:
    world = make_world(deployment="recount")
    world.run(minute=0)

    report = look(world)
    assert report.messages == 0
    assert "NOTHING TO COUNT" in report.render()


def test_an_unknown_pipeline_is_an_error(settled: World) -> None:
    with pytest.raises(PipelineUnknownError, match="no pipeline 'sales' of deployment 'other'"):
        check("sales", settled.connections.bootstrap, settled.connections.postgres, "other")


def test_the_command_prints_a_table_and_exits_with_the_verdict(settled: World) -> None:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": settled.connections.bootstrap,
        "POSTGRES_DSN": settled.connections.postgres,
        "MICROBATCH_DEPLOYMENT": settled.connections.deployment,
    }
    command = [sys.executable, "-m", "recount", "sales", "--settled", "--patience", "0"]

    agrees = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    execute(settled, "update aggregated_sales set amount_usd = amount_usd + 1")
    differs = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (agrees.returncode, differs.returncode) == (0, 1), agrees.stdout + agrees.stderr
    assert "9 input messages counted again, 3 of them rejects" in agrees.stdout
    assert "aggregated_sales = input" in differs.stdout


# -- tampering with PostgreSQL -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(stack: Stack) -> Iterator[World]:
    """A settled world whose database is copied for each test; its topics are left alone."""
    name = f"recount_{os.getpid()}"
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} owner microbatch").format(sql.Identifier(name)))
        dsn = make_conninfo(stack.owner_dsn, dbname=name)
        world = World(sales_pipeline(name, 2), Connections({"bootstrap.servers": stack.bootstrap}, dsn, name))
        create_topics([world.pipeline], world.connections)
        settle(world)
        yield world
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def copy(stack: Stack, template: World) -> Iterator[World]:
    """The settled world over a copy of its database."""
    old, new = template.connections.deployment, f"{template.connections.deployment}_{next(_numbers)}"
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {} owner microbatch").format(sql.Identifier(new), sql.Identifier(old))
        )
        dsn = make_conninfo(stack.owner_dsn, dbname=new)
        yield World(template.pipeline, Connections(template.connections.kafka, dsn, old))
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(new)))


def execute(world: World, *statements: str) -> None:
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            assert cursor.rowcount != 0, f"changes nothing: {statement}"


@dataclass(frozen=True)
class Tampering:
    """Statements, and what the check has to say of them: the comparison's name, and a part of the difference."""

    statements: tuple[str, ...]
    name: str
    text: str


ADA = "seller_id = 'ada' and window_start = '2026-11-21 10:00Z'"
BOB = "seller_id = 'bob'"
RESULT = "update aggregated_sales set"
HISTORY = "update aggregated_sales_history set"
CONTRIBUTION = "update aggregated_sales_contribution set"
RANGE = "update microbatch.offset_range set"
PROGRESS = "update microbatch.partition_progress set"
MOVED_RESULT = f"""
    insert into aggregated_sales
    select
        window_start + interval '%s', window_end + interval '%s', seller_id, amount_usd, sales, false, 1, updated_at
    from aggregated_sales where {BOB}
"""
SHIFTED_CONTRIBUTIONS = f"""
    update aggregated_sales_contribution set amount_usd = amount_usd
        + case when batch_id = (select max(batch_id) from aggregated_sales_contribution) then 1 else -1 end
    where {ADA}
"""
REPEATED_HISTORY = f"""
    insert into aggregated_sales_history (
        window_start, window_end, seller_id, amount_usd, sales, is_final, revision, retracted, batches, merge_id,
        valid_from
    )
    select
        window_start, window_end, seller_id, amount_usd, sales, is_final, 2, retracted, batches, merge_id, valid_from
    from aggregated_sales_history where {BOB}
"""
OVERLAP = "insert into microbatch.offset_range select * from microbatch.offset_range where partition = 1"
WAITING_SEGMENT = """
    insert into microbatch.outbox_segment (pipeline_id, merge_id, messages, payload)
    select pipeline_id, merge_id, 1, '' from microbatch.merge
"""
WAITING_TOUCHED = """
    insert into microbatch.touched (pipeline_id, output, batch_id, window_start)
    select pipeline_id, 'aggregated_sales', batch_id, now() from microbatch.batch
"""


def changed(*statements: str, name: str, text: str) -> Tampering:
    return Tampering(statements, name, text)


RESULTS_CHANGED = [
    changed(f"{RESULT} amount_usd = amount_usd + 1 where {ADA}", name="aggregated_sales = input", text="ada"),
    changed(f"{RESULT} sales = sales - 1 where {ADA}", name="= its contributions", text="ada"),
    changed(f"{RESULT} is_final = false where {ADA}", name="aggregated_sales = input", text="is_final is False"),
    changed(f"{RESULT} revision = 7 where {ADA}", name="_history", text="the result has 7"),
    changed(f"{RESULT} window_end = window_end + '1s' where {ADA}", name="= input", text="window_end is"),
    changed(f"{RESULT} seller_id = 'eve' where {BOB}", name="aggregated_sales = input", text="eve"),
    changed(f"delete from aggregated_sales where {ADA}", name="aggregated_sales = input", text="missing"),
    changed(MOVED_RESULT % ("1h", "1h"), name="_history", text="a result without a revision"),
    changed(MOVED_RESULT % ("-1h", "-1h"), name="aggregated_sales = input", text="the input has nothing for it"),
    changed(f"{CONTRIBUTION} sales = sales + 1 where {BOB}", name="_contribution = input", text="bob"),
    changed(SHIFTED_CONTRIBUTIONS, name="_contribution = input", text="ada"),
    changed(f"delete from aggregated_sales_contribution where {BOB}", name="_contribution = input", text="nothing"),
]
HISTORY_CHANGED = [
    changed(
        f"delete from aggregated_sales_history where {ADA} and revision = 1", name="_history", text="revisions are 2"
    ),
    changed(f"{HISTORY} amount_usd = 1 where {ADA} and revision = 1", name="= history", text="sent as"),
    changed(f"{HISTORY} is_final = false where {ADA} and revision = 2", name="_history", text="is not final"),
    changed(f"{HISTORY} batches = '{{999}}' where {BOB}", name="_history", text="do not exist"),
    changed(f"{HISTORY} batches = '{{}}' where {BOB}", name="_history", text="names batches []"),
    changed(f"{HISTORY} valid_to = null where {ADA} and revision = 1", name="_history", text="it still holds"),
    changed(f"{HISTORY} valid_to = now() where {BOB}", name="_history", text="no longer holds"),
    changed(f"{HISTORY} retracted = true where {BOB}", name="_history", text="without a revision that holds"),
    changed(REPEATED_HISTORY, f"{RESULT} revision = 2 where {BOB}", name="_history", text="revision 2 repeats 1"),
]
LEDGER_CHANGED = [
    changed(
        "update microbatch.pipeline set closed_until = '2026-11-21 10:00Z'", name="= input", text="its window is open"
    ),
    changed("update microbatch.pipeline set complete_from = 'infinity'", name="= input", text="is_final is True"),
    changed(
        "alter table microbatch.offset_range drop constraint offset_counts_once",
        OVERLAP,
        name="disjoint",
        text="overlap",
    ),
    changed(
        f"{RANGE} offsets = int8range(lower(offsets), 99) where partition = 0 and lower(offsets) > 4",
        name="disjoint",
        text="beyond the high watermark",
    ),
    changed(
        f"{RANGE} offsets = int8range(1, upper(offsets)) where partition = 0 and lower(offsets) = 0",
        name="no gap",
        text="covered without a gap up to 0",
    ),
    changed(
        "delete from microbatch.offset_range where partition = 0 and lower(offsets) = 0",
        name="no gap",
        text="the message at 0 was stepped over",
    ),
    changed(f"{PROGRESS} covered_until = covered_until - 1", name="no gap", text="covered without a gap up to"),
    changed("delete from microbatch.partition_progress where partition = 1", name="no gap", text="covered up to None"),
    changed(f"{RANGE} messages = messages + 1 where partition = 1", name="counted", text="5 messages, 1 rejected"),
    changed(f"{RANGE} rejected = 0 where partition = 1", name="counted", text="0 rejected"),
    changed("update microbatch.batch set messages = messages + 1", name="counted", text="batch 1 says 8 messages"),
    changed("update microbatch.batch set rejected = 0 where rejected > 0", name="counted", text="batch 1 says 7"),
    changed("delete from microbatch.reject where partition = 1", name="rejected offsets", text="not rejected"),
    changed('update microbatch.reject set "offset" = 0 where partition = 1', name="rejected offsets", text="but valid"),
    changed("update microbatch.reject set reason = 'other'", name="dlq: whole", text="microbatch.reason"),
    changed(
        "update microbatch.reject set batch_id = (select max(batch_id) from microbatch.batch) where partition = 1",
        name="rejected offsets",
        text="partition 1, offset 2: batch",
    ),
    changed(f"{PROGRESS} topic_id = gen_random_uuid()", name="source topic", text="has id"),
    changed(f"{PROGRESS} partition = 5 where partition = 1", name="source topic", text="not in the topic"),
]
WORK_LEFT = [
    changed(
        "update microbatch.publisher set last_publication = last_publication + 1, intent = last_publication + 1",
        name="at rest",
        text="open intent",
    ),
    changed(
        "update microbatch.publisher set last_publication = last_publication + 1",
        name="at rest",
        text="last publication",
    ),
    changed(WAITING_TOUCHED, name="at rest", text="rows in touched"),
    changed(WAITING_SEGMENT, name="at rest", text="rows in segments"),
    changed("update microbatch.publisher set cursor = cursor - 1", name="committed offsets", text="the ledger"),
    changed("update microbatch.publisher set cursor = 0", name="format", text="0 is the last one sent"),
    changed(
        "update microbatch.pipeline set ledger = gen_random_uuid()",
        name="committed offsets",
        text="the cursor is of ledger",
    ),
]
TAMPERINGS = RESULTS_CHANGED + HISTORY_CHANGED + LEDGER_CHANGED + WORK_LEFT


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.text)
def test_it_finds_what_was_changed_in_postgres(copy: World, tampering: Tampering) -> None:
    execute(copy, *tampering.statements)

    report = look(copy)

    assert finds(report, tampering.name, tampering.text), report.render()


def test_the_untouched_copy_agrees(copy: World) -> None:
    report = look(copy)

    assert report.ok, report.render()


def test_a_reader_sees_an_open_transaction_and_a_lock_of_the_engine(copy: World, stack: Stack) -> None:
    execute(
        copy,
        "grant usage on schema microbatch, public to reader",
        "grant select on all tables in schema microbatch to reader",
        "grant select on all tables in schema public to reader",
    )
    name = psycopg.conninfo.conninfo_to_dict(copy.connections.postgres)["dbname"]
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("grant connect on database {} to reader").format(sql.Identifier(str(name))))
    reader = make_conninfo(stack.reader_dsn, dbname=name)
    arguments = ("sales", copy.connections.bootstrap, reader, copy.connections.deployment)

    assert check(*arguments, settled=True, patience_s=0).ok
    with psycopg.connect(copy.connections.postgres, application_name="microbatch consume") as engine:
        engine.execute("select pg_advisory_lock(pipeline_id, 2) from microbatch.pipeline")
        report = check(*arguments, settled=True, patience_s=0)

    assert finds(report, "at rest", "open transaction of 'microbatch consume'"), report.render()
    assert finds(report, "at rest", "advisory lock, slot 2"), report.render()


def test_a_ledger_that_moves_is_looked_at_again_until_it_rests(copy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["update microbatch.batch set messages = messages + 1"]
    back = ["update microbatch.batch set messages = messages - 1"]

    def move_and_ask(*arguments: Any) -> Any:
        for moves in (there, back):
            if moves:
                execute(copy, moves.pop())
                break
        return committed(*arguments)

    monkeypatch.setattr("recount.moment.kafka.committed", move_and_ask)

    assert look(copy, patience_s=30).ok
    assert not back


def test_what_happens_once_the_moment_is_known_does_not_matter(copy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live pipeline moves while its topics are read, which may take long."""

    def move_and_read(*arguments: Any) -> Iterator[Found]:
        execute(copy, "update microbatch.batch set messages = messages + 1")
        return read(*arguments)

    monkeypatch.setattr("recount.picture.kafka.read", move_and_read)

    assert look(copy).ok


def test_a_ledger_that_never_rests_is_a_difference(copy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def move_and_ask(*arguments: Any) -> Any:
        execute(copy, "update microbatch.batch set messages = messages + 1")
        return committed(*arguments)

    monkeypatch.setattr("recount.moment.kafka.committed", move_and_ask)

    assert finds(look(copy), "one moment", "batches changed")


# -- tampering with Kafka ----------------------------------------------------------------------------------


def results_topic(world: World) -> str:
    topic = world.pipeline.outputs[0].topic
    assert topic is not None
    return topic.name


def dead_letters_topic(world: World) -> str:
    return world.pipeline.dead_letter_topic.name


def everything(world: World, topic: str) -> list[Found]:
    bootstrap = world.connections.bootstrap
    spans = {partition: (end.low, end.last_stable) for partition, end in ends(bootstrap, topic).items()}
    return list(read(bootstrap, topic, spans))


def put(world: World, message: Found, **changes: Any) -> None:
    """Append a message like this one, changed."""
    given: dict[str, Any] = {
        "key": message.key,
        "value": message.value,
        "partition": message.partition,
        "timestamp": message.timestamp_ms,
        "headers": list(message.headers),
    }
    producer = Producer({"bootstrap.servers": world.connections.bootstrap})
    producer.produce(message.topic, **(given | changes))
    assert producer.flush(120) == 0


def with_header(message: Found, name: str, value: str) -> list[tuple[str, bytes | None]]:
    return [(header, value.encode() if header == name else old) for header, old in message.headers]


def bob(world: World) -> Found:
    """The only revision of bob's window, the last message of its partition or not."""
    return next(m for m in everything(world, results_topic(world)) if b"bob" in (m.value or b""))


def as_revision(message: Found, number: int, **changes: Any) -> dict[str, Any]:
    value = json.loads(message.value or b"") | {"revision": number} | changes
    return {"value": json.dumps(value).encode(), "headers": with_header(message, "microbatch.revision", str(number))}


def test_a_revision_that_is_sent_twice_is_found(settled: World) -> None:
    put(settled, bob(settled))

    report = look(settled)
    assert finds(report, "revisions", "revisions are 1, 1"), report.render()
    assert finds(report, "= history", "sent 2 times"), report.render()


def test_a_revision_that_is_stepped_over_is_found(settled: World) -> None:
    put(settled, bob(settled), **as_revision(bob(settled), 3))

    assert finds(look(settled), "revisions", "revisions are 1, 3")


def test_a_final_result_that_is_not_final_any_more_is_found(settled: World) -> None:
    put(settled, bob(settled), **as_revision(bob(settled), 2, is_final=False))

    assert finds(look(settled), "revisions", "revision 2 is not final, 1 was")


def test_another_number_on_the_topic_is_found(settled: World) -> None:
    put(settled, bob(settled), **as_revision(bob(settled), 2, amount_usd=7))

    report = look(settled)
    assert finds(report, "aggregated-sales = input", "amount_usd=7, sales=1, the input gives amount_usd=-5, sales=1"), (
        report.render()
    )


def test_a_tombstone_nobody_ordered_is_found(settled: World) -> None:
    message = bob(settled)
    put(settled, message, value=None, headers=with_header(message, "microbatch.revision", "2"))

    assert finds(look(settled), "aggregated-sales = input", "missing")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"timestamp": 1}, "timestamp 1"),
        ({"headers": []}, "revision in the headers"),
        ({"headers": [("microbatch.revision", b"1")]}, "no cursor"),
        ({"value": b"{"}, "not a JSON object"),
        ({"value": b'{"revision":1}'}, "promised are"),
        ({"key": b'{"window_start":"2026-11-21T10:00:00+00:00","seller_id":"bob"}'}, "which is no timestamptz"),
        ({"key": b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"eve"}'}, "not of the key"),
        ({"key": b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"b","seller_id":"bob"}'}, "there twice"),
    ],
)
def test_a_result_without_its_promised_format_is_found(template: World, changes: dict[str, Any], text: str) -> None:
    """On the shared topic: what the others add is found too, each by its own text."""
    put(template, bob(template), **changes)

    report = look(template)
    assert finds(report, "format", text), report.differences


def test_a_key_on_the_wrong_partition_is_found(settled: World) -> None:
    message = bob(settled)
    put(settled, message, partition=1 - message.partition)

    assert finds(look(settled), "format", "murmur2")


def test_a_cursor_that_decreases_is_found(settled: World) -> None:
    message = max(everything(settled, results_topic(settled)), key=lambda message: message.offset)
    cursor = json.loads(message.header("microbatch.cursor") or "") | {"publication": 1}
    put(settled, message, headers=with_header(message, "microbatch.cursor", json.dumps(cursor)))

    assert finds(look(settled), "format", "publication 1 after")


def test_messages_that_are_gone_from_a_sink_are_found(settled: World) -> None:
    for topic in (results_topic(settled), dead_letters_topic(settled)):
        cut(settled, topic)

    report = look(settled)
    assert finds(report, "= history", "was not sent"), report.render()
    assert finds(report, "= rejects", "not there"), report.render()


def test_input_that_is_gone_is_found(settled: World) -> None:
    cut(settled, settled.pipeline.source.name, keep=1)

    assert finds(look(settled), "source topic", "are gone and cannot be counted again")


def cut(world: World, topic: str, keep: int = 0) -> None:
    """Delete all records of a topic but the newest `keep` offsets of each partition, as retention does."""
    bootstrap = world.connections.bootstrap
    upto = [TopicPartition(topic, p, end.high - keep) for p, end in ends(bootstrap, topic).items()]
    admin = AdminClient({"bootstrap.servers": bootstrap})  # kept: without it its futures never end
    entry = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result()
    for future in admin.delete_records(upto).values():
        future.result()


def a_dead_letter(world: World) -> Found:
    return next(m for m in everything(world, dead_letters_topic(world)) if m.value == b"not json")


def test_a_dead_letter_that_is_there_twice_is_found(settled: World) -> None:
    put(settled, a_dead_letter(settled))

    report = look(settled)
    assert finds(report, "= rejects", "sent 2 times"), report.render()
    assert finds(report, "order", "0@1 after 0@"), report.render()


def test_a_dead_letter_on_the_wrong_partition_is_found(settled: World) -> None:
    put(settled, a_dead_letter(settled), partition=1)

    assert finds(look(settled), "order", "belongs on 0")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": b"not jso"}, "value is"),
        ({"key": None}, "key is None"),
        ({"timestamp": 5}, "timestamp_ms is 5"),
    ],
)
def test_a_dead_letter_that_is_not_whole_is_found(template: World, changes: dict[str, Any], text: str) -> None:
    put(template, a_dead_letter(template), **changes)

    assert finds(look(template), "whole", text)


def test_a_dead_letter_with_other_headers_is_found(settled: World) -> None:
    message = a_dead_letter(settled)
    put(settled, message, headers=list(message.headers[1:]))
    put(settled, message, headers=with_header(message, "microbatch.batch", "77"))
    put(settled, message, headers=with_header(message, "microbatch.offset", "0"))
    put(settled, message, headers=[h for h in message.headers if h[0] != "microbatch.cursor"])

    report = look(settled)
    assert finds(report, "whole", "headers"), report.render()
    assert finds(report, "whole", "microbatch.batch is '77', should be '1'"), report.render()
    assert finds(report, "= rejects", "0@0, which is no reject"), report.render()
    assert finds(report, "order", "no cursor"), report.render()


def test_dead_letters_of_other_pipelines_and_deployments_are_not_ours_to_judge(settled: World) -> None:
    message = a_dead_letter(settled)
    other = {"ledger": "00000000-0000-0000-0000-000000000000", "publication": 1}
    put(settled, message, headers=with_header(message, "microbatch.pipeline", "other"))
    put(settled, message, headers=with_header(message, "microbatch.cursor", json.dumps(other)))

    report = look(settled)
    assert report.ok, report.render()


def test_a_group_that_was_reset_is_found(settled: World) -> None:
    group = f"microbatch.{settled.connections.deployment}.sales"
    settings = {"bootstrap.servers": settled.connections.bootstrap, "group.id": group}
    with closing(Consumer(settings)) as consumer:
        consumer.commit(offsets=[TopicPartition(settled.pipeline.source.name, 0, 3)], asynchronous=False)

    report = look(settled)
    assert finds(report, "committed offsets", "committed 3, covered up to"), report.render()
    assert finds(report, "committed offsets", "no cursor in the metadata"), report.render()


def test_an_open_transaction_on_an_output_is_found(settled: World) -> None:
    settings = {"bootstrap.servers": settled.connections.bootstrap, "transactional.id": "recount-hangs"}
    producer = Producer(settings)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(dead_letters_topic(settled), value=b"hangs", partition=0)
    producer.flush(120)

    report = look(settled)
    producer.abort_transaction(30)

    assert finds(report, "no open Kafka transaction", "last stable offset"), report.render()


def test_an_open_transaction_of_the_group_is_found(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recount.kafka.TIMEOUT_S", 3.0)
    group = f"microbatch.{settled.connections.deployment}.sales"
    settings = {"bootstrap.servers": settled.connections.bootstrap}
    with closing(Consumer(settings | {"group.id": group})) as consumer:
        producer = Producer(settings | {"transactional.id": group})
        producer.init_transactions(30)
        producer.begin_transaction()
        positions = [TopicPartition(settled.pipeline.source.name, 0, 1)]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
        report = look(settled)
        producer.abort_transaction(30)

    assert finds(report, "committed offsets", "a transaction of the group is open"), report.render()


def test_a_message_that_the_engine_never_read_is_found_where_all_is_settled(settled: World) -> None:
    settled.send(Message(sale("late", 1), partition=1))

    assert finds(look(settled), "no gap", "partition 1: covered up to 4, last stable offset 5")
