"""Pairs: the pairing by brute force, and each kind of tampering with tables and topic."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_recount import MINUTE, message, on_topic, plain, report
from fix_recount import picture as made
from recount import pairing
from recount.definition import PairsOutput, Target
from recount.kafka import Message
from recount.pairing import Number, Pair, Pairing, pair
from recount.picture import Picture
from recount.report import Report

OUTPUT = PairsOutput("n", 12, Target("public", "pairs", "pairs-out"))
PLAIN = plain(
    {"n": {"kind": "int", "optional": True}},
    {"kind": "pairs", "field": "n", "sum": 12, "schema": "public", "table": "pairs", "topic": "pairs-out"},
)
FIRST = [message(0, n=5), message(1, n=6), message(2, n=7), message(0, partition=1, at=MINUTE - 1, n=5)]
SECOND = [message(3, n=7), message(4, n=6), message(5, n=6), message(6, n=None)]


def number(value: int, batch_id: int, source: Message) -> Number:
    return Number(value, (batch_id, 0, source.partition, source.offset))


PAIRS = [
    Pair(number(5, 1, FIRST[3]), number(7, 1, FIRST[2])),
    Pair(number(5, 1, FIRST[0]), number(7, 2, SECOND[0])),
    Pair(number(6, 1, FIRST[1]), number(6, 2, SECOND[1])),
]
WAITS = Number(6, (2, MINUTE * 1000, 0, 5))
TABLES = Pairing({each.second.place: each for each in PAIRS}, {WAITS.place: WAITS})
SOURCES = {(m.partition, m.offset): m for m in (*FIRST, *SECOND)}


def sent(offset: int, each: Pair, **changes: Any) -> Message:
    names = ("first_value", "first_partition", "first_offset", "second_value", "second_partition", "second_offset")
    values = (each.first.value, *each.first.place, each.second.value, *each.second.place)
    value = dict(zip(names, values, strict=True)) | changes
    return on_topic("pairs-out", offset, SOURCES[each.second.place], value, each.second.batch_id)


TOPIC = tuple(sent(at, each) for at, each in enumerate(PAIRS))


def picture(topic: tuple[Message, ...] = TOPIC, **ledger: Any) -> Picture:
    return made(PLAIN, [FIRST, SECOND], {"pairs-out": topic}, **({"pairs": (TABLES,)} | ledger))


def finds(found: Report, name: str, text: str) -> bool:
    assert not found.ok
    return any(
        text in difference for finding in found.findings if finding.name == name for difference in finding.differences
    )


def test_pairs_that_work_agree() -> None:
    found = report(picture())

    assert found.ok, found.render()
    assert [f.compared for f in found.findings if "pairs" in f.name] == [3, 1, 7, 3, 3, 3]


@given(st.lists(st.tuples(st.integers(-3, 15), st.integers(1, 3), st.integers(0, 2)), max_size=40))
def test_the_pairing_is_that_of_the_kth_with_the_kth(drawn: list[tuple[int, int, int]]) -> None:
    """By definition: the k-th v goes with the k-th 12 - v; of sixes the 1st with the 2nd, the 3rd with the 4th."""
    numbers = [Number(value, (batch_id, at, 0, offset)) for offset, (value, batch_id, at) in enumerate(drawn)]
    found = pair(OUTPUT, numbers)

    booked = sorted(numbers, key=lambda each: each.order)
    expected = set()
    for value in range(-3, 6):
        left = [each for each in booked if each.value == value]
        right = [each for each in booked if each.value == 12 - value]
        expected |= {frozenset((a.place, b.place)) for a, b in zip(left, right, strict=False)}
    sixes = [each for each in booked if each.value == 6]
    expected |= {frozenset((a.place, b.place)) for a, b in zip(sixes[::2], sixes[1::2], strict=False)}
    assert {frozenset((each.first.place, each.second.place)) for each in found.pairs.values()} == expected
    assert all(each.first.order < each.second.order for each in found.pairs.values())
    assert len(found.pairs) * 2 + len(found.waiting) == len(numbers)


def test_nulls_are_no_numbers() -> None:
    assert pairing.numbers(OUTPUT, [((1, 0, 0, 0), {"n": None})]) == []


# -- tables ------------------------------------------------------------------------------------------------


def changed(pairs: dict[Any, Any] | None = None, waiting: dict[Any, Any] | None = None) -> Report:
    tables = Pairing(
        {place: each for place, each in (TABLES.pairs | (pairs or {})).items() if each},
        {place: each for place, each in (TABLES.waiting | (waiting or {})).items() if each},
    )
    return report(picture(), pairs=(tables,))


def test_pairs_that_are_missing_or_other_ones_are_found() -> None:
    crossed = Pair(number(5, 1, FIRST[0]), PAIRS[0].second)
    other_value = replace(PAIRS[2], first=replace(PAIRS[2].first, value=5))
    other_batch = replace(PAIRS[2], second=number(6, 1, SECOND[1]))

    assert finds(changed({(0, 2): None}), "pairs = input", "0@2: no pair, the input gives 5 (1@0, batch 1) + 7")
    assert finds(changed({(0, 2): crossed}), "pairs = input", "0@2: 5 (0@0, batch 1) + 7 (0@2, batch 1)")
    assert finds(changed({(0, 2): crossed}), "pairs: each number once", "0@0: 2 times in pairs and waiting")
    assert finds(changed({(0, 4): other_value}), "pairs: each number once", "is no sum of 12")
    assert finds(changed({(0, 4): other_batch}), "pairs = input", "6 (0@4, batch 1), the input gives")


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        ({WAITS.place: None}, "0@5: nobody waits, by the input 6 of"),
        ({(0, 6): Number(7, (2, 0, 0, 6))}, "0@6: 7 of (2, 0, 0, 6) waits, by the input nobody waits"),
        ({WAITS.place: replace(WAITS, value=7)}, "0@5: 7 of"),
        ({WAITS.place: Number(6, (2, MINUTE * 1000 + 1, 0, 5))}, "0@5: 6 of"),
        ({WAITS.place: Number(6, (1, MINUTE * 1000, 0, 5))}, "0@5: 6 of (1,"),
    ],
)
def test_others_that_wait_are_found(waiting: dict[Any, Any], text: str) -> None:
    assert finds(changed(waiting=waiting), "pairs_waiting = input", text)


# -- the topic ---------------------------------------------------------------------------------------------


def test_pairs_that_were_not_sent_or_twice_or_by_nobody_are_found() -> None:
    nobody = on_topic("pairs-out", 9, SECOND[2], {}, 2)
    name = "topic pairs-out = input"

    assert finds(report(picture(TOPIC[:2])), name, "0@4: not there, 6 (0@1, batch 1) + 6 (0@4, batch 2)")
    assert finds(report(picture((*TOPIC, TOPIC[2]))), name, "0@4: sent 2 times")
    assert finds(report(picture((*TOPIC, nobody))), name, "0@5 is the later one of no pair")
    assert finds(report(picture((TOPIC[1], TOPIC[0], TOPIC[2]))), "topic pairs-out: order", "0@2 after 0@3")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"first_value": 4}, "first_value is 4, the input gives 5"),
        ({"first_value": "5"}, "first_value is '5', the input gives 5"),
        ({"first_offset": 9}, "first_offset is 9"),
        ({"sum": 12}, "promised are"),
    ],
)
def test_other_values_of_a_pair_are_found(changes: dict[str, Any], text: str) -> None:
    topic = (sent(0, PAIRS[0], **changes), *TOPIC[1:])

    assert finds(report(picture(topic)), "topic pairs-out = input", text)


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"key": b"k0"}, "topic pairs-out = input", "key is b'k0', the source has b'k2'"),
        ({"timestamp_ms": 5}, "topic pairs-out = input", "timestamp_ms is 5"),
        ({"partition": 1}, "topic pairs-out: order", "belongs on 0"),
        ({"headers": ()}, "topic pairs-out: headers", "headers are"),
    ],
)
def test_a_pair_that_is_not_as_its_later_event_is_found(changes: dict[str, Any], name: str, text: str) -> None:
    assert finds(report(picture((replace(TOPIC[0], **changes), *TOPIC[1:]))), name, text)


def test_pairs_of_redone_batches_are_not_judged_on_the_topic() -> None:
    batches = picture().ledger.batches
    redone = batches | {2: replace(batches[2], attempt=2)}

    found = report(picture(TOPIC[:1]), batches=redone)
    assert found.ok, found.render()
    assert any(finding.note == "2 of redone batches not judged" for finding in found.findings)
    assert finds(report(picture(TOPIC[1:]), batches=redone), "topic pairs-out = input", "0@2: not there")
