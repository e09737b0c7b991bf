"""Pairs, who waits, and the topic of pairs, against the pairing of the input by brute force."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from recount import formats, origins
from recount.check_streams import at, header_differences, of_redone_batches, source_differences
from recount.definition import PairsOutput
from recount.errors import MalformedError
from recount.kafka import Message
from recount.origins import Wanted
from recount.pairing import Number, Pair, Pairing, Place
from recount.picture import Picture
from recount.report import Finding

_NAMES: Final = ("first_value", "first_partition", "first_offset", "second_value", "second_partition", "second_offset")


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = []
    definition, ledger = picture.ledger.definition, picture.ledger
    for output, counted, found in zip(definition.pairs, picture.counted.pairings, ledger.pairs, strict=True):
        if picture.scope.interval is not None:
            note = "not judged with --from/--to: a pair depends on all that was before it"
            findings += [Finding(f"{output.target.table} = input", 0, (), note), _each_once(output, found)]
            continue
        if picture.scope.unread:
            findings.append(_numbers(picture, output, counted, found))
            should = _of_counted_batches(picture, found)
        else:
            findings += _against_input(output, counted, found)
            should = counted
        findings.append(_each_once(output, found))
        if output.target.topic is not None:
            findings += _topic(picture, output.target.topic, should)
    return findings


def _against_input(output: PairsOutput, should: Pairing, found: Pairing) -> list[Finding]:
    name = output.target.table
    return [
        Finding(f"{name} = input", len(should.pairs), tuple(_pair_differences(should, found))),
        Finding(f"{name}_waiting = input", len(should.waiting), tuple(_waiting_differences(should, found))),
    ]


def _numbers(picture: Picture, output: PairsOutput, should: Pairing, found: Pairing) -> Finding:
    """Where some batches cannot be counted again, partners cannot; that each number is in a pair or waits, can."""
    counted, stored = _by_place(should), _by_place(found)
    wrong = [
        f"{at(place)}: {_number(stored.get(place))}, the input has {_number(counted.get(place))}"
        for place in sorted(counted.keys() | stored.keys())
        if _number(stored.get(place)) != _number(counted.get(place))
        and all(picture.scope.reads(n.batch_id) for n in (stored.get(place), counted.get(place)) if n)
    ]
    note = "who is whose partner depends on batches that are not counted again, and is not judged"
    return Finding(f"{output.target.table}: numbers = input", len(counted), tuple(wrong), note)


def _by_place(pairing: Pairing) -> dict[Place, Number]:
    paired = [number for pair in pairing.pairs.values() for number in (pair.first, pair.second)]
    return {number.place: number for number in (*paired, *pairing.waiting.values())}


def _number(number: Number | None) -> str:
    return "nothing" if number is None else f"{number.value} of batch {number.batch_id}"


def _of_counted_batches(picture: Picture, found: Pairing) -> Pairing:
    """The pairs of the table whose later event was counted again."""
    return Pairing({place: pair for place, pair in found.pairs.items() if place in picture.counted.origins})


def _pair_differences(should: Pairing, found: Pairing) -> list[str]:
    """Where the table has other pairs than the input gives. Timestamps are not in it."""
    return [
        f"{at(place)}: {_show(found.pairs.get(place))}, the input gives {_show(should.pairs.get(place))}"
        for place in sorted(should.pairs.keys() | found.pairs.keys())
        if _facts(found.pairs.get(place)) != _facts(should.pairs.get(place))
    ]


def _facts(pair: Pair | None) -> tuple[object, ...]:
    if pair is None:
        return ()
    return tuple((number.value, number.batch_id, number.place) for number in (pair.first, pair.second))


def _waiting_differences(should: Pairing, found: Pairing) -> list[str]:
    return [
        f"{at(place)}: {_waits(found.waiting.get(place))}, by the input {_waits(should.waiting.get(place))}"
        for place in sorted(should.waiting.keys() | found.waiting.keys())
        if found.waiting.get(place) != should.waiting.get(place)
    ]


def _each_once(output: PairsOutput, found: Pairing) -> Finding:
    """By the tables alone: every number is in one pair or waits, and pairs make the sum."""
    paired = [number for pair in found.pairs.values() for number in (pair.first, pair.second)]
    times = Counter(number.place for number in (*paired, *found.waiting.values()))
    wrong = [f"{at(place)}: {count} times in pairs and waiting" for place, count in sorted(times.items()) if count > 1]
    wrong += [
        f"{_show(pair)} is no sum of {output.sum}"
        for pair in found.pairs.values()
        if pair.first.value + pair.second.value != output.sum
    ]
    return Finding(f"{output.target.table}: each number once", len(times), tuple(wrong))


def _show(pair: Pair | None) -> str:
    if pair is None:
        return "no pair"
    first, second = pair.first, pair.second
    return (
        f"{first.value} ({at(first.place)}, batch {first.batch_id}) + "
        f"{second.value} ({at(second.place)}, batch {second.batch_id})"
    )


def _waits(number: Number | None) -> str:
    return "nobody waits" if number is None else f"{number.value} of {number.order} waits"


# -- the topic ---------------------------------------------------------------------------------------------


def _topic(picture: Picture, topic: str, should: Pairing) -> list[Finding]:
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    messages = origins.judged(picture, sink.messages)
    malformed = [text for message in messages for text in header_differences(picture, topic, message)]
    mine = [message for message in messages if origins.place_of(message) != origins.NOWHERE]
    gone = origins.deleted(picture, topic, sink, mine)
    there = Pairing({place: pair for place, pair in should.pairs.items() if not gone(place)})
    return [
        Finding(f"topic {topic}: headers", len(messages), tuple(malformed)),
        _all_there(picture, topic, there, origins.by_place(mine)),
        Finding(f"topic {topic}: order", len(mine), tuple(origins.order(picture, topic, sink, mine))),
    ]


def _all_there(picture: Picture, topic: str, should: Pairing, sent: Mapping[Place, list[Message]]) -> Finding:
    """Each pair was sent once, as it is. A redo pairs anew and sends nothing: redone batches are left out."""
    of_redone = origins.redone(picture, should.pairs.keys() | sent.keys())
    wanted = {place: Wanted(at(place), f", {_show(pair)}") for place, pair in should.pairs.items()}
    wrong = origins.presence(picture, topic, wanted, sent, excused=of_redone)
    extra = sent.keys() - wanted.keys() - of_redone
    wrong += [f"{sent[place][0].where}: {at(place)} is the later one of no pair" for place in sorted(extra)]
    for place in sorted(sent.keys() & wanted.keys() - of_redone):
        for message in sent[place]:
            wrong += [f"{message.where}: {text}" for text in _differences(picture, topic, should.pairs[place], message)]
    return Finding(f"topic {topic} = input", len(wanted), tuple(wrong), of_redone_batches(len(of_redone)))


def _differences(picture: Picture, topic: str, pair: Pair, message: Message) -> list[str]:
    try:
        found = formats.object_of(message.value)
        formats.check_names(found, _NAMES)
    except MalformedError as error:
        return [str(error)]
    first, second = pair.first, pair.second
    values = (first.value, *first.place, second.value, *second.place)
    wrong = [
        f"{name} is {found[name]!a}, the input gives {value}"
        for name, value in zip(_NAMES, values, strict=True)
        if type(found[name]) is not int or found[name] != value
    ]
    source = picture.counted.origins[second.place]
    return wrong + source_differences(picture, topic, source, second.batch_id, message)
