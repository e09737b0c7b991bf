"""What can happen to what Kafka knows of our sending: the cursor, the output topics, their limits."""

from typing import LiteralString
from uuid import uuid4

import msgspec
import psycopg
import pytest

from child import IMPATIENT
from fix_child import Children, check
from fix_late import MESSAGES, RESULTS
from fix_others import cursor, delete_offsets, delete_topic, limit_messages, overwrite_cursor, sent
from fix_pipeline import Message, World, new_database, sale
from fix_stack import Stack
from microbatch import KafkaTopic, PostgresTable, publish
from microbatch.errors import CursorUnexplainedError, MessagesRefusedError, OtherClusterError
from microbatch.outbox import PIPELINE
from microbatch.settings import Connections
from microbatch.settling import TAIL_OFFSETS
from outside import dead_letters, published


def test_deleted_group_offsets_are_explained_by_the_newest_message(late: World) -> None:
    delete_offsets(late)

    late.run(1)

    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("point", ["publish.before_kafka_commit", "publish.after_kafka_commit", "publish.after_intent"])
def test_group_offsets_deleted_while_an_intent_is_open_are_explained_too(
    late: World, children: Children, point: str
) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash=point).died_by_kill()
    children.start(late, run, crash="publish.after_fence").died_by_kill()  # settles the open transaction
    delete_offsets(late)

    outcome = children.succeed(late, run)

    assert bool(outcome.sent) is (point != "publish.after_kafka_commit")
    assert check(late).messages == MESSAGES


def test_a_lost_cursor_is_explained_by_a_dead_letter_above_which_others_have_written_much(
    world: World, children: Children
) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    world.send(b"junk")
    run = world.run_of(1, "killed")
    assert children.start(world, run, crash="publish.after_kafka_commit").died_by_kill()
    assert children.start(world, run, crash="publish.after_fence").died_by_kill()
    delete_offsets(world)
    shared = msgspec.structs.replace(world.pipeline.source, name=world.pipeline.dead_letter_topic.name)
    letters = world.replace(source=shared)
    letters.send(*[Message(b"theirs", headers=((PIPELINE, b"somebody else"),))] * (2 * TAIL_OFFSETS))

    assert children.succeed(world, run).sent == 0

    check(world)


def test_the_letters_of_another_deployment_do_not_stop_one_that_has_lost_its_cursor(world: World) -> None:
    """Both have the same source, and with it the same dead-letter topic."""
    sinks = [PostgresTable("its_sales"), KafkaTopic(f"{world.pipeline.source.name}-its")]
    neighbour = World(
        msgspec.structs.replace(world.pipeline, outputs=[msgspec.structs.replace(world.pipeline.outputs[0], to=sinks)]),
        msgspec.structs.replace(world.connections, deployment=f"{world.connections.deployment}-too"),
    )
    world.send(b"junk", sale("ada", 3))
    world.run(0)
    neighbour.run(0)
    delete_offsets(world)
    world.send(sale("ada", 4))

    world.run(1)

    assert world.results() == [(0, "ada", 7, 2, True, 2)]
    check(world)


@pytest.mark.parametrize("metadata", ["", "somebody was here", '{"ledger": "x", "publication": 1}'])
def test_a_cursor_that_somebody_has_overwritten_stops_the_sending(late: World, metadata: str) -> None:
    was = cursor(late).metadata
    before = sent(late)
    overwrite_cursor(late, metadata)

    with pytest.raises(CursorUnexplainedError, match="nothing was sent"):
        late.run(1)

    assert sent(late) == before
    overwrite_cursor(late, was)
    late.run(1)
    assert check(late).messages == MESSAGES


def test_a_cursor_ahead_of_the_ledger_stops_the_sending(late: World) -> None:
    """Postgres was restored from an older dump."""
    was = cursor(late).metadata
    number = late.rows("select cursor from microbatch.publisher")[0][0]
    before = sent(late)
    overwrite_cursor(late, was.replace(f":{number}}}", f":{number + 1}}}"))

    with pytest.raises(CursorUnexplainedError, match=f'"publication":{number + 1}'):
        late.run(1)

    assert sent(late) == before


def test_a_cursor_of_another_ledger_that_has_sent_as_much_stops_the_sending(late: World) -> None:
    was, ((ledger,),) = cursor(late).metadata, late.rows("select ledger::text from microbatch.pipeline")
    before = sent(late)
    overwrite_cursor(late, was.replace(ledger, str(uuid4())))

    with pytest.raises(CursorUnexplainedError, match="nothing was sent"):
        late.run(1)

    assert sent(late) == before
    overwrite_cursor(late, was)
    late.run(1)
    assert check(late).messages == MESSAGES


