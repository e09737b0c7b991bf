"""Bad input: whole in the dead letters, with its reason, and never in the way of the rest."""

import json
from collections.abc import Callable
from random import Random
from string import ascii_letters, digits

import pytest
from confluent_kafka.cimpl import NewTopic

from bad_messages import Shape, bad_messages
from fix_pipeline import T0, Message, World, sale
from microbatch import KafkaTopic
from microbatch.errors import MessagesRefusedError, TooManyRejectedError
from microbatch.kafka import Broker
from outside import dead_letters, published

MakeWorld = Callable[..., World]
OURS = ("microbatch.reason", "microbatch.topic", "microbatch.partition", "microbatch.offset", "microbatch.pipeline")

WHY = {
    "not JSON": "JSON is malformed",
    "empty": "truncated",
    "null": "got `null`",
    "array": "got `array`",
    "without amount_usd": "missing required field",
    "text for amount_usd": "Expected `int`, got `str`",
    "boolean for amount_usd": "Expected `int`, got `bool`",
    "fractional epoch": "Expected `int | str`, got `float`",
    "2^63 for amount_usd": "<= 9223372036854775807",
    "NaN for amount_usd": "malformed",
    "NUL in seller_id": "NUL (U+0000)",
    "lone surrogate in seller_id": "surrogate",
    "invalid UTF-8 in seller_id": "utf-8",
    "future": "ahead of Kafka's timestamp",
    "far past": "at `$.sale_ts`",
    "1,000 deep": "nested more than 500 levels",
    "large junk": "malformed",
}
MADE = bad_messages(Shape(json.loads(sale()), ["seller_id"], ["amount_usd"], "sale_ts"))
NASTY = {kind: (MADE[kind], why) for kind, why in WHY.items()}


def test_every_nasty_message_is_whole_in_the_dead_letters_and_stops_nothing(world: World) -> None:
    world.send(*(value for value, _ in NASTY.values()), *(sale("ada", 1) for _ in range(3)))

    consumed, _ = world.run(minute=0)

    letters = dead_letters(world)
    assert [letter.value for letter in letters] == [value for value, _ in NASTY.values()]
    for letter, (kind, (_, why)) in zip(letters, NASTY.items(), strict=True):
        assert why.lower() in (letter.header("microbatch.reason") or "").lower(), kind
    assert consumed[0].rejected == len(NASTY)
    assert world.results() == [(0, "ada", 3, 3, True, 1)]


def test_a_dead_letter_has_key_headers_and_timestamp_of_its_message_and_says_where_from(world: World) -> None:
    headers = (("trace", b"\xff\x00"), ("trace", b""), ("", b"x"))
    world.send(sale(), Message(b"junk", key=b"\x00k", at_s=T0 + 1.234, headers=headers))

    world.run(minute=0)

    letter = dead_letters(world)[0]
    assert (letter.key, letter.value, letter.timestamp_ms) == (b"\x00k", b"junk", T0 * 1000 + 1234)
    assert letter.headers[:3] == headers
    assert [letter.header(name) for name in OURS] == [
        "JSON is malformed: invalid character (byte 0)",
        world.pipeline.source.name,
        "0",
        "1",
        "sales",
    ]
    assert world.rows("select batch_id::text from microbatch.batch") == [(letter.header("microbatch.batch"),)]


def test_nothing_and_empty_are_told_apart_in_a_dead_letter(world: World) -> None:
    world.send(Message(b"", key=b""), Message(b"x", key=None))

    world.run(minute=0)

    assert [(letter.key, letter.value) for letter in dead_letters(world)] == [(b"", b""), (None, b"x")]


def test_dead_letters_keep_the_order_of_their_source_partition(make_world: MakeWorld) -> None:
    world = make_world(max_records=4)
    world.send(*(Message(b"bad %d" % n, partition=n % 2) for n in range(20)))

    world.run(minute=0)

    letters = dead_letters(world)
    assert [letter.value for letter in letters if letter.partition == 0] == [b"bad %d" % n for n in range(0, 20, 2)]
    assert [letter.value for letter in letters if letter.partition == 1] == [b"bad %d" % n for n in range(1, 20, 2)]


def test_a_dead_letter_goes_to_its_source_partition_mod_the_sinks(make_world: MakeWorld) -> None:
    made = make_world(partitions=5)
    world = made.replace(dead_letters=KafkaTopic(f"{made.pipeline.source.name}-few", partitions=2))
    world.send(*(Message(b"bad %d" % partition, partition=partition) for partition in range(5)))

    world.run(minute=0)

    found = sorted((letter.partition, letter.value) for letter in dead_letters(world))
    assert found == [(0, b"bad 0"), (0, b"bad 2"), (0, b"bad 4"), (1, b"bad 1"), (1, b"bad 3")]


def test_a_reject_has_one_row_with_its_reason(world: World) -> None:
    world.send(sale(), b"junk", Message(b"[]", partition=1))

    world.run(minute=0)

    rows = world.rows('select partition, "offset", reason, batch_id from microbatch.reject order by 1')
    assert rows == [
        (0, 1, "JSON is malformed: invalid character (byte 0)", 1),
        (1, 0, "Expected `object`, got `array`", 1),
    ]


