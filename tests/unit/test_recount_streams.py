"""Streams and dead letters: each kind of tampering with tables, keys, topics and redone batches is noticed."""

from dataclasses import replace
from typing import Any

import pytest

from fix_recount import MINUTE, message, on_topic, origin_headers, plain, report
from fix_recount import picture as made
from recount.kafka import Message
from recount.ledger import Batch, Progress, RejectRow
from recount.picture import Picture
from recount.report import Report
from recount.tables import StreamRow, StreamTables

EVENT: dict[str, Any] = {"s": {"kind": "str", "optional": True}, "n": {"kind": "int"}}
ROWS: dict[str, Any] = {
    "kind": "stream",
    "columns": [["n", "n", "bigint"], ["big", "n * 1.5", "numeric(20,1)"], ["at", "_batch_time", "timestamptz"]],
    "where": "n > 0",
    "reject": [["too many", "n > 1000"]],
    "unique": [["s", "text"]],
    "schema": "public",
    "table": "rows",
    "topic": "rows-out",
}
PLAIN = plain(EVENT, ROWS)
FIRST = [
    message(0, s="a", n=1),
    message(1, s="b", n=2),
    message(2, s="a", n=3),  # repeated
    message(3, s="c", n=-1),  # filtered
    message(4, s="d", n=2000),  # rejected by the rule
    message(0, partition=1, at=MINUTE + 1, s="e", n=5),
]
SECOND = [message(5, s="b", n=6), message(6, s=None, n=7), message(7, s="f", n=8)]  # repeated, null key, passes
LAST = SECOND[2]
PASSED = {(0, 0): (1, FIRST[0]), (0, 1): (1, FIRST[1]), (1, 0): (1, FIRST[5]), (0, 7): (2, LAST)}
KEYS = {(0, 0): "a", (0, 1): "b", (1, 0): "e", (0, 7): "f"}
REJECTS = {(0, 4): RejectRow(1, "too many"), (0, 6): RejectRow(2, "s is null")}


def values(source: Message) -> dict[str, Any]:
    number = {1: ("1.5", 1), 2: ("3.0", 2), 5: ("7.5", 5), 8: ("12.0", 8)}
    text, n = next(found for found in number.values() if f'"n": {found[1]}}}' in (source.value or b"").decode())
    return {"n": n, "big": text, "at": "2025-11-21T04:40:00Z"}


def letter(offset: int, source: Message, reason: str, batch_id: int) -> Message:
    order = ("reason", "topic", "partition", "offset", "pipeline", "batch", "cursor")
    ours = dict(origin_headers(source, batch_id)) | {"microbatch.reason": reason.encode()}
    headers = tuple((f"microbatch.{name}", ours[f"microbatch.{name}"]) for name in order)
    return Message("in-dlq", source.partition, offset, source.timestamp_ms, source.key, source.value, headers)


LETTERS = (letter(0, FIRST[4], "too many", 1), letter(1, SECOND[1], "s is null", 2))


def sent(**changes: Any) -> tuple[Message, ...]:
    return tuple(
        on_topic("rows-out", at, source, values(source) | changes, batch_id)
        for at, (batch_id, source) in enumerate(PASSED.values())
    )


def tables() -> StreamTables:
    """The tables as the engine should fill them; what the check computes is not looked at here, but for times."""
    base = made(PLAIN, [FIRST, SECOND], rejects=REJECTS)
    rows = {}
    for place, (batch_id, _) in PASSED.items():
        rows[place] = StreamRow(batch_id, tuple(base.counted.passed[place].columns.values()))
    return StreamTables(rows, {(key,): (PASSED[place][0], place) for place, key in KEYS.items()})


def picture(topic: tuple[Message, ...] | None = None, letters: tuple[Message, ...] = LETTERS, **ledger: Any) -> Picture:
    topics = {"rows-out": sent() if topic is None else topic, "in-dlq": letters}
    facts: dict[str, Any] = {"stream": tables(), "rejects": REJECTS} | ledger
    return made(PLAIN, [FIRST, SECOND], topics, **facts)


def finds(found: Report, name: str, text: str) -> bool:
    assert not found.ok
    return any(
        text in difference for finding in found.findings if finding.name == name for difference in finding.differences
    )


def test_a_stream_that_works_agrees() -> None:
    found = picture()

    assert report(found).ok, report(found).render()
    counts = found.counted.counts
    assert counts[1, 0, 0] == (5, 1, 1, 1)
    assert counts[2, 0, 5] == (3, 1, 1, 0)
    assert [f.compared for f in report(found).findings if f.name.startswith(("rows", "topic rows"))] == [4, 4, 4, 4, 4]


