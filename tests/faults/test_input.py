"""Any bytes at all as input: each message is exact in the results or whole in the dead letters, and stops nothing."""

import json
from collections.abc import Callable
from random import Random
from typing import Final

import pandas as pd
import pytest

from bad_messages import Shape, bad_messages
from fix_child import check
from fix_pipeline import T0, Message, Sale, World, sale
from microbatch import PostgresTable, Stream, Transform
from microbatch.errors import TransformFailedError
from microbatch.topics import create_topics
from outside import dead_letters, sink

MakeWorld = Callable[..., World]

COUNT: Final = 400
SMALL: Final = 10_000
"""Bytes; tests/integration/test_bad_input.py has the large ones."""
BAD: Final = [
    value
    for value in bad_messages(Shape(json.loads(sale()), ["seller_id"], ["amount_usd"], "sale_ts")).values()
    if value is None or len(value) < SMALL
]
PIECES: Final = [
    b"0",
    b"-",
    b".5",
    b"e9",
    b'"',
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\x00",
    b"\xff",
    b",",
    b"{",
    b"[]",
    b"null",
]


def mutated(chance: Random) -> bytes:
    """A valid sale, of which something was replaced, left out or put in, once to three times."""
    value = sale(
        chance.choice(["ada", "bob", "", "Zoë 🎉"]), chance.randrange(-(2**64), 2**64), T0 + chance.randrange(60)
    )
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        at = chance.randrange(len(value) + 1)
        until = chance.choice([at, at + 1, at + chance.randrange(1, 20)])
        value = value[:at] + chance.choice([b"", chance.choice(PIECES), chance.randbytes(1)]) + value[until:]
    return value


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 50))])
def test_each_of_many_spoilt_messages_is_exact_in_the_result_or_whole_in_the_dead_letters(
    make_world: MakeWorld, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - the same messages each time
    world = make_world(max_rejected=1.0, max_records=150)
    values = [chance.choice(BAD) if chance.random() < 0.1 else mutated(chance) for _ in range(COUNT)]
    world.send(*(Message(value, number % 2, at_s=T0) for number, value in enumerate(values)))

    world.run(120)

    report = check(world)
    assert report.messages == COUNT
    assert 0.2 < report.rejected / COUNT < 0.95, "there is something to tell apart"


@pytest.mark.parametrize(
    ("amount", "is_text"), [(0, False), (65, True), (0xD7FF, True), (0xD800, False), (0xDFFF, False), (0x10FFFF, True)]
)
def test_a_text_that_an_expression_makes_is_exact_in_postgres_or_its_message_a_dead_letter(
    make_world: MakeWorld, amount: int, *, is_text: bool
) -> None:
    """A NUL and half a surrogate pair are no text for PostgreSQL, though the message that they are made of is valid."""
    made = make_world()
    stream = Stream(
        columns={"made": "'<' || chr(amount_usd::int) || '>'"}, to=[PostgresTable("made"), sink(made, "made")]
    )
    world = made.replace(outputs=[stream])
    create_topics([world.pipeline], world.connections)
    world.send(sale("ada", 66), sale("bob", amount))

    world.run(0)

    assert ("<B>",) in world.rows("select made from made")
    assert ((f"<{chr(amount)}>",) in world.rows("select made from made")) is is_text
    assert [letter.value for letter in dead_letters(world)] == ([] if is_text else [sale("bob", amount)])
    assert check(world).messages == 2


def spoil(sales: pd.DataFrame) -> pd.DataFrame:
    """A transform whose texts PostgreSQL cannot hold, for some sellers."""
    sales["seller_id"] = sales["seller_id"].astype(object).replace({"nul": "a\0b", "half": "a\ud800"})
    return sales


def test_a_nul_of_a_transform_makes_its_message_a_dead_letter(make_world: MakeWorld) -> None:
    world = make_world(transform=Transform(spoil, Sale, version=1))
    world.send(sale("ada", 3), sale("nul", 5))

    world.run(0)

    assert [letter.value for letter in dead_letters(world)] == [sale("nul", 5)]
    assert [result[1:4] for result in world.results()] == [("ada", 3, 1)]
    assert check(world).messages == 2


def test_a_transform_that_gives_half_a_surrogate_pair_gave_no_text_and_nothing_is_stored(make_world: MakeWorld) -> None:
    """No message can contain one: the function has made it, and a person has to correct that."""
    world = make_world(transform=Transform(spoil, Sale, version=1))
    world.send(sale("ada", 3), sale("half", 5))

    with pytest.raises(TransformFailedError, match="surrogates not allowed"):
        world.run(0)

    assert world.rows("select count(*) from microbatch.batch") == [(0,)]
