"""The path of the data: from offsets to rows and messages."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from fix_pipeline import T0, Message, World, interval, sale
from microbatch import PostgresTable
from microbatch.claiming import lock_batch
from microbatch.consume import consume
from microbatch.errors import OffsetsLostError, OldDefinitionError, TopicTruncatedError
from microbatch.postgres import connect
from microbatch.publish import publish
from microbatch.registration import register
from outside import kafka_tool, on_topic, open_transaction, published, sink, wait_for_end, with_output
from recount.kafka import committed

MakeWorld = Callable[..., World]


# -- results and when they are final -----------------------------------------------------------------------


def test_a_closed_minute_has_its_sums_per_seller(world: World) -> None:
    world.send(sale("ada", 3), sale("bob", 5), Message(sale("ada", 4), partition=1), sale("ada", 9, T0 + 60))

    world.run(minute=0)

    assert world.results() == [(0, "ada", 7, 2, True, 1), (0, "bob", 5, 1, True, 1)]


def test_a_result_is_on_the_topic_as_it_is_in_the_table(world: World) -> None:
    world.send(sale("ada", 3), sale("ada", 4))

    world.run(minute=0)

    message = on_topic(world, world.pipeline.outputs[0].topic.name)[0]  # type: ignore[union-attr]
    assert message.key == b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"ada"}'
    assert message.value == (
        b'{"window_start":"2026-11-21T10:00:00Z","seller_id":"ada","window_end":"2026-11-21T10:01:00Z",'
        b'"amount_usd":7,"sales":2,"is_final":true,"revision":1}'
    )
    assert message.timestamp_ms == (T0 + 60) * 1000
    assert (message.header("microbatch.pipeline"), message.header("microbatch.revision")) == ("sales", "1")


def test_a_late_event_of_a_final_window_issues_a_correction(world: World) -> None:
    world.send(sale("ada", 3), sale("bob", 5))
    world.run(minute=0)
    world.send(Message(sale("ada", 4), at_s=T0 + 90))

    _, summary = world.run(minute=1)

    assert (summary.revisions, summary.corrections, summary.sent) == (1, 1, 1)
    assert world.results() == [(0, "ada", 7, 2, True, 2), (0, "bob", 5, 1, True, 1)]
    assert [(m["seller_id"], m["amount_usd"], m["revision"]) for m in published(world)] == [
        ("ada", 3, 1),
        ("ada", 7, 2),
        ("bob", 5, 1),
    ]


def test_history_keeps_every_revision_with_the_time_in_which_it_held(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(minute=0)
    world.send(sale("ada", 4))
    world.run(minute=1)

    rows = world.rows(
        "select amount_usd, revision, is_final, retracted, batches, valid_to is null,"
        " valid_to = lead(valid_from) over (order by revision) from aggregated_sales_history order by revision"
    )

    assert rows == [(3, 1, True, False, [1], False, True), (7, 2, True, False, [1, 2], True, None)]


def test_an_open_window_is_not_published(world: World) -> None:
    world.send(sale("ada", 3, T0 + 60))

    _, summary = world.run(minute=0)

    assert (summary.revisions, world.results(), published(world)) == (0, [], [])


def test_windows_close_without_new_messages(world: World) -> None:
    world.send(sale("ada", 3, T0 + 60))
    world.run(minute=0)

    _, summary = world.run(minute=1)

    assert summary.closed_until == datetime(2026, 11, 21, 10, 2, tzinfo=UTC)
    assert world.results() == [(1, "ada", 3, 1, True, 1)]


def test_a_window_is_not_closed_while_a_partition_is_not_caught_up(world: World) -> None:
    other = open_transaction(world, Message(sale("ada", 4), partition=1))
    world.send(Message(sale("ada", 3), partition=0))

    consumed, before = world.run(minute=0)
    other.commit_transaction(30)
    wait_for_end(world, 2, partition=1)
    _, after = world.run(minute=1)

    assert (consumed[0].messages, consumed[0].behind) == (1, 1)
    assert before.closed_until is None
    assert after.closed_until == interval(1)[1]
    assert (world.results(), published(world)[-1]["amount_usd"]) == ([(0, "ada", 7, 2, True, 2)], 7)


def test_a_window_is_not_closed_while_a_shard_is_a_minute_behind_the_others(make_world: MakeWorld) -> None:
    world = make_world(shards=2)
    world.send(sale("ada", 3), Message(sale("bob", 5), 1))
    world.run(0)
    world.send(sale("ada", 4, T0 + 60), Message(sale("bob", 6, T0 + 60), 1))
    run = world.run_of(1, "one shard")

    consume(world.pipeline, 0, run, world.connections)
    published = publish(world.pipeline, run, world.connections)

    assert published.closed_until == interval(0)[1]
    assert {minute for minute, *_ in world.results()} == {0}
    world.run_as(run)
    assert [result[:5] for result in world.results() if result[0] == 1] == [
        (1, "ada", 4, 1, True),
        (1, "bob", 6, 1, True),
    ]


def test_a_window_is_not_closed_while_a_shard_has_not_run(make_world: MakeWorld) -> None:
    world = make_world(partitions=2, shards=2)
    world.send(sale("ada", 3), Message(sale("ada", 4), partition=1))
    run = world.run_of(0)
    consume(world.pipeline, 0, run, world.connections)

    before = published_after(world)
    world.run(minute=1)

    assert before == (None, [])
    assert world.results() == [(0, "ada", 7, 2, True, 1)]


def published_after(world: World) -> tuple[datetime | None, list[tuple[int, str, int, int, bool, int]]]:
    """closed_until and results after a publish alone."""
    return publish(world.pipeline, world.run_of(0), world.connections).closed_until, world.results()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_minutes_that_are_run_in_any_order_give_the_same_numbers(world: World, order: tuple[int, ...]) -> None:
    for amount, minute in enumerate(order):
        world.send(*(sale("ada", 10**amount, T0 + 60 * window) for window in range(3)))
        world.run(minute)

    # What is not a late event's own revision: window, seller, amount, sales, is_final.
    assert [row[:5] for row in world.results()] == [(window, "ada", 111, 3, True) for window in range(3)]


def test_nothing_new_gives_no_revision_no_message_and_no_merge(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(minute=0)

    consumed, summary = world.run(minute=1)

    assert (consumed[0].batches, summary.revisions, summary.sent) == ([], 0, 0)
    assert world.rows("select count(*) from microbatch.merge") == [(1,)]
    assert len(published(world)) == 1


# -- batches, shards, runs ---------------------------------------------------------------------------------


def test_several_batches_give_the_same_numbers_as_one(make_world: MakeWorld) -> None:
    world = make_world(max_records=3)
    world.send(*(Message(sale("ada", amount), partition=amount % 2) for amount in range(8)))

    consumed, _ = world.run(minute=0)

    assert [batch.messages for batch in consumed[0].batches] == [3, 3, 2]
    assert world.results() == [(0, "ada", 28, 8, True, 1)]
    assert world.rows("select batches from aggregated_sales_history") == [([1, 2, 3],)]


def test_shards_share_the_partitions_and_add_up(make_world: MakeWorld) -> None:
    world = make_world(partitions=3, shards=2)
    world.send(*(Message(sale("ada", 10**partition), partition=partition) for partition in range(3)))

    consumed, _ = world.run(minute=0)

    assert [[item.partition for batch in shard.batches for item in batch.ranges] for shard in consumed] == [[0, 2], [1]]
    assert world.results() == [(0, "ada", 111, 3, True, 1)]


def test_another_number_of_shards_goes_on_where_the_old_one_was(make_world: MakeWorld) -> None:
    world = make_world(partitions=3, shards=1)
    world.send(*(Message(sale("ada"), partition=partition) for partition in range(3)))
    world.run(minute=0)
    world.send(*(Message(sale("ada"), partition=partition) for partition in range(3)))

    world.replace(shards=3).run(minute=1)

    assert world.results() == [(0, "ada", 6, 6, True, 2)]


def test_a_second_run_of_the_same_run_id_does_nothing(world: World) -> None:
    world.send(sale("ada", 3))
    world.run(minute=0, run_id="scheduled 10:00")
    world.send(sale("ada", 4))

    consumed, summary = world.run(minute=0, run_id="scheduled 10:00")

    assert consumed[0].completed_before
    assert consumed[0].describe() == "shard 0: this run had completed before; nothing was done"
    assert (summary.revisions, world.results()) == (0, [(0, "ada", 3, 1, True, 1)])


def test_one_run_that_works_four_times_at_once_counts_everything_once(make_world: MakeWorld) -> None:
    world = make_world(max_records=5)
    world.send(*(Message(sale("ada"), partition=n % 2) for n in range(40)))
    run = world.run_of(0)

    with ThreadPoolExecutor(4) as pool:
        consumed = list(pool.map(lambda _: consume(world.pipeline, 0, run, world.connections), range(4)))
    world.run(minute=1)

    assert sum(summary.messages for summary in consumed) == 40
    assert world.results() == [(0, "ada", 40, 40, True, 1)]


def test_two_pipelines_over_one_source_do_not_know_of_each_other(world: World) -> None:
    other = with_output(world, to=[PostgresTable("other"), sink(world, "other")])
    other = other.replace(name="other", dead_letters=world.pipeline.dead_letter_topic)
    world.send(sale("ada", 3), b"junk")

    world.run(minute=0)
    other.run(minute=0)

    assert world.rows("select amount_usd from other") == [(3,)] == world.rows("select amount_usd from aggregated_sales")
    letters = on_topic(world, world.pipeline.dead_letter_topic.name)
    assert [letter.header("microbatch.pipeline") for letter in letters] == ["sales", "other"]


def test_without_an_event_time_kafkas_timestamp_decides(world: World) -> None:
    by_kafka = world.replace(source=msgspec.structs.replace(world.pipeline.source, event_time=None))
    by_kafka.send(Message(sale("ada", 3, at=5), at_s=T0 + 61))

    by_kafka.run(minute=1)

    assert by_kafka.results() == [(1, "ada", 3, 1, True, 1)]


def test_a_manual_run_catches_up_and_closes_what_has_passed(world: World) -> None:
    now = int(time.time())
    world.send(Message(sale("ada", 3, now - 120), at_s=now), Message(sale("ada", 4, now), at_s=now))

    _, summary = world.run(minute=None)

    assert [row[2:] for row in world.results()] == [(3, 1, True, 1)]
    assert summary.closed_until is not None
    assert abs(summary.closed_until.timestamp() - now) < 30


def test_a_run_out_of_budget_shows_what_it_has_and_the_next_one_goes_on(make_world: MakeWorld) -> None:
    world = make_world(max_records=2, run_budget=timedelta(microseconds=1))
    world.send(*(sale("ada", 1) for _ in range(5)))

    consumed, behind = world.run(minute=0)
    shown = world.results()
    world.replace(run_budget=timedelta(minutes=5)).run(minute=1)

    assert (consumed[0].messages, consumed[0].behind, behind.closed_until) == (2, 3, None)
    assert shown == [(0, "ada", 2, 2, False, 1)]
    assert world.results() == [(0, "ada", 5, 5, True, 2)]
    assert [(m["sales"], m["is_final"], m["revision"]) for m in published(world)] == [(2, False, 1), (5, True, 2)]


def test_an_open_window_that_ends_far_ahead_reaches_the_topic(make_world: MakeWorld) -> None:
    """Kafka refuses timestamps that are more than an hour ahead, unless its topic allows them."""
    world = with_output(make_world(max_records=1, run_budget=timedelta(microseconds=1)), size="24 hours")
    now = int(time.time())
    world.send(*(Message(sale("ada", 3, now), at_s=now) for _ in range(2)))

    _, summary = world.run(minute=None)

    assert (summary.revisions, summary.sent) == (1, 1)
    assert [m["is_final"] for m in published(world)] == [False]


def test_a_message_of_an_aborted_transaction_does_not_count(world: World) -> None:
    world.send(sale("ada", 3))
    open_transaction(world, Message(sale("ada", 100))).abort_transaction(30)
    wait_for_end(world, 3)

    consumed, summary = world.run(minute=0)

    assert (consumed[0].messages, consumed[0].behind) == (1, 0)
    assert summary.closed_until == interval(0)[1]
    assert world.results() == [(0, "ada", 3, 1, True, 1)]


def test_every_offset_is_in_exactly_one_batch(make_world: MakeWorld) -> None:
    world = make_world(max_records=3)
    world.send(*(Message(sale("ada"), partition=n % 2) for n in range(10)))
    world.run(minute=0)
    world.send(sale("ada"), b"junk", None)
    world.run(minute=1)

    rows = world.rows(
        "select partition, range_agg(offsets)::text, sum(upper(offsets) - lower(offsets)), sum(messages), sum(rejected)"
        " from microbatch.offset_range group by 1 order by 1"
    )

    assert rows == [(0, "{[0,8)}", 8, 8, 1), (1, "{[0,5)}", 5, 5, 0)]
    assert world.rows("select * from microbatch.gap") == []


# -- what is refused ---------------------------------------------------------------------------------------


def test_the_database_itself_refuses_to_count_an_offset_twice(world: World) -> None:
    world.send(sale(), sale(), sale())
    world.run(minute=0)

    with (
        psycopg.connect(world.connections.postgres) as connection,
        pytest.raises(psycopg.errors.ExclusionViolation, match="offset_counts_once"),
    ):
        connection.execute(
            "insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets)"
            " select batch_id, pipeline_id, topic, topic_id, partition, '[2, 9)' from microbatch.offset_range"
        )


def test_a_task_with_an_old_definition_may_not_write(world: World) -> None:
    with connect(world.connections.postgres, "test") as connection:
        registration = register(world.pipeline, world.connections, connection)
        connection.execute("update microbatch.pipeline set definition_hash = 'a newer one'")

        with (
            pytest.raises(OldDefinitionError, match="the ledger has a newer one; it wrote nothing"),
            connection.transaction(),
        ):
            lock_batch(connection, world.pipeline, registration, 0)


def test_messages_that_were_deleted_unread_are_an_error_that_names_them(world: World) -> None:
    world.send(*[sale()] * 3)
    world.run(minute=0)
    world.send(*[sale()] * 5)
    delete_records(world, before=6)

    lost = rf"{world.pipeline.source.name}\[0\]: offsets 3\.\.5 were deleted before they were read \(low watermark 6\)"
    with pytest.raises(OffsetsLostError, match=lost):
        world.run(minute=1)

    assert world.results() == [(0, "ada", 3, 3, True, 1)]
    assert world.rows("select last_error like 'OffsetsLostError: %%' from microbatch.freshness") == [(True,)]


def test_messages_that_were_deleted_after_they_were_read_are_not_missed(world: World) -> None:
    world.send(*[sale()] * 3)
    world.run(minute=0)
    delete_records(world, before=3)
    world.send(sale())

    world.run(minute=1)

    assert world.results() == [(0, "ada", 4, 4, True, 2)]


def delete_records(world: World, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    for future in admin.delete_records([TopicPartition(world.pipeline.source.name, 0, before)]).values():
        future.result(60)


def test_a_log_that_ends_before_what_is_counted_is_refused(world: World) -> None:
    world.send(*[sale()] * 3)
    world.run(minute=0)
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("update microbatch.offset_range set offsets = '[0, 9)'")
        connection.execute("update microbatch.partition_progress set covered_until = 9 where partition = 0")

    with pytest.raises(TopicTruncatedError, match=r"\[0\] ends at offset 3, but 9 is already counted"):
        world.run(minute=1)


# -- what other tools see ----------------------------------------------------------------------------------


def group(world: World) -> str:
    return f"microbatch.{world.connections.deployment}.{world.pipeline.name}"


def test_the_groups_committed_offsets_are_the_covered_ends(world: World) -> None:
    world.send(sale(), sale(), b"junk", Message(sale(), partition=1))
    world.run(minute=0)

    found = committed(world.connections.bootstrap, group(world), world.pipeline.source.name, [0, 1])

    ledger = world.rows("select ledger::text from microbatch.pipeline")[0][0]
    assert {partition: at.offset for partition, at in found.items()} == {0: 3, 1: 1}
    # Two publications: the dead letter of the batch, and the result of the merge.
    assert found[0].metadata == f'{{"ledger":"{ledger}","publication":2}}'


def test_the_committed_offsets_move_on_when_there_is_nothing_to_send(world: World) -> None:
    world.run(minute=0)
    world.send(sale("ada", 1, T0 + 600), Message(None, partition=1))
    _, summary = world.run(minute=1)

    found = committed(world.connections.bootstrap, group(world), world.pipeline.source.name, [0, 1])

    assert summary.sent == 0
    assert {partition: at.offset for partition, at in found.items()} == {0: 1, 1: 1}


def test_kafkas_own_tool_shows_the_lag(world: World) -> None:
    world.send(sale(), sale(), Message(sale(), partition=1))
    world.run(minute=0)
    world.send(sale(), sale(), sale())
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    arguments = ["--bootstrap-server", world.connections.bootstrap, "--describe", "--offsets", "--group", group(world)]

    printed = kafka_tool(tool, arguments).decode()

    lines = [line.split() for line in printed.splitlines() if world.pipeline.source.name in line]
    # … partition, current offset, log end offset, lag
    assert sorted(tuple(map(int, line[2:6])) for line in lines) == [(0, 2, 5, 3), (1, 1, 1, 0)]


def test_a_run_leaves_nothing_open(world: World) -> None:
    world.send(sale("ada", 3), b"junk")
    world.run(minute=0)

    assert world.rows("select cursor = last_publication, intent from microbatch.publisher") == [(True, None)]
    for table in ("outbox_segment", "touched"):
        assert world.rows(f"select count(*) from microbatch.{table}") == [(0,)]
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    assert world.rows(others) == [(0,)]


def test_summaries_say_in_a_line_what_was_done(world: World) -> None:
    world.send(sale("ada", 3), b"junk", None)

    consumed, published_summary = world.run(minute=0)

    assert consumed[0].describe() == "shard 0: 3 messages in 1 batch, 1 rejected; caught up"
    assert published_summary.describe() == (
        "closed until 2026-11-21 10:01:00 UTC: 1 revisions (0 of them corrections), 2 messages sent"
    )


@pytest.mark.parametrize("shards", [1, 2])
def test_a_partition_that_is_idle_from_the_start_does_not_hold_up_the_others(
    make_world: MakeWorld, shards: int
) -> None:
    world = make_world(partitions=4, shards=shards)
    world.send(Message(sale("ada", 3), partition=2))

    world.run(minute=0)

    assert world.results() == [(0, "ada", 3, 1, True, 1)]


def test_the_ledger_names_run_interval_and_definition_of_each_batch(world: World) -> None:
    world.send(sale())
    world.run(minute=0, run_id="scheduled 10:00")

    rows = world.rows(
        "select b.dag_id, b.run_id, b.interval_start, b.interval_end, b.kind, b.messages,"
        " b.definition_hash = p.definition_hash, b.committed_at >= b.batch_time"
        " from microbatch.batch as b join microbatch.pipeline as p using (pipeline_id)"
    )

    assert rows == [("sales", "scheduled 10:00", *interval(0), "catch up", 1, True, True)]