# -- tables ------------------------------------------------------------------------------------------------


def with_row(place: tuple[int, int], row: StreamRow | None) -> StreamTables:
    rows = {at: found for at, found in (tables().rows or {}).items() if at != place}
    return replace(tables(), rows=rows if row is None else rows | {place: row})


def test_rows_that_are_missing_wrong_or_too_many_are_found() -> None:
    row = (tables().rows or {})[0, 1]

    assert finds(report(picture(), stream=with_row((0, 1), None)), "rows = input", "0@1: missing")
    assert finds(report(picture(), stream=with_row((0, 2), row)), "rows = input", "0@2: in the table, but")
    other = replace(row, batch_id=2)
    assert finds(report(picture(), stream=with_row((0, 1), other)), "rows = input", "batch 2, read by batch 1")
    changed = replace(row, values=(3, *row.values[1:]))
    assert finds(report(picture(), stream=with_row((0, 1), changed)), "rows = input", "n is 3, the input gives 2")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({("z",): (1, (0, 3))}, "('z',): 0@3 of batch 1, the input gives nobody"),
        ({("b",): (2, (0, 5))}, "('b',): 0@5 of batch 2, the input gives 0@1 of batch 1"),
        ({("b",): None}, "('b',): nobody"),
    ],
)
def test_keys_of_others_are_found(keys: dict[Any, Any], text: str) -> None:
    changed = {key: owner for key, owner in ((tables().keys or {}) | keys).items() if owner}

    assert finds(report(picture(), stream=replace(tables(), keys=changed)), "rows_key = input", text)


def test_a_column_that_was_added_later_is_null_in_older_batches_only() -> None:
    rows = {at: replace(row, values=(*row.values[:2], None)) for at, row in (tables().rows or {}).items()}
    old = replace(tables(), rows=rows | {(0, 7): (tables().rows or {})[0, 7]})
    batches = {1: replace(picture().ledger.batches[1], is_older=True), 2: picture().ledger.batches[2]}
    topic = tuple(
        on_topic("rows-out", at, m, {k: v for k, v in values(m).items() if k != "at" or b == 2}, b)
        for at, (b, m) in enumerate(PASSED.values())
    )

    found = report(picture(topic), stream=old, batches=batches)
    assert found.ok, found.render()
    assert any(finding.note.startswith("3 rows from before") for finding in found.findings)
    assert finds(report(picture(topic), stream=old), "rows = input", "at is None")
    assert finds(report(picture(topic), stream=old), "topic rows-out = input", "promised are")
    mixed = replace(old, rows=(old.rows or {}) | {(0, 0): (tables().rows or {})[0, 0]})
    assert finds(report(picture(topic), stream=mixed, batches=batches), "rows = input", "0@1: at is None")


# -- the topic ---------------------------------------------------------------------------------------------


def test_messages_that_are_missing_twice_or_of_nobody_are_found() -> None:
    topic = sent()
    extra = on_topic("rows-out", 9, FIRST[3], values(FIRST[0]))
    name = "topic rows-out = input"

    assert finds(report(picture(topic[1:])), name, "in[0]@0: not there")
    assert finds(report(picture((topic[0], *topic))), name, "in[0]@0: sent 2 times")
    assert finds(report(picture((*topic, extra))), name, "of 0@3, which does not pass")
    assert report(picture(topic[1:]), set_aside={"rows-out": 1}).ok
    assert finds(report(picture(topic), set_aside={"rows-out": 1}), name, "0 are missing, 1 were set aside")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n": 9}, "n is 9, the input gives"),
        ({"n": "1"}, "n is '1', which is no bigint"),
        ({"big": 1.5}, "big is 1.5, which is no numeric"),
        ({"big": "1.50"}, "big is '1.50', which is no numeric"),
        ({"at": "2025-11-21T04:40:01Z"}, "at is datetime"),
        ({"at": "2025-11-21 04:40:00"}, "which is no timestamptz"),
        ({"more": 1}, "promised are"),
    ],
)
def test_other_values_and_texts_on_the_topic_are_found(changes: dict[str, Any], text: str) -> None:
    assert finds(report(picture(sent(**changes))), "topic rows-out = input", text)


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"key": b"other"}, "topic rows-out = input", "key is b'other', the source has b'k0'"),
        ({"timestamp_ms": 5}, "topic rows-out = input", "timestamp_ms is 5"),
        ({"value": None}, "topic rows-out = input", "not a JSON object"),
        ({"value": b"[]"}, "topic rows-out = input", "not a JSON object"),
        ({"partition": 1}, "topic rows-out: order", "belongs on 0"),
        ({"headers": origin_headers(FIRST[0])[1:]}, "topic rows-out: headers", "headers are"),
        ({"headers": origin_headers(FIRST[0])[:-1]}, "topic rows-out: headers", "no cursor of this ledger"),
        ({"headers": ()}, "topic rows-out: headers", "no origin"),
        ({"headers": origin_headers(FIRST[0], 2)}, "topic rows-out = input", "microbatch.batch is '2', should be '1'"),
    ],
)
def test_a_message_that_is_not_as_its_source_is_found(changes: dict[str, Any], name: str, text: str) -> None:
    topic = sent()

    assert finds(report(picture((replace(topic[0], **changes), *topic[1:]))), name, text)


