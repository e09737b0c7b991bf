"""Redrive: dead letters go back to their topic after a fix, once each, whatever is killed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg.types.json import Jsonb

from fix_child import Children, check, wait_for, waiting
from fix_cli import Command
from fix_others import delete_messages, delete_offsets, limit_messages
from fix_pipeline import T0, Message, World, sale
from microbatch import Count, EpochSeconds, Event, KafkaTopic, PostgresTable, Sum, TumblingWindow
from microbatch.deciding import Why, known, session
from microbatch.definition import definition, definition_hash
from microbatch.errors import MessagesRefusedError, NotAsShownError
from microbatch.redriving import Choice, Redrive
from modes import reprocess, work
from outside import dead_letters, on_topic
from recount.kafka import Message as Found

MakeWorld = Callable[..., World]
WHY = ("--yes", "--reason", "the producer is corrected")
OURS = ("microbatch.redriven", "microbatch.pipeline", "microbatch.cursor")


class NewSale(Event):
    """A sale as its producer sends it now: the amount has another name."""

    seller_id: str
    amount: int
    sale_ts: EpochSeconds


def new_sale(seller: str, amount: int, at: int = T0) -> bytes:
    return json.dumps({"seller_id": seller, "amount": amount, "sale_ts": at}).encode()


def new_pipeline(world: World) -> World:
    """Another pipeline over the same source, for the sales as they are now, and from now on."""
    topic = world.pipeline.source.name
    window = TumblingWindow(
        "1 minute",
        by=["seller_id"],
        measures={"amount": Sum("amount"), "sales": Count()},
        to=[PostgresTable("new_sales"), KafkaTopic(f"{topic}-new")],
    )
    source = KafkaTopic(topic, NewSale, event_time="sale_ts", partitions=2)
    letters = KafkaTopic(f"{topic}-new-dlq", partitions=2)
    return world.replace(name="new-sales", source=source, outputs=[window], start="latest", dead_letters=letters)


@pytest.fixture
def rejected(world: World) -> World:
    """Of five messages on two partitions three are dead letters, two for a missing field and one for broken JSON."""
    world.send(
        Message(new_sale("ada", 3), key=b"a", at_s=T0 + 1, headers=(("trace", b"1"), ("trace", b"2"))),
        sale("ada", 10),
        Message(new_sale("bob", 4), 1, at_s=T0 + 2),
        Message(b"junk", 1, at_s=T0 + 3),
        Message(sale("bob", 20), 1),
    )
    world.run(0)
    return world


def source(world: World) -> list[Found]:
    return on_topic(world, world.pipeline.source.name)


def again(world: World, count: int) -> list[Found]:
    """The messages of the source that are redriven ones, once there are so many: markers follow a commit."""

    def there() -> list[Found]:
        return [message for message in source(world) if message.header("microbatch.redriven")]

    wait_for(f"{count} redriven messages", lambda: len(there()) >= count)
    return there()


def decisions(world: World) -> int:
    return len(world.rows("select from microbatch.decision"))


def send(world: World, choice: Choice = Choice()) -> int:  # noqa: B008 - it is frozen
    """What the command does, less the asking; returns how many go."""
    with session(world.connections, "test") as connection:
        redrive = Redrive(
            connection, known(connection, world.connections.deployment, "sales"), world.connections, choice
        )
        found = redrive.look()
        redrive.send(found, Why.of("test"))
        return found.messages


# -- what goes, and what becomes of it -------------------------------------------------------------------------------


def test_dead_letters_go_back_whole_and_count_once_where_they_are_understood(rejected: World, command: Command) -> None:
    other = new_pipeline(rejected)
    other.run(0)

    shown = command(rejected, "redrive", "sales", "--rejected-for", "REQUIRED FIELD", *WHY)
    rejected.run(1)
    first, second = again(rejected, 2)
    other.run(1)
    rejected.run(2)

    topic = rejected.pipeline.source.name
    assert shown.exit_code == 0, shown.output
    assert f"Every reader of {topic} gets them again" in shown.output
    assert other.rows("select seller_id, amount, sales from new_sales order by 1") == [("ada", 3, 1), ("bob", 4, 1)]
    assert (first.partition, first.key, first.value, first.timestamp_ms) == (
        0,
        b"a",
        new_sale("ada", 3),
        T0 * 1000 + 1000,
    )
    assert [name for name, _ in first.headers] == ["trace", "trace", *OURS]
    assert [value for name, value in first.headers if name == "trace"] == [b"1", b"2"]
    assert [message.header("microbatch.redriven") for message in (first, second)] == [f"{topic}[0]@0", f"{topic}[1]@0"]
    check(rejected)
    check(other)


def test_what_is_rejected_again_is_a_dead_letter_of_its_new_place(rejected: World) -> None:
    assert send(rejected, Choice("missing required field `amount_usd`")) == 2
    rejected.run(1)
    (place,) = [message.offset for message in again(rejected, 2) if message.partition == 0]
    rejected.run(2)

    letter = [letter for letter in dead_letters(rejected) if letter.partition == 0][-1]
    assert [name for name, _ in letter.headers][:5] == ["trace", "trace", *OURS]
    assert (letter.header("microbatch.offset"), letter.value) == (str(place), new_sale("ada", 3))


def test_each_goes_once_and_once_more_only_as_what_it_has_become(rejected: World, command: Command) -> None:
    assert send(rejected) == 3

    twice = command(rejected, "redrive", "sales", *WHY)
    rejected.run(1)
    assert len(again(rejected, 3)) == 3
    rejected.run(2)
    third = command(rejected, "redrive", "sales", *WHY)
    rejected.run(3)

    assert twice.output.splitlines() == [
        "Sent again before, and not once more: 3.",
        "sales: nothing to send again",
    ]
    assert third.exit_code == 0, third.output
    assert len(again(rejected, 6)) == 6
    assert decisions(rejected) == 2
    check(rejected, settled=False)


def test_a_message_that_passes_now_counts_as_redriven_and_not_where_it_was(world: World) -> None:
    """A rebuild lets the ledger have another definition; then a redo would accept what was rejected."""
    world.send(Message(sale("ada", 3, T0 + 7200), at_s=T0))
    world.run(0)
    fixed = world.replace(max_future=timedelta(days=1))
    plain = definition(fixed.pipeline)
    with psycopg.connect(world.connections.postgres) as connection:
        facts = (Jsonb(plain), definition_hash(plain))
        connection.execute("update microbatch.pipeline set definition = %s, definition_hash = %s", facts)

    assert send(fixed, Choice("max_future")) == 1
    fixed.run(121, "sends")
    assert len(again(fixed, 1)) == 1
    fixed.run(122, "reads")
    work(fixed, reprocess(0, 60))

    assert fixed.results() == [(120, "ada", 3, 1, True, 1)]
    assert fixed.rows("select resolved from microbatch.reject") == [(False,)]
    check(fixed)


def test_they_are_chosen_by_reason_and_by_time(rejected: World, command: Command) -> None:
    none = command(rejected, "redrive", "sales", "--rejected-for", "too old", *WHY)
    shown = command(
        rejected, "redrive", "sales", "--from", "2026-11-21T10:00:02Z", "--to", "2026-11-21T10:00:03Z", *WHY
    )
    rejected.run(1)

    assert none.output == "sales: nothing to send again\n"
    assert "2026-11-21 10:00:02 to 2026-11-21 10:00:02 UTC" in shown.output
    assert [message.value for message in again(rejected, 1)] == [new_sale("bob", 4)]
    (details,) = rejected.rows("select details from microbatch.decision")[0]
    assert (details["start"], details["end"]) == ("2026-11-21T10:00:02Z", "2026-11-21T10:00:03Z")
    assert details["messages"] == 1


def test_what_was_too_late_will_be_too_late_again_and_that_is_said(make_world: MakeWorld, command: Command) -> None:
    world = make_world(allowed_lateness=timedelta(minutes=1))
    world.send(Message(sale("ada", 1), at_s=T0 + 600))
    world.run(0)

    assert "too late again: 1." in command(world, "redrive", "sales", *WHY).output


def test_messages_that_nobody_has_any_more_are_counted(rejected: World, command: Command) -> None:
    delete_messages(rejected, 0, below=1, topic=rejected.pipeline.dead_letter_topic.name)

    shown = command(rejected, "redrive", "sales", *WHY)

    assert "Rejects whose dead letter is not there, for retention has deleted it: 1." in shown.output
    rejected.run(1)
    assert [message.value for message in again(rejected, 2)] == [new_sale("bob", 4), b"junk"]


def test_what_others_write_into_the_topic_does_not_go(rejected: World) -> None:
    """Of another pipeline, of another ledger, and with headers that say no place."""
    topic, (letter,) = rejected.pipeline.dead_letter_topic.name, dead_letters(rejected)[:1]
    producer = Producer({"bootstrap.servers": rejected.connections.bootstrap})
    for changed in ({"pipeline": b"other"}, {"cursor": b"{}"}, {"offset": b"9" * 30}, {"batch": b"\xff"}):
        headers = {**dict(letter.headers), **{f"microbatch.{name}": value for name, value in changed.items()}}
        producer.produce(topic, b"forged", headers=list(headers.items()), partition=0)
    assert producer.flush(120) == 0

    assert send(rejected) == 3
    rejected.run(1)
    assert sorted(message.value or b"" for message in again(rejected, 3)) == sorted(
        [new_sale("ada", 3), new_sale("bob", 4), b"junk"]
    )


def test_a_letter_that_its_topic_did_not_take_goes_back_too(world: World) -> None:
    world.run(0)
    limit_messages(world, world.pipeline.dead_letter_topic.name, 2_000)
    world.send(b"x" * 5_000, b"junk")
    with pytest.raises(MessagesRefusedError):
        world.run(1)

    assert send(world) == 2
    world.run(2)

    assert sorted(len(message.value or b"") for message in again(world, 2)) == [4, 5_000]


def test_many_go_in_segments_and_in_their_order(
    make_world: MakeWorld, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(max_rejected=1)
    world.send(*(b"bad %d" % n for n in range(25)))
    world.run(0)
    monkeypatch.setattr("microbatch.outbox.SEGMENT_MESSAGES", 10)

    command(world, "redrive", "sales", *WHY)

    assert world.rows("select messages from microbatch.outbox_segment order by segment_id") == [(10,), (10,), (5,)]
    world.run(1)
    assert [message.value for message in again(world, 25)] == [b"bad %d" % n for n in range(25)]
    check(world, settled=False)


# -- crashes and overlaps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", ["kept", "lost"])
def test_a_publish_killed_after_the_kafka_commit_sends_once(rejected: World, children: Children, cursor: str) -> None:
    """Without the group's offsets, the source itself says what was sent: also under all that others wrote since."""
    send(rejected)
    killed = rejected.run_of(1)
    assert children.start(rejected, killed, crash="publish.after_kafka_commit").died_by_kill()
    if cursor == "lost":
        rejected.send(*[Message(sale("eve", 1, T0 + 60), at_s=T0 + 60)] * 1_500)
        rejected.send(*[Message(sale("eve", 1, T0 + 60), 1, at_s=T0 + 60)] * 1_500)
        delete_offsets(rejected)

    children.succeed(rejected, killed)
    assert len(again(rejected, 3)) == 3
    rejected.run(2)
    rejected.run(3)

    assert len(again(rejected, 3)) == 3
    assert rejected.rows("select intent from microbatch.publisher") == [(None,)]
    check(rejected)


