"""Result topics: their format, revisions, and the last one of each key against the input and the history."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from recount import cursor, formats
from recount.check_tables import sequence, show_revision
from recount.columns import Column
from recount.definition import Window
from recount.errors import InvalidError, MalformedError
from recount.expected import Expected, expected, still_open
from recount.kafka import Message
from recount.ledger import Ledger
from recount.partitioner import partition_of
from recount.picture import Picture, Sink
from recount.report import Finding
from recount.tables import Revision, WindowTables
from recount.totals import Cell
from recount.windows import end_s

_REVISION: Final = "microbatch.revision"

Lacking = Mapping[tuple[Cell, int], Collection[str]]
"""Columns that the message of a cell's revision need not have."""


@dataclass(frozen=True, slots=True)
class Published:
    """A revision as a message of the result topic."""

    cell: Cell
    revision: Revision


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = []
    for output, window in enumerate(picture.ledger.definition.windows):
        if window.target.topic is not None:
            findings += _check(picture, output, window, window.target.topic)
    return findings


def _check(picture: Picture, output: int, window: Window, topic: str) -> list[Finding]:
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    published, malformed = _published(window, sink, picture.ledger, _lacking(picture, output))
    published = [each for each in published if picture.scope.has(each.cell.window_start)]
    by_cell: dict[Cell, list[Revision]] = defaultdict(list)
    for each in published:
        by_cell[each.cell].append(each.revision)
    holes = _is_thinned(picture, topic) or topic in picture.ledger.set_aside
    wrong = [f"{cell}: {text}" for cell, found in by_cell.items() for text in sequence(found, holes_allowed=holes)]
    return [
        Finding(f"topic {topic}: format", len(sink.messages), tuple(malformed)),
        Finding(f"topic {topic}: revisions", len(published), tuple(wrong)),
        _against_input(picture, expected(picture, output), topic, by_cell),
        _against_history(picture, output, topic, published),
    ]


def _against_input(picture: Picture, should: Expected, topic: str, by_cell: Mapping[Cell, list[Revision]]) -> Finding:
    """The last revision of each key of a closed window is what the input gives."""
    last = {cell: max(revisions, key=lambda revision: revision.number) for cell, revisions in by_cell.items()}
    cells = sorted(should.numbers.keys() | last.keys(), key=str)
    wrong = {cell: differences for cell in cells if (differences := should.differences(cell, last.get(cell)))}
    closed = sum(should.is_closed(cell) for cell in should.numbers)
    texts = [text for differences in wrong.values() for text in differences]
    if len(wrong) <= picture.ledger.set_aside.get(topic, 0):
        texts = []  # what was set aside explains them; which ones it was, the history says
    return Finding(f"topic {topic} = input", closed, (*texts, *still_open(picture, should)), should.note)


def _against_history(picture: Picture, output: int, topic: str, published: Sequence[Published]) -> Finding:
    """Every revision of the history was sent once, as it is there, or set aside; nothing else was sent."""
    window, tables = picture.ledger.definition.windows[output], picture.ledger.tables[output]
    history = {(cell, r.number): r for cell, revisions in tables.history.items() for r in revisions}
    sent: dict[tuple[Cell, int], list[Revision]] = defaultdict(list)
    for each in published:
        sent[each.cell, each.revision.number].append(each.revision)
    wrong = [
        f"{cell}, revision {number}: not in the history"
        for cell, number in sent.keys() - history.keys()
        if not (picture.ledger.is_pruned and number < _first_kept(tables, cell))
    ]
    missing, compacted = _missing(picture, topic, tables, sent.keys())
    wrong += missing
    for (cell, number), found in sent.items():
        revision = history.get((cell, number))
        if len(found) > 1:
            wrong.append(f"{cell}, revision {number}: sent {len(found)} times")
        wrong += [
            f"{cell}, revision {number}: sent as {show_revision(window, each)}, "
            f"the history has {show_revision(window, revision)}"
            for each in found
            if revision is not None and each.shown != revision.shown
        ]
    note = f"{compacted} superseded ones are not on the topic any more" if compacted else ""
    return Finding(f"topic {topic} = history", len(history), tuple(wrong), note)


def _first_kept(tables: WindowTables, cell: Cell) -> int:
    """The oldest revision of a cell in the history; 0: there is none, although the newest one is always kept."""
    return min((revision.number for revision in tables.history.get(cell, [])), default=0)


def _is_thinned(picture: Picture, topic: str) -> bool:
    """Whether the topic may have lost revisions that others have superseded."""
    return picture.compacted or picture.ledger.was_made_anew(topic)


