"""Result topics: their format, revisions, and the last one of each key against the input and the history."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from recount import cursor
from recount.check_tables import sequence
from recount.definition import Window
from recount.errors import MalformedError
from recount.expected import Expected, expected, still_open
from recount.kafka import Message
from recount.ledger import Ledger, Revision, Tables
from recount.partitioner import partition_of
from recount.picture import Picture, Sink
from recount.report import Finding
from recount.totals import Cell, Number

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REVISION: Final = "microbatch.revision"


@dataclass(frozen=True, slots=True)
class Published:
    """A revision as a message of the result topic."""

    cell: Cell
    revision: Revision


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = []
    for output, window in enumerate(picture.ledger.definition.windows):
        if window.topic is not None:
            findings += _check(picture, output, window, window.topic)
    return findings


def _check(picture: Picture, output: int, window: Window, topic: str) -> list[Finding]:
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    published, malformed = _published(window, sink, picture.ledger)
    by_cell: dict[Cell, list[Revision]] = defaultdict(list)
    for each in published:
        by_cell[each.cell].append(each.revision)
    holes = picture.compacted or topic in picture.ledger.set_aside
    wrong = [f"{cell}: {text}" for cell, found in by_cell.items() for text in sequence(found, holes_allowed=holes)]
    findings = [
        Finding(f"topic {topic}: format", len(sink.messages), tuple(malformed)),
        Finding(f"topic {topic}: revisions", len(published), tuple(wrong)),
        _against_input(picture, expected(picture, output), topic, by_cell),
    ]
    tables = picture.ledger.tables[output]
    if tables is not None:
        findings.append(_against_history(picture, topic, published, tables))
    return findings


def _against_input(picture: Picture, should: Expected, topic: str, by_cell: Mapping[Cell, list[Revision]]) -> Finding:
    """The last revision of each key of a closed window is what the input gives."""
    last = {cell: max(revisions, key=lambda revision: revision.number) for cell, revisions in by_cell.items()}
    cells = sorted(should.numbers.keys() | last.keys(), key=str)
    wrong = {cell: differences for cell in cells if (differences := should.differences(cell, last.get(cell)))}
    closed = sum(should.is_closed(cell) for cell in should.numbers)
    texts = [text for differences in wrong.values() for text in differences]
    if len(wrong) <= picture.ledger.set_aside.get(topic, 0):
        texts = []  # what was set aside explains them; which ones it was, the history says
    return Finding(f"topic {topic} = input", closed, (*texts, *still_open(picture, should)))


def _against_history(picture: Picture, topic: str, published: Sequence[Published], tables: Tables) -> Finding:
    """Every revision of the history was sent once, as it is there, or set aside; nothing else was sent."""
    history = {(cell, r.number): r for cell, revisions in tables.history.items() for r in revisions}
    sent: dict[tuple[Cell, int], list[Revision]] = defaultdict(list)
    for each in published:
        sent[each.cell, each.revision.number].append(each.revision)
    wrong = [f"{cell}, revision {number}: not in the history" for cell, number in sent.keys() - history.keys()]
    wrong += _missing(picture, topic, tables, sent.keys())
    for (cell, number), found in sent.items():
        revision = history.get((cell, number))
        if len(found) > 1:
            wrong.append(f"{cell}, revision {number}: sent {len(found)} times")
        wrong += [
            f"{cell}, revision {number}: sent as {each.shown}, the history has {revision.shown}"
            for each in found
            if revision is not None and each.shown != revision.shown
        ]
    return Finding(f"topic {topic} = history", len(history), tuple(wrong))


def _missing(picture: Picture, topic: str, tables: Tables, sent: Collection[tuple[Cell, int]]) -> list[str]:
    """Revisions that are not on the topic, unless as many were set aside; compaction keeps the last ones only."""
    missing = [
        f"{cell}, revision {revision.number}: in the history, but was not sent"
        for cell, revisions in tables.history.items()
        for revision in (revisions[-1:] if picture.compacted else revisions)
        if (cell, revision.number) not in sent and not (picture.compacted and revision.numbers is None)
    ]
    aside = picture.ledger.set_aside.get(topic, 0)
    if len(missing) == aside or (picture.compacted and len(missing) < aside):
        return []
    return [*missing, f"{len(missing)} are missing, {aside} were set aside"]


# -- the format of a message -------------------------------------------------------------------------------


def _published(window: Window, sink: Sink, ledger: Ledger) -> tuple[list[Published], list[str]]:
    """The revisions on the topic in the order of each partition, and what is wrong with messages."""
    published, wrong = [], []
    for message in sink.messages:
        try:
            published.append(_parse(window, message))
            _check_headers(message, ledger)
            _check_partition(message, len(sink.ends))
        except MalformedError as error:
            wrong.append(f"{message.where}: {error}")
    wrong += cursor.order(sink.messages, ledger.ledger, _sent(ledger))
    wrong += [
        f"partition {partition}: a transaction is open, last stable offset {ends.last_stable} of {ends.high}"
        for partition, ends in sink.ends.items()
        if ends.last_stable != ends.high
    ]
    return published, wrong


def _sent(ledger: Ledger) -> int:
    """The last publication that Kafka may have: an intent may have been sent already."""
    publisher = ledger.publisher
    return max(publisher.cursor, publisher.intent or 0) if publisher else 0


def _parse(window: Window, message: Message) -> Published:
    cell = _cell(window, _object(message.key))
    end = cell.window_start + window.size_s
    if message.timestamp_ms != end * 1000:
        raise MalformedError("timestamp {}, the window ends at {}", message.timestamp_ms, end * 1000)
    number = message.header(_REVISION) or ""
    if not number.isdecimal():
        raise MalformedError("the revision in the headers is {!a}", number)
    if message.value is None:
        return Published(cell, Revision(int(number), None, is_final=False, window_end=None))
    revision = _revision(window, cell, _object(message.value))
    if revision.number != int(number):
        raise MalformedError("revision {}, but {} in the headers", revision.number, number)
    return Published(cell, revision)


def _cell(window: Window, key: dict[str, Any]) -> Cell:
    _check_names(key, ("window_start", *window.by))
    return Cell(_seconds(key["window_start"]), tuple(key[name] for name in window.by))


def _revision(window: Window, cell: Cell, value: dict[str, Any]) -> Revision:
    _check_names(value, ("window_start", "window_end", *window.by, *window.columns, "is_final", "revision"))
    if Cell(_seconds(value["window_start"]), tuple(value[name] for name in window.by)) != cell:
        raise MalformedError("the value is not of the key's window and columns")
    end = _seconds(value["window_end"])
    if end != cell.window_start + window.size_s:
        raise MalformedError("window_end is {}", value["window_end"])
    if type(value["is_final"]) is not bool or type(value["revision"]) is not int:
        raise MalformedError("is_final or revision has a wrong type")
    numbers = tuple(_integer(value[column], column) for column in window.columns)
    return Revision(value["revision"], numbers, value["is_final"], end)


def _check_names(found: dict[str, Any], names: tuple[str, ...]) -> None:
    if found.keys() != set(names):
        raise MalformedError("has {}; promised are {}", ", ".join(found), ", ".join(names))


def _integer(found: Any, column: str) -> Number:
    """Sums of integers and counts are JSON integers."""
    if type(found) is not int:
        raise MalformedError("{} is {!a}, not an integer", column, found)
    return found


def _seconds(found: Any) -> int:
    try:
        moment = datetime.strptime(found, _TIME).replace(tzinfo=UTC)
    except (ValueError, TypeError) as error:
        raise MalformedError("{!a} is not a time of the form 2026-11-21T10:20:00Z", found) from error
    since = moment - _EPOCH
    return since.days * 86_400 + since.seconds


def _object(data: bytes | None) -> dict[str, Any]:
    try:
        pairs = json.loads((data or b"").decode(), object_pairs_hook=list, parse_constant=_refuse)
        found = dict(pairs)
    except (ValueError, TypeError) as error:
        raise MalformedError("not a JSON object: {!r:.60}", data) from error
    if len(found) != len(pairs):
        raise MalformedError("a name is there twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _check_headers(message: Message, ledger: Ledger) -> None:
    found = cursor.parse(message.header(cursor.HEADER))
    if found is None:
        raise MalformedError("no cursor in the headers")
    if found.ledger != ledger.ledger:
        raise MalformedError("from ledger {}, this is {}", found.ledger, ledger.ledger)


def _check_partition(message: Message, partitions: int) -> None:
    """Java clients must find a key on the partition that their default partitioner chooses."""
    chosen = partition_of(message.key or b"", partitions)
    if message.partition != chosen:
        raise MalformedError("murmur2 puts this key on partition {}", chosen)