def test_a_timestamp_of_zero_becomes_the_time_of_sending() -> None:
    """Kafka's client takes it so, and the documentation says so."""
    zero = message(0, at=0, s="a", n=1)
    topic = {"rows-out": (replace(on_topic("rows-out", 0, zero, values(FIRST[0])), timestamp_ms=5),)}
    rows = StreamTables({(0, 0): (tables().rows or {})[0, 0]}, {("a",): (1, (0, 0))})

    found = report(made(PLAIN, [[zero]], topic, stream=rows))
    assert found.ok, found.render()


def test_the_order_of_a_source_partition_is_kept_above_its_first_offset() -> None:
    topic = sent()
    swapped = (topic[1], topic[0], *topic[2:])
    later = tuple(replace(found, first_offset=2) for found in picture().ledger.progress[:1])

    assert finds(report(picture(swapped)), "topic rows-out: order", "0@0 after 0@1")
    history = report(picture(swapped), progress=(*later, *picture().ledger.progress[1:]))
    assert not any("topic rows-out: order" in text for text in history.differences)


def test_what_lies_above_a_gap_waits() -> None:
    progress = tuple(replace(found, covered_until=5) for found in picture().ledger.progress[:1])
    gap = {"progress": (*progress, *picture().ledger.progress[1:])}

    early = report(picture(), **gap)
    assert finds(early, "topic rows-out = input", "in[0]@7: sent as rows-out[0]@3 before what is uncovered below it")
    waits = report(picture(sent()[:3], LETTERS[:1]), **gap)
    assert not any("rows-out" in text or "dlq" in text for text in waits.differences)
    assert isinstance(progress[0], Progress)


# -- batches that were redone ------------------------------------------------------------------------------


def redone(attempt: int = 2) -> dict[int, Batch]:
    batches = picture().ledger.batches
    return batches | {1: replace(batches[1], attempt=attempt)}


def test_a_message_that_only_the_redo_accepted_has_a_letter_and_its_row_on_the_topic() -> None:
    rejects = REJECTS | {(0, 1): RejectRow(1, "was bad then", resolved=True, row_sent=True)}
    letters = (letter(5, FIRST[1], "was bad then", 1), *LETTERS)
    without = tuple(found for found in sent() if found.key != b"k1")

    found = report(picture(None, letters, rejects=rejects, batches=redone()))
    assert found.ok, found.render()
    notes = {finding.name: finding.note for finding in found.findings if finding.note}
    assert notes == {"rejected offsets": "1 resolved", "topic in-dlq = rejects": "1 resolved"}
    missing = report(picture(without, letters, rejects=rejects, batches=redone()))
    assert finds(missing, "topic rows-out = input", "in[0]@1: not there")
    never = report(picture(None, letters, rejects=rejects))
    assert finds(never, "rejected offsets", "partition 0, offset 1: resolved, but batch 1 was never redone")


def test_a_letter_of_a_message_that_counts_is_found_unless_a_redo_resolved_it() -> None:
    letters = (letter(5, FIRST[1], "bad", 1), *LETTERS)

    assert finds(report(picture(None, letters)), "topic in-dlq = rejects", "a dead letter of 0@1, which is no reject")
    redo = picture(None, letters, batches=redone())
    assert finds(report(redo), "topic in-dlq = rejects", "a dead letter of 0@1, which is no reject")


def test_what_the_topic_keeps_of_an_earlier_attempt_must_be_on_record() -> None:
    """A message that is rejected now (0@4), and one that is filtered (0@3)."""
    name = "topic rows-out = input"
    rejected = on_topic("rows-out", 9, FIRST[4], values(FIRST[0]))
    filtered = on_topic("rows-out", 10, FIRST[3], values(FIRST[0]))
    on_record = {
        "batches": redone(),
        "rejects": REJECTS | {(0, 4): RejectRow(1, "too many", row_sent=True)},
        "already_sent": {"rows-out": frozenset({(0, 3)})},
    }

    found = report(picture((*sent(), rejected, filtered)), **on_record)
    assert found.ok, found.render()
    assert finds(report(picture((*sent(), rejected)), batches=redone()), name, "of 0@4, which does not pass")
    assert finds(report(picture((*sent(), filtered)), batches=redone()), name, "of 0@3, which does not pass")
    assert finds(report(picture((*sent(), rejected)), **on_record | {"batches": {}}), name, "which does not pass")
    assert finds(report(picture(sent()[:3]), batches=redone()), name, "in[0]@7: not there")