def test_a_command_that_is_killed_has_done_nothing(rejected: World, command: Command) -> None:
    program = [str(Path(sys.executable).with_name("microbatch")), "redrive", "sales", *WHY]
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": rejected.connections.bootstrap,
        "POSTGRES_OWNER_DSN": rejected.connections.postgres,
        "MICROBATCH_DEPLOYMENT": rejected.connections.deployment,
    }
    with psycopg.connect(rejected.connections.postgres) as connection:
        # It has recorded the decision and booked the messages when it comes to the outbox.
        connection.execute("lock table microbatch.outbox_segment in share mode")
        process = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL)
        wait_for("it waits to write into the outbox", lambda: waiting(rejected) == ["relation"])
        process.kill()
        process.wait(60)

    wait_for("its session has ended", lambda: not waiting(rejected))
    assert decisions(rejected) == 0
    assert rejected.rows("select from microbatch.redriven") == []
    assert send(rejected) == 3
    rejected.run(1)
    assert len(again(rejected, 3)) == 3


def test_of_two_at_once_one_sends_and_the_other_says_that_it_is_not_as_shown(rejected: World) -> None:
    def one(_: int) -> str:
        try:
            return str(send(rejected))
        except NotAsShownError as error:
            return str(error).split(";")[0]

    with psycopg.connect(rejected.connections.postgres) as connection, ThreadPoolExecutor(2) as pool:
        connection.execute("select from microbatch.batch for update")
        both = pool.map(one, range(2))
        wait_for("both have looked and wait", lambda: len(waiting(rejected)) == 2)
        connection.rollback()
        answers = sorted(both)

    assert answers == ["3", "pipeline 'sales': it is not any more as it was shown"]
    rejected.run(1)
    assert (len(again(rejected, 3)), decisions(rejected)) == (3, 1)