def test_tombstones_are_skipped_and_counted(world: World) -> None:
    world.send(None, sale("ada", 3), Message(None, key=b"k"))

    consumed, _ = world.run(minute=0)

    assert (consumed[0].messages, consumed[0].rejected) == (3, 0)
    assert (world.results(), dead_letters(world)) == ([(0, "ada", 3, 1, True, 1)], [])


@pytest.mark.parametrize("length", [2_600, 5_000, 200_000])
def test_a_key_that_no_index_can_hold_is_a_dead_letter(world: World, length: int) -> None:
    """PostgreSQL's index takes 2,704 bytes, after compression, which random letters do not give way to."""
    random = Random(length)  # noqa: S311 - the same key each time
    long = sale("".join(random.choices(ascii_letters + digits + "äöü€", k=length)))
    world.send(sale("ada", 1), long, sale("ada", 2))

    world.run(minute=0)

    assert world.results() == [(0, "ada", 3, 2, True, 1)]
    assert [letter.value for letter in dead_letters(world)] == [long]


def test_a_long_key_that_an_index_can_hold_is_counted(world: World) -> None:
    seller = "".join(Random(1).choices(ascii_letters + digits, k=1_900))  # noqa: S311 - the same key each time
    world.send(sale(seller, 1), sale(seller, 2))

    world.run(minute=0)

    assert world.results() == [(0, seller, 3, 2, True, 1)]


def test_a_batch_of_rejects_alone_is_covered_and_closes_windows(world: World) -> None:
    world.send(*[b"junk"] * 99)

    consumed, summary = world.run(minute=0)

    assert (consumed[0].rejected, consumed[0].behind, summary.sent) == (99, 0, 99)
    assert summary.closed_until is not None


# -- too much of it ----------------------------------------------------------------------------------------


def test_more_rejects_than_bad_data_explains_fail_the_batch_and_store_nothing(world: World) -> None:
    world.send(*[b"junk"] * 51, *[sale()] * 49)

    with pytest.raises(TooManyRejectedError, match=r"51 of 100 messages in \[0\] 0\.\.99 were rejected, more than 50%"):
        world.run(minute=0)

    for table in ("batch", "offset_range", "reject", "touched", "outbox_segment", "run"):
        assert world.rows(f"select count(*) from microbatch.{table}") == [(0,)], table
    assert world.rows("select count(*) from aggregated_sales_contribution") == [(0,)]
    assert world.rows("select covered_until, caught_up_to from microbatch.partition_progress") == [(0, None)] * 2


def test_a_failed_batch_leaves_a_row_that_freshness_shows(world: World) -> None:
    world.send(*[b"junk"] * 100)

    with pytest.raises(TooManyRejectedError):
        world.run(minute=0, run_id="the run")

    rows = world.rows("select shard, run_id, ranges, messages, rejected from microbatch.failure")
    assert rows == [(0, "the run", [{"partition": 0, "start": 0, "end": 100}], 100, 100)]
    ((error, complete_until),) = world.rows("select last_error, complete_until from microbatch.freshness")
    assert error.startswith("TooManyRejectedError: pipeline 'sales': 100 of 100 messages")
    assert "First reason: JSON is malformed" in error
    assert complete_until is None


def test_the_allowed_share_itself_is_allowed(world: World) -> None:
    world.send(*[b"junk"] * 50, *[sale("ada")] * 50)

    world.run(minute=0)

    assert world.results() == [(0, "ada", 50, 50, True, 1)]


def test_a_batch_goes_through_once_more_is_allowed(world: World) -> None:
    world.send(*[b"junk"] * 99, sale("ada", 3))
    with pytest.raises(TooManyRejectedError):
        world.run(minute=0)

    world.replace(max_rejected=1.0).run(minute=1)

    assert world.results() == [(0, "ada", 3, 1, True, 1)]
    assert len(dead_letters(world)) == 99


def test_batches_before_the_bad_one_stay(make_world: MakeWorld) -> None:
    world = make_world(max_records=100)
    world.send(*[sale("ada", 1)] * 100, *[b"junk"] * 100)

    with pytest.raises(TooManyRejectedError, match=r"\[0\] 100\.\.199"):
        world.run(minute=0)

    assert world.rows("select messages from microbatch.batch") == [(100,)]
    assert world.rows("select covered_until from microbatch.partition_progress where partition = 0") == [(100,)]


def test_a_dead_letter_that_is_too_large_is_set_aside_whole_and_the_rest_goes_on(world: World) -> None:
    strict = KafkaTopic(f"{world.pipeline.source.name}-strict", partitions=1)
    Broker(world.connections).create([NewTopic(strict.name, 1, config={"max.message.bytes": "10000"})])
    world = world.replace(dead_letters=strict)
    world.send(b"junk", b"x" * 10_000, sale("ada", 3))

    with pytest.raises(MessagesRefusedError, match="1 messages were refused by the broker and set aside"):
        world.run(minute=0)

    assert [letter.value for letter in dead_letters(world)] == [b"junk"]
    rows = world.rows("select topic, octet_length(payload) > 10000, error from microbatch.set_aside")
    assert rows == [(strict.name, True, "Broker: Message size too large")]
    assert [m["amount_usd"] for m in published(world)] == [3]
    assert world.run(minute=1)[1].sent == 0