def test_of_rebuilt_batches_the_topic_has_values_of_then() -> None:
    name, other = "topic rows-out = input", sent(n=9)
    batches = {number: replace(batch, attempt=2) for number, batch in picture().ledger.batches.items()}

    of_then = report(picture(other), batches=batches, is_rebuilt=True)
    assert of_then.ok, of_then.render()
    assert any(finding.note == "values of 4 of redone batches not judged: of then" for finding in of_then.findings)
    assert finds(report(picture(other), batches=batches), name, "n is 9, the input gives")
    assert finds(report(picture(other[1:]), batches=batches, is_rebuilt=True), name, "in[0]@0: not there")


def test_only_after_a_rebuild_and_without_a_table_is_it_not_known_whether_a_message_had_passed() -> None:
    name, without_traces = "topic rows-out = input", {**ROWS, "unique": [], "schema": "microbatch_topic"}
    read = [[message(0, s="a", n=1), message(1, s="b", n=-1)]]
    filtered = on_topic("rows-out", 0, read[0][1], {"n": -1, "big": "-1.5", "at": "2025-11-21T04:40:00Z"})
    made_so = made(plain(EVENT, without_traces), read, {"rows-out": (filtered,)}, stream=StreamTables(None, None))
    redone_once = {1: replace(made_so.ledger.batches[1], attempt=2)}

    found = report(made_so, batches=redone_once, is_rebuilt=True)
    assert not [text for text in found.differences if text.startswith(name)]
    assert any(finding.note == "2 of redone batches not judged" for finding in found.findings)
    for known in ({"is_rebuilt": False}, {"stream": StreamTables({}, None)}):
        strict = report(made_so, **{"batches": redone_once, "is_rebuilt": True} | known)
        assert finds(strict, name, "in[0]@0: not there")
        assert finds(strict, name, "of 0@1, which does not pass")


def test_letters_of_a_redone_batch_come_when_they_come() -> None:
    late_first = (LETTERS[1], LETTERS[0])

    assert finds(report(picture(None, late_first)), "topic in-dlq: order", "0@4 after 0@6")
    assert report(picture(None, late_first), batches=redone()).ok


# -- reasons -----------------------------------------------------------------------------------------------


def test_the_reasons_of_rules_are_their_names() -> None:
    rejects = REJECTS | {(0, 4): RejectRow(1, "to many")}

    found = report(picture(), rejects=rejects)
    assert finds(found, "rejected offsets", "reason 'to many'; should be batch 1, reason 'too many'")
    assert finds(found, "topic in-dlq: whole", "microbatch.reason is 'too many', should be 'to many'")


def test_an_open_reject_of_a_message_that_counts_is_found() -> None:
    rejects = REJECTS | {(0, 1): RejectRow(1, "bad")}

    assert finds(report(picture(), rejects=rejects), "rejected offsets", "partition 0, offset 1: rejected, but valid")


def test_a_stream_without_table_and_topic_has_its_keys_only() -> None:
    hidden = ROWS | {"schema": "microbatch_topic", "topic": None}
    keys = replace(tables(), rows=None)
    found = report(made(plain(EVENT, hidden), [FIRST, SECOND], {"in-dlq": LETTERS}, stream=keys, rejects=REJECTS))

    assert found.ok, found.render()
    assert [finding.name for finding in found.findings if "rows" in finding.name] == ["rows_key = input"]


def test_the_first_is_the_one_that_was_booked_first_and_not_the_one_with_the_lowest_offset() -> None:
    """By batch, Kafka's timestamp, partition, offset."""
    younger, older = message(0, at=MINUTE + 1, s="x", n=1), message(1, at=MINUTE, s="x", n=2)
    elsewhere = message(0, partition=1, at=MINUTE, s="x", n=3)

    counted = made(PLAIN, [[younger, older, elsewhere], [message(2, at=MINUTE - 60, s="x", n=4)]]).counted
    assert counted.passed.keys() == {(0, 1)}
    assert counted.counts[1, 0, 0] == (2, 0, 1, 0)
    assert counted.counts[1, 1, 0] == counted.counts[2, 0, 2] == (1, 0, 1, 0)
