"""A stream's table, keys and topic against the rows that the input gives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from recount import cursor, formats, origins
from recount.columns import Column, Value
from recount.counted import Passed
from recount.definition import Stream
from recount.errors import MalformedError
from recount.kafka import Message
from recount.origins import Wanted
from recount.pairing import Place
from recount.picture import Picture
from recount.report import Finding
from recount.tables import StreamRow

HEADERS: Final = tuple(f"microbatch.{name}" for name in ("pipeline", "topic", "partition", "offset", "batch", "cursor"))

Absent = dict[int, set[str]]
"""Columns that a batch did not compute, because they were added later."""


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    stream = picture.ledger.definition.stream
    if stream is None:
        return []
    findings = []
    if picture.ledger.stream.rows is not None:
        findings.append(_table(picture, stream, picture.ledger.stream.rows))
    if picture.ledger.stream.keys is not None:
        findings.append(_keys(picture, stream, picture.ledger.stream.keys))
    if stream.target.topic is not None:
        findings += _topic(picture, stream, stream.target.topic)
    return findings


# -- the tables --------------------------------------------------------------------------------------------


def _table(picture: Picture, stream: Stream, rows: Mapping[Place, StreamRow]) -> Finding:
    """Each row that passed is there once, with its batch and its columns."""
    rows = {place: row for place, row in rows.items() if picture.scope.reads(row.batch_id)}
    passed, absent = picture.counted.passed, _absent(picture, stream, rows)
    wrong = [f"{at(place)}: in the table, but it does not pass" for place in sorted(rows.keys() - passed.keys())]
    for place, should in sorted(passed.items()):
        row = rows.get(place)
        if row is None:
            wrong.append(f"{at(place)}: missing")
            continue
        if row.batch_id != should.batch_id:
            wrong.append(f"{at(place)}: batch {row.batch_id}, read by batch {should.batch_id}")
        names = [column.name for column in stream.columns]
        found = dict(zip(names, row.values, strict=True))
        kept = [name for name in names if name not in absent.get(row.batch_id, ())]
        wrong += [f"{at(place)}: {text}" for text in _column_differences(should, found, kept)]
    count = sum(1 for row in rows.values() if absent.get(row.batch_id))
    return Finding(f"{stream.target.table} = input", len(passed), tuple(wrong), not_fully(count, "rows"))


def _absent(picture: Picture, stream: Stream, rows: Mapping[Place, StreamRow]) -> Absent:
    """In batches of an older definition, columns that are null in each row."""
    found: Absent = {}
    for row in rows.values():
        batch = picture.ledger.batches.get(row.batch_id)
        if batch is not None and batch.is_older:
            nulls = {c.name for c, value in zip(stream.columns, row.values, strict=True) if value is None}
            found[row.batch_id] = found.get(row.batch_id, nulls) & nulls
    return found


def _keys(picture: Picture, stream: Stream, keys: Mapping[tuple[Value, ...], tuple[int, Place]]) -> Finding:
    """Each key is there once, with the message that had it first."""
    should = picture.counted.keys
    wrong = [
        f"{key!a}: {_owner(keys.get(key))}, the input gives {_owner(should.get(key))}"
        for key in sorted(should.keys() | keys.keys(), key=str)
        if keys.get(key) != should.get(key)
    ]
    return Finding(f"{stream.target.table}_key = input", len(should), tuple(wrong))


def _owner(owner: tuple[int, Place] | None) -> str:
    return "nobody" if owner is None else f"{at(owner[1])} of batch {owner[0]}"


# -- the topic ---------------------------------------------------------------------------------------------


def _topic(picture: Picture, stream: Stream, topic: str) -> list[Finding]:
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    messages = origins.judged(picture, sink.messages)
    malformed = [text for message in messages for text in header_differences(picture, topic, message)]
    mine = [message for message in messages if origins.place_of(message) != origins.NOWHERE]
    return [
        Finding(f"topic {topic}: headers", len(messages), tuple(malformed)),
        _all_there(picture, stream, topic, mine, origins.deleted(picture, topic, sink, mine)),
        Finding(f"topic {topic}: order", len(mine), tuple(origins.order(picture, topic, sink, mine))),
    ]


def _all_there(
    picture: Picture, stream: Stream, topic: str, mine: Sequence[Message], gone: Callable[[Place], bool]
) -> Finding:
    """Each row that passed was sent once. Of redone batches, what an earlier attempt sent is there, as it was then."""
    sent = origins.by_place(mine)
    passed = {place: should for place, should in picture.counted.passed.items() if not gone(place)}
    wanted = {place: Wanted(should.message.where) for place, should in passed.items()}
    of_redone = origins.redone(picture, wanted.keys() | sent.keys())
    untold = {place for place in of_redone if _is_untold(picture, stream, place)}
    wrong = origins.presence(picture, topic, wanted, sent, untold)
    extra = sent.keys() - wanted.keys()
    explained = {place for place in of_redone if place in untold or _had_passed(picture, topic, place)}
    wrong += [f"{sent[place][0].where}: of {at(place)}, which does not pass" for place in sorted(extra - explained)]
    for place in sorted(sent.keys() & wanted.keys()):
        for message in sent[place]:
            wrong += [
                f"{message.where}: {text}" for text in _differences(picture, stream, topic, passed[place], message)
            ]
    unsure = len(extra & untold) + len((untold & wanted.keys()) - sent.keys())
    deleted = len(picture.counted.passed) - len(passed)
    notes = [of_redone_batches(unsure)] if unsure else []
    former = len(of_redone & wanted.keys() & sent.keys()) if picture.ledger.is_rebuilt else 0
    notes += [f"values of {former} of redone batches not judged: of then"] if former else []
    notes += [f"{deleted} are not there any more: retention"] if deleted else []
    return Finding(f"topic {topic} = input", len(wanted), tuple(wrong), ", ".join(notes))


def _is_untold(picture: Picture, stream: Stream, place: Place) -> bool:
    """Whether the ledger cannot know if a message of a redone batch had passed before.

    One that was rejected has a row that says it. Of others only a rebuild makes ones that pass, or do not any more.
    """
    has_traces = picture.ledger.stream.rows is not None or bool(stream.unique)
    return picture.ledger.is_rebuilt and not has_traces and place not in picture.ledger.rejects


def _had_passed(picture: Picture, topic: str, place: Place) -> bool:
    """Whether the ledger says that the row of a message which does not pass was sent when it did."""
    row = picture.ledger.rejects.get(place)
    return picture.was_sent_before(topic, place) or (row is not None and row.row_sent)


def _differences(picture: Picture, stream: Stream, topic: str, should: Passed, message: Message) -> list[str]:
    batch = picture.ledger.batches.get(should.batch_id)
    names = [column.name for column in stream.columns]
    may_lack = names if batch is not None and (batch.is_older or batch.is_redone) else ()
    try:
        found = formats.object_of(message.value)
        formats.check_names(found, names, may_lack)
        columns = [Column(column.name, column.type) for column in stream.columns]
        values = dict(zip(names, formats.values_of(columns, found), strict=True))
    except MalformedError as error:
        return [str(error)]
    wrong = source_differences(picture, topic, should.message, should.batch_id, message)
    kept = {name for name in names if name in found}
    if picture.was_sent_before(topic, (should.message.partition, should.message.offset)):
        kept -= {column.name for column in stream.columns if "_batch_time" in column.sql}
    if picture.ledger.is_rebuilt and picture.ledger.is_redone(should.batch_id):
        kept = set()
    return wrong + _column_differences(should, values, [name for name in names if name in kept])


def _column_differences(should: Passed, found: Mapping[str, Value], names: Sequence[str]) -> list[str]:
    return [
        f"{name} is {found[name]!a}, the input gives {should.columns[name]!a}"
        for name in names
        if found[name] != should.columns[name]
    ]


# -- what pairs share --------------------------------------------------------------------------------------


def at(place: Place) -> str:
    """A place of the source, for people."""
    return f"{place[0]}@{place[1]}"


def not_fully(count: int, what: str) -> str:
    """The note of a finding on what was computed before a column was added."""
    return f"{count} {what} from before a column was added, which is not judged there" if count else ""


def of_redone_batches(count: int) -> str:
    """The note of a finding on topics, which a redo leaves as they are."""
    return f"{count} of redone batches not judged" if count else ""


def source_differences(picture: Picture, topic: str, source: Message, batch_id: int, message: Message) -> list[str]:
    """Key, timestamp and origin are the source's. What was sent before this ledger knew of it has a batch of then."""
    wrong = origins.source_differences(source, message, ("key",))
    should = {"topic": source.topic, "batch": str(batch_id)}
    if picture.was_sent_before(topic, (source.partition, source.offset)):
        del should["batch"]
    return wrong + [
        f"microbatch.{name} is {message.header(f'microbatch.{name}')!a}, should be {text!a}"
        for name, text in should.items()
        if message.header(f"microbatch.{name}") != text
    ]


def header_differences(picture: Picture, topic: str, message: Message) -> list[str]:
    """The headers are those that were promised, each once, and say pipeline, ledger and origin."""
    names: list[Any] = sorted(name for name, _ in message.headers)
    wrong = [] if names == sorted(HEADERS) else [f"headers are {', '.join(names)}"]
    if message.header("microbatch.pipeline") not in picture.names:
        wrong.append(f"of pipeline {message.header('microbatch.pipeline')!a}")
    found, place = cursor.parse(message.header(cursor.HEADER)), origins.place_of(message)
    if found is None or (not picture.ledger.is_ours(found.ledger) and not picture.was_sent_before(topic, place)):
        wrong.append("no cursor of this ledger in its headers")
    if place == origins.NOWHERE:
        wrong.append("no origin in its headers")
    return [f"{message.where}: {text}" for text in wrong]
