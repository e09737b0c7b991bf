"""A ledger that an engine before this one has left, with its Kafka: this one takes it over and goes on.

`tests/data` has what such engines really left, by the number of their schema; `old_ledger.py` says how it was made. Two
of its tasks were killed: what one had merged was not sent, what the other had read was not merged.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

import recount
from fix_child import wait_for
from fix_stack import Stack
from microbatch import migrations as migrating
from microbatch.errors import SchemaTooNewError
from microbatch.kafka import QUIET, Broker
from microbatch.migrations import migrate
from microbatch.pipeline import Pipeline
from microbatch.postgres import connect
from microbatch.runs import Run
from microbatch.settings import Connections
from microbatch.sql import migrations
from microbatch.topics import create_topics
from old_ledger import DEPLOYMENT, FOLDER, PAIRS, PIPELINES, SALES, T0, Left, group_of, number, run, run_of, sale, send

PREVIOUS = len(migrations()) - 1
NEWEST = f"ledger-{PREVIOUS:04}"
FILES = sorted(path.stem for path in FOLDER.glob("ledger-*.sql"))
_ANSWER_S = 120


class Old(msgspec.Struct, frozen=True):
    """What the previous engine has left."""

    there: Connections

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.there.postgres, options="-c timezone=UTC") as connection:
            return connection.execute(query.encode()).fetchall()

    def check(self, pipeline: Pipeline) -> recount.Report:
        """The independent check."""
        report = recount.check(pipeline.name, self.there.bootstrap, self.there.postgres, DEPLOYMENT, True)
        assert report.ok, report.render()
        return report

    def on_topic(self, topic: str) -> int:
        """How many messages have been sent there."""
        ends = Broker(self.there).ends(topic, range(2 if topic != "old-pair" else 1))
        return sum(at.high_watermark for at in ends.values())


@pytest.fixture
def old(request: pytest.FixtureRequest, stack: Stack, empty: str) -> Iterator[Old]:
    """Both servers as an engine has left them: the one of the file that a test names, or else the previous one."""
    name = getattr(request, "param", NEWEST)
    left = msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=Left)
    there = Connections({"bootstrap.servers": stack.bootstrap}, empty, DEPLOYMENT)
    admin = AdminClient({"bootstrap.servers": stack.bootstrap, **QUIET})
    create_topics(PIPELINES, there)
    try:
        send(stack.bootstrap, left.messages)
        _restore(there, left, (FOLDER / f"{name}.sql").read_text())
        yield Old(there)
    finally:
        _drop(admin, left)


def _restore(there: Connections, left: Left, statements: str) -> None:
    broker = Broker(there)
    now = {left.cluster_id: broker.cluster_id()}
    for topic, topic_id in left.topic_ids.items():
        facts = broker.topic(topic)
        assert facts is not None
        now[topic_id] = str(facts.topic_id)
    for then, today in now.items():
        statements = statements.replace(then, today)
    with psycopg.connect(there.postgres) as connection:
        connection.execute(statements.encode())
    for pipeline in PIPELINES:
        consumer = Consumer({"bootstrap.servers": there.bootstrap, "group.id": group_of(pipeline), **QUIET})
        at = [TopicPartition(c.topic, c.partition, c.offset, c.metadata) for c in left.groups[pipeline.name]]
        consumer.commit(offsets=at, asynchronous=False)
        consumer.close()


def _drop(admin: AdminClient, left: Left) -> None:
    topics = {message.topic for message in left.messages}
    answers = [*admin.delete_topics(sorted(topics)).values()]
    answers += admin.delete_consumer_groups([group_of(pipeline) for pipeline in PIPELINES]).values()
    for answer in answers:
        answer.result(_ANSWER_S)
    wait_for("the topics are gone", lambda: not topics & admin.list_topics(timeout=_ANSWER_S).topics.keys())


def minutes(old: Old) -> list[tuple[Any, ...]]:
    """Minute, seller, amount, sales, whether it is final, revision."""
    return old.rows(
        "select extract(minute from window_start)::int, seller, amount::int, sales, is_final, revision"
        " from old_minute order by 1, 2"
    )


def test_the_files_are_of_the_schema_before_this_one() -> None:
    assert NEWEST in FILES, "make it with the code from before the last migration: see old_ledger.py"


@pytest.mark.parametrize("old", FILES, indirect=True)
def test_this_engine_goes_on_where_the_one_before_was_killed(old: Old) -> None:
    """It sends what that one had merged, merges what it had read, and reads on; nothing twice."""
    send(old.there.bootstrap, [sale(4.1, "ada", 20), sale(0.7, "bob", 100, 1, late=4), number(4.1, 6)])

    for pipeline in PIPELINES:
        run(pipeline, run_of(pipeline, 4), old.there)

    assert minutes(old) == [
        (0, "ADA", 8, 3, True, 2),
        (0, "BOB", 107, 3, True, 3),
        (1, "ADA", 10, 1, True, 1),
        (2, "BOB", 8, 1, True, 1),
        (2, "CID", 6, 1, True, 1),
        (3, "CID", 7, 1, True, 1),
        (4, "ADA", 20, 1, True, 1),
    ]
    assert old.rows("select first_value, second_value from old_pair order by batch_id") == [
        *((5, 7), (12, 0), (1, 11)),
    ]
    assert old.rows("select count(*), sum(amount) from old_sale") == [(11, 166)]
    assert old.rows("select count(*) from microbatch.outbox_segment") == [(0,)]
    assert [old.check(pipeline).messages for pipeline in PIPELINES] == [13, 8]


def test_what_the_one_before_has_counted_can_be_redone(old: Old) -> None:
    run(SALES, run_of(SALES, 4), old.there)
    before, topics = minutes(old), [old.on_topic(topic) for topic in ("old-minute", "old-sale")]

    again = Run(SALES.name, "again", mode="reprocess", interval=(T0, T0 + timedelta(hours=1)))
    run(SALES, again, old.there)

    assert minutes(old) == before
    assert [old.on_topic(topic) for topic in ("old-minute", "old-sale")] == topics
    assert old.rows("select distinct attempt from microbatch.batch where pipeline_id = 1") == [(2,)]
    old.check(SALES)


def test_nothing_that_the_one_before_has_counted_is_counted_again(old: Old) -> None:
    """Also by a run that Airflow starts again because the worker under it was exchanged."""
    for minute in (3, 3, 4):
        run(PAIRS, run_of(PAIRS, minute), old.there)

    assert old.rows("select count(*) from old_pair") == [(3,)]
    assert old.check(PAIRS).messages == 7


def test_the_one_before_is_refused_from_then_on_and_changes_nothing(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SALES, run_of(SALES, 4), old.there)
    send(old.there.bootstrap, [sale(5.1, "ada", 20)])
    monkeypatch.setattr(migrating, "migrations", lambda: migrations()[:PREVIOUS])

    with pytest.raises(SchemaTooNewError, match=rf"schema version {PREVIOUS + 1}, this engine knows {PREVIOUS}"):
        run(SALES, run_of(SALES, 5), old.there)

    monkeypatch.undo()
    assert old.rows("select count(*) from microbatch.run where run_id = 'scheduled 5'") == [(0,)]
    run(SALES, run_of(SALES, 5), old.there)
    old.check(SALES)


def test_the_migration_waits_for_a_batch_that_is_at_work(old: Old) -> None:
    """A task of the engine before that had begun when the first task of this one came: its batch is whole, or not."""
    claim = (
        "insert into microbatch.outbox_segment (pipeline_id, merge_id, messages, payload)"
        " select 1, max(merge_id), 0, '\\x90' from microbatch.merge"
    )
    with psycopg.connect(old.there.postgres) as batch, ThreadPoolExecutor(1) as pool:
        batch.execute(claim.encode())
        applied = pool.submit(_migrated, old.there.postgres)
        waiting = "select true from pg_locks where not granted and mode = 'AccessExclusiveLock'"
        wait_for("the migration waits", lambda: applied.done() or bool(old.rows(waiting)))
        assert not applied.done()
        batch.rollback()

        assert applied.result(_ANSWER_S) == [each.name for each in migrations()[PREVIOUS:]]


def _migrated(dsn: str) -> list[str]:
    with connect(dsn, "test") as connection:
        return migrate(connection)