def _missing(
    picture: Picture, topic: str, tables: WindowTables, sent: Collection[tuple[Cell, int]]
) -> tuple[list[str], int]:
    """Revisions that are not on the topic, unless as many were set aside, and how many compaction explains.

    Compaction keeps the last one of each key only, and a retraction not even then.
    """
    missing, compacted, is_thinned = [], 0, _is_thinned(picture, topic)
    for cell, revisions in tables.history.items():
        for revision in revisions:
            if (cell, revision.number) in sent:
                continue
            if is_thinned and (revision is not revisions[-1] or revision.numbers is None):
                compacted += 1
                continue
            missing.append(f"{cell}, revision {revision.number}: in the history, but was not sent")
    aside = picture.ledger.set_aside.get(topic, 0)
    if len(missing) == aside or (is_thinned and len(missing) < aside):
        return [], compacted
    return [*missing, f"{len(missing)} are missing, {aside} were set aside"], compacted


# -- the format of a message -------------------------------------------------------------------------------


def _lacking(picture: Picture, output: int) -> Lacking:
    """Columns that are null in the history of a revision: its message may be older than they are."""
    if not picture.ledger.may_have_grown:
        return {}
    tables, window = picture.ledger.tables[output], picture.ledger.definition.windows[output]
    return {
        (cell, revision.number): {
            name for name, number in zip(window.columns, revision.numbers or (), strict=False) if number is None
        }
        for cell, revisions in tables.history.items()
        for revision in revisions
    }


def _published(window: Window, sink: Sink, ledger: Ledger, lacking: Lacking) -> tuple[list[Published], list[str]]:
    """The revisions on the topic in the order of each partition, and what is wrong with messages."""
    published, wrong = [], []
    keys: dict[Cell, bytes | None] = {}
    for message in sink.messages:
        try:
            each = _parse(window, message, lacking)
            published.append(each)
            formats.check_cursor(message, ledger)
            _check_partition(message, len(sink.ends))
        except MalformedError as error:
            wrong.append(f"{message.where}: {error}")
            continue
        if keys.setdefault(each.cell, message.key) != message.key:
            wrong.append(f"{message.where}: key {message.key!r}, another message of it has {keys[each.cell]!r}")
    wrong += cursor.order(sink.messages, ledger.ledger, ledger.sent)
    wrong += [
        f"partition {partition}: a transaction is open, last stable offset {ends.last_stable} of {ends.high}"
        for partition, ends in sink.ends.items()
        if ends.last_stable != ends.high
    ]
    return published, wrong


def _parse(window: Window, message: Message, lacking: Lacking) -> Published:
    cell = _cell(window, formats.object_of(message.key))
    end = _end_s(window, cell)
    if not formats.is_timestamp(message.timestamp_ms, end * 1000):
        raise MalformedError("timestamp {}, the window ends at {}", message.timestamp_ms, end * 1000)
    number = message.header(_REVISION) or ""
    if not number.isdecimal():
        raise MalformedError("the revision in the headers is {!a}", number)
    if message.value is None:
        return Published(cell, Revision(int(number), None, is_final=False, window_end=None))
    may_lack = lacking.get((cell, int(number)), set())
    revision = _revision(window, cell, formats.object_of(message.value), may_lack)
    if revision.number != int(number):
        raise MalformedError("revision {}, but {} in the headers", revision.number, number)
    return Published(cell, revision)


def _cell(window: Window, key: dict[str, Any]) -> Cell:
    formats.check_names(key, ("window_start", *window.key_names))
    return Cell(formats.seconds_of(key["window_start"], "window_start"), formats.values_of(window.by, key))


def _end_s(window: Window, cell: Cell) -> int:
    try:
        return end_s(window, int(cell.window_start))
    except InvalidError as error:
        raise MalformedError("{}", error) from error


def _revision(window: Window, cell: Cell, value: dict[str, Any], may_lack: Collection[str]) -> Revision:
    names = ("window_start", "window_end", *window.key_names, *window.columns, "is_final", "revision")
    formats.check_names(value, names, may_lack)
    start = formats.seconds_of(value["window_start"], "window_start")
    if Cell(start, formats.values_of(window.by, value)) != cell:
        raise MalformedError("the value is not of the key's window and columns")
    end = formats.seconds_of(value["window_end"], "window_end")
    if end != _end_s(window, cell):
        raise MalformedError("window_end is {}", value["window_end"])
    if type(value["is_final"]) is not bool or type(value["revision"]) is not int:
        raise MalformedError("is_final or revision has a wrong type")
    measures = [Column(measure.column, measure.type) for measure in window.measures]
    return Revision(value["revision"], formats.values_of(measures, value), value["is_final"], end)


def _check_partition(message: Message, partitions: int) -> None:
    """Java clients must find a key on the partition that their default partitioner chooses."""
    chosen = partition_of(message.key or b"", partitions)
    if message.partition != chosen:
        raise MalformedError("murmur2 puts this key on partition {}", chosen)