def test_nothing_is_sent_to_another_kafka_that_has_come_to_the_address_since_it_registered(
    late: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sent(late)

    def move(point: str) -> None:
        if point == "publish.after_merge":
            execute("update microbatch.pipeline set cluster_id = 'the one that was read'")

    def execute(statement: LiteralString) -> None:
        with psycopg.connect(late.connections.postgres) as connection:
            connection.execute(statement)

    monkeypatch.setattr(publish, "crash_point", move)
    with pytest.raises(OtherClusterError, match="the one that was read"):
        late.run(1)

    assert sent(late) == before


def test_another_ledger_over_the_same_topics_sends_nothing(late: World, stack: Stack) -> None:
    """Postgres was recreated empty, or a second deployment has the same name."""
    before = sent(late)
    with new_database(stack) as dsn:
        ours = late.connections
        other = World(late.pipeline, Connections(ours.kafka, dsn, ours.deployment))

        with pytest.raises(CursorUnexplainedError, match="MICROBATCH_DEPLOYMENT"):
            other.run(1)

    assert sent(late) == before
    late.run(1)
    assert check(late).messages == MESSAGES


def test_another_ledger_is_noticed_by_its_messages_when_the_offsets_are_gone(late: World, stack: Stack) -> None:
    before = sent(late)
    delete_offsets(late)
    with new_database(stack) as dsn:
        ours = late.connections
        other = World(late.pipeline, Connections(ours.kafka, dsn, ours.deployment))

        with pytest.raises(CursorUnexplainedError):
            other.run(1)

    assert sent(late) == before
    late.run(1)
    assert check(late).messages == MESSAGES


def test_a_message_that_the_broker_refuses_is_set_aside_and_the_rest_is_sent(late: World) -> None:
    letters = late.pipeline.dead_letter_topic.name
    limit_messages(late, letters, 2_000)
    late.send(Message(b"x" * 5_000, 0), Message(b"y", 0), Message(b"z" * 5_000, 2))

    with pytest.raises(MessagesRefusedError, match=f"2 messages were refused .* to {letters}"):
        late.run(1)

    assert late.rows("select topic from microbatch.set_aside") == [(letters,)] * 2
    assert late.results() == RESULTS
    late.run(2)
    assert check(late).messages == MESSAGES + 3


def test_a_run_killed_after_it_set_a_message_aside_does_not_lose_or_repeat_it(late: World, children: Children) -> None:
    limit_messages(late, late.pipeline.dead_letter_topic.name, 2_000)
    late.send(Message(b"x" * 5_000, 0))
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash="publish.before_kafka_commit").died_by_kill()
    assert late.rows("select count(*) from microbatch.set_aside") == [(1,)]

    outcome = children.do(late, run)

    assert outcome.error in ("", "MessagesRefusedError"), outcome.text
    assert late.rows("select count(*) from microbatch.set_aside") == [(1,)]
    assert check(late).messages == MESSAGES + 1


def test_an_output_topic_that_is_missing_loses_nothing(late: World) -> None:
    """It is created again, empty, and what comes from now on is sent; what it had is not invented anew."""
    delete_topic(late, late.pipeline.dead_letter_topic.name)

    late.run(1)

    assert late.results() == RESULTS
    assert late.rows("select intent from microbatch.publisher") == [(None,)]


def test_an_output_topic_that_goes_missing_while_it_is_written_keeps_its_messages_waiting(
    late: World, children: Children
) -> None:
    """The run fails for now, results are in Postgres, and the next run makes the topic and sends what waited."""
    output = late.pipeline.outputs[0].topic
    assert output is not None
    child = children.start(late, late.run_of(1, "hit"), crash="publish.after_intent:stop", constants=IMPATIENT)
    child.wait_until_stopped()
    delete_topic(late, output.name)

    child.go_on()

    assert child.outcome().is_transient, child.outcome()
    assert late.results() == RESULTS
    assert children.retry(late, late.run_of(1, "hit")).sent == len(RESULTS) + 2
    late_ones = [(row[1], row[5]) for row in RESULTS]
    assert sorted((m["seller_id"], m["revision"]) for m in published(late)) == sorted(late_ones)
    assert len(dead_letters(late)) == 3


def test_a_run_over_what_is_covered_sends_nothing(late: World) -> None:
    late.run(1)
    before = sent(late)

    late.run(1)
    late.run(2)

    assert sent(late) == before
    check(late)
