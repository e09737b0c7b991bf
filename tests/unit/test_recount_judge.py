"""The comparisons of windows, topics and the ledger, on pictures made by hand: retractions, gaps, refusals."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fix_recount import MINUTE, TOPIC, cursor, message, plain
from fix_recount import picture as made
from recount.check_tables import sequence
from recount.definition import Definition, parse
from recount.errors import UncountableError
from recount.kafka import Ends, Header, Message
from recount.ledger import Range
from recount.moment import Source
from recount.partitioner import partition_of
from recount.picture import Picture, Sink
from recount.report import Finding, Report
from recount.story import judge
from recount.tables import Revision, WindowTables
from recount.totals import Cell

EVENT: dict[str, Any] = {"s": {"kind": "str"}, "n": {"kind": "int"}, "t": {"kind": "epoch_seconds"}}
SUMS: dict[str, Any] = {
    "kind": "tumbling_window",
    "size_s": 60,
    "timezone": "UTC",
    "by": [["s", "text"]],
    "measures": {"total": {"measure": "sum", "field": "n", "of": "bigint"}, "many": {"measure": "count"}},
    "schema": "public",
    "table": "sums",
    "topic": "sums-out",
}
PLAIN = plain(EVENT, SUMS)
SALES: Definition = parse(PLAIN)
ADA, BOB = Cell(MINUTE, ("ada",)), Cell(MINUTE, ("bob",))


def sale(offset: int, seller: str, number: int, at: int = MINUTE) -> Message:
    return message(offset, s=seller, n=number, t=at)


def revision(number: int, total: int | None, many: int = 1, *, is_open: bool = False) -> Revision:
    numbers = None if total is None else (Decimal(total), many)
    batches = frozenset[int]() if total is None else frozenset({1})
    return Revision(number, numbers, is_final=True, window_end=Decimal(MINUTE + 60), batches=batches, is_open=is_open)


def out(offset: int, seller: str, total: int | None, number: int, publication: int = 1, **changes: Any) -> Message:
    key = json.dumps({"window_start": "2025-11-21T04:40:00Z", "s": seller}).encode()
    value = {"window_start": "2025-11-21T04:40:00Z", "window_end": "2025-11-21T04:41:00Z", "s": seller}
    value |= {"total": total, "many": 1, "is_final": True, "revision": number} | changes
    value = {name: found for name, found in value.items() if found != "absent"}
    headers: tuple[Header, ...] = (("microbatch.revision", str(number).encode()), cursor(publication))
    body = None if total is None else json.dumps(value).encode()
    return Message("sums-out", partition_of(key, 1), offset, (MINUTE + 60) * 1000, key, body, headers)


def picture() -> Picture:
    """Ada has 5, in her second revision since the first was retracted; bob was there and is gone."""
    ada = [revision(1, 4), revision(2, None), revision(3, 5, is_open=True)]
    bob = [revision(1, 9), revision(2, None, is_open=True)]
    eve = Cell(MINUTE + 60, ("eve",))
    tables = WindowTables(
        results={ADA: replace(ada[-1], batches=None, is_open=False)},
        contributions={(1, ADA): ((Decimal(5), 1), (None, 1)), (1, eve): ((Decimal(1), 1), (None, 1))},
        history={ADA: ada, BOB: bob},
        ends={(1, ADA): Decimal(MINUTE + 60), (1, eve): Decimal(MINUTE + 120)},
    )
    sent = (out(0, "ada", 4, 1), out(1, "bob", 9, 1), out(2, "ada", None, 2, 2), out(3, "bob", None, 2, 2))
    return made(
        SALES,
        [[sale(0, "ada", 5), sale(1, "eve", 1, MINUTE + 60)]],
        {"sums-out": (*sent, out(4, "ada", 5, 3, 3))},
        closed_until=Decimal(MINUTE + 60),
        complete_from=Decimal("-Infinity"),
        tables=(tables,),
    )


def with_sent(base: Picture, *messages: Message) -> Picture:
    return replace(base, sinks=base.sinks | {"sums-out": Sink({0: Ends(0, 6, 6)}, messages)})


def with_ledger(base: Picture, **changes: Any) -> Picture:
    return replace(base, ledger=replace(base.ledger, **changes))


def test_retractions_and_what_comes_back_agree() -> None:
    report = judge(picture())

    assert report.ok, report.render()
    assert (report.messages, report.rejected) == (2, 0)


def test_a_retraction_that_was_not_sent_is_found() -> None:
    sent = picture().sinks["sums-out"]
    assert sent is not None
    report = judge(with_sent(picture(), *sent.messages[:3], sent.messages[4]))

    assert any("('bob',), revision 2: in the history, but was not sent" in text for text in report.differences)
    assert any("total=9, but the input has nothing for it" in text for text in report.differences)


def test_as_many_missing_messages_as_were_set_aside_agree() -> None:
    sent = picture().sinks["sums-out"]
    assert sent is not None
    missing = with_sent(picture(), *sent.messages[:4])

    assert not judge(missing).ok
    assert judge(with_ledger(missing, set_aside={"sums-out": 1})).ok
    assert not judge(with_ledger(missing, set_aside={"sums-out": 2})).ok


def test_compaction_may_take_all_but_the_last_revision() -> None:
    last = with_sent(picture(), out(4, "ada", 5, 3, 3))

    assert not judge(last).ok
    assert judge(replace(last, compacted=True)).ok
    assert not judge(replace(with_sent(picture()), compacted=True)).ok


def test_an_interval_above_a_gap_agrees_until_all_should_be_settled() -> None:
    above = Range(1, TOPIC, 0, 7, 9, 0, 0)
    islands = with_ledger(picture(), ranges=(*picture().ledger.ranges, above))
    islands = replace(islands, source=Source(TOPIC, {0: Ends(0, 9, 9)}, ()))

    assert judge(islands).ok, judge(islands).render()
    assert not judge(replace(islands, settled=True)).ok


def test_an_early_result_of_an_open_window_may_lag_but_not_be_final() -> None:
    eve = Cell(MINUTE + 60, ("eve",))
    early = Revision(1, (Decimal(0), 0), is_final=False, window_end=Decimal(MINUTE + 120), batches=frozenset({1}))
    tables = picture().ledger.tables[0]

    def shown(is_final: bool) -> list[str]:
        row = replace(early, is_final=is_final)
        history = tables.history | {eve: [replace(row, is_open=True)]}
        changed = replace(tables, results=tables.results | {eve: replace(row, batches=None)}, history=history)
        report = judge(with_ledger(picture(), tables=(changed,)))
        return [text for text in report.differences if "sums = input" in text]

    assert not shown(is_final=False)
    assert "final, but its window is open" in shown(is_final=True)[0]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([1, 2, 4], "revisions are 1, 2, 4"), ([2], "revisions are 2"), ([1, 1], "revisions are 1, 1")],
)
def test_revisions_count_from_one(numbers: list[int], said: str) -> None:
    assert said in sequence([revision(number, index) for index, number in enumerate(numbers)])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (plain(EVENT, {"kind": "sessions"}), "output is of kind 'sessions'"),
        (plain({"n": {"kind": "float"}}), "field 'n' is of kind 'float'"),
        (plain({"n": {"kind": "int", "default": 5}}), "field 'n' has default"),
        (plain({"n": {"kind": "int", "constraints": {"odd": True}}}), "constraints has odd"),
        (plain({"n": {"kind": "struct", "fields": {"m": {"kind": "x"}}}}), "field 'm' is of kind 'x'"),
        (plain({"n": {"kind": "list", "item": {"kind": "x"}}}), "item is of kind 'x'"),
        (plain(EVENT, SUMS | {"emit": "early"}), "output has emit"),
        (plain(EVENT, SUMS | {"schema": "other"}), "schema 'other'"),
        (plain(EVENT, SUMS | {"by": [["s", "double precision"]]}), "'s' is of type 'double precision'"),
        (plain(EVENT, SUMS | {"timezone": "Europe/Berlin"}), "a window of 60 s has the timezone"),
        (plain(EVENT, SUMS | {"measures": {"m": {"measure": "median", "field": "n", "of": "bigint"}}}), "'median'"),
        (plain(EVENT, SUMS | {"measures": {"m": {"measure": "sum", "field": "s", "of": "text"}}}), "a sum of text"),
        (plain(EVENT, watermark=5), "the definition has watermark"),
        ({"name": "p"}, "the definition has no 'source'"),
    ],
)
def test_what_the_check_cannot_count_is_refused(broken: dict[str, Any], said: str) -> None:
    with pytest.raises(UncountableError, match=said):
        parse(broken)


# -- a measure that was added later ------------------------------------------------------------------------


def with_tables(base: Picture, **changes: Any) -> Picture:
    return with_ledger(base, tables=(replace(base.ledger.tables[0], **changes),))


def grown() -> Picture:
    """Ada's batch was computed before `many` was declared; eve's after."""
    batches = {1: replace(picture().ledger.batches[1], is_older=True)}
    base = with_ledger(picture(), batches=batches)
    tables = base.ledger.tables[0]
    ada = [replace(r, numbers=None if r.numbers is None else (r.numbers[0], None)) for r in tables.history[ADA]]
    base = with_tables(
        base,
        contributions=tables.contributions | {(1, ADA): ((Decimal(5), 1), (None, None))},
        history=tables.history | {ADA: ada},
        results={ADA: replace(ada[-1], batches=None, is_open=False)},
    )
    sent = (out(0, "ada", 4, 1, many="absent"), out(1, "bob", 9, 1), out(2, "ada", None, 2, 2))
    return with_sent(base, *sent, out(3, "bob", None, 2, 2), out(4, "ada", 5, 3, 3, many=None))


def test_a_measure_that_was_added_later_is_null_and_the_report_says_so() -> None:
    report = judge(grown())

    assert report.ok, report.render()
    notes = {finding.name: finding.note for finding in report.findings if finding.note}
    assert notes["sums_contribution = input"].startswith("1 with a measure added later")
    assert notes["sums = input"].startswith("1 with a measure added later")
    assert notes["topic sums-out = input"].startswith("1 with a measure added later")
    assert "agree (1 with a measure added later" in report.render()


def test_a_message_from_before_a_redo_computed_the_measure_may_lack_it() -> None:
    batches = {1: replace(picture().ledger.batches[1], attempt=2)}
    tables = picture().ledger.tables[0]
    first = replace(tables.history[ADA][0], numbers=(Decimal(4), None))
    base = with_tables(picture(), history=tables.history | {ADA: [first, *tables.history[ADA][1:]]})
    sent = base.sinks["sums-out"]
    assert sent is not None
    base = with_sent(base, out(0, "ada", 4, 1, many="absent"), *sent.messages[1:])

    assert judge(with_ledger(base, batches=batches)).ok
    assert any("promised are" in text for text in judge(base).differences)


def test_the_measures_that_were_there_are_still_compared() -> None:
    tables = grown().ledger.tables[0]
    six = replace(tables.results[ADA], numbers=(Decimal(6), None))

    assert any("total=6" in text for text in judge(with_tables(grown(), results={ADA: six})).differences)


def test_a_total_over_what_was_not_computed_must_be_null() -> None:
    tables = grown().ledger.tables[0]
    guessed = replace(tables.results[ADA], numbers=(Decimal(5), 1))

    report = judge(with_tables(grown(), results={ADA: guessed}))
    assert any("sums = input" in text and "many=1" in text for text in report.differences), report.render()


def test_a_measure_that_a_batch_of_this_definition_did_not_compute_is_found() -> None:
    young = with_ledger(grown(), batches=picture().ledger.batches)

    assert any("not computed" in text for text in judge(young).differences)


# -- what else may be wrong --------------------------------------------------------------------------------


def test_a_contribution_whose_window_ends_elsewhere_is_found() -> None:
    ends = picture().ledger.tables[0].ends | {(1, ADA): Decimal(MINUTE + 61)}

    assert any("window_end is" in text for text in judge(with_tables(picture(), ends=ends)).differences)


def test_another_text_for_the_same_key_is_found() -> None:
    """Compaction compares bytes."""
    spaced = out(4, "ada", 5, 3, 3)
    spaced = replace(spaced, key=(spaced.key or b"").replace(b": ", b":"))
    sent = picture().sinks["sums-out"]
    assert sent is not None

    report = judge(with_sent(picture(), *sent.messages[:4], spaced))
    assert any("another message of it has" in text for text in report.differences), report.render()


@pytest.mark.parametrize("name", ["rejected", "repeated", "filtered", "messages"])
def test_a_count_that_is_wrong_is_found(name: str) -> None:
    batch, found = picture().ledger.batches[1], picture().ledger.ranges[0]
    five: dict[str, Any] = {name: 5}
    in_batch = {1: replace(batch, **five)}
    in_range = (replace(found, **five),)

    assert any("batch 1 says" in text for text in judge(with_ledger(picture(), batches=in_batch)).differences)
    assert any("range 0:[0, 2) says" in text for text in judge(with_ledger(picture(), ranges=in_range)).differences)


def test_a_report_shows_the_first_differences_and_how_many_there_are() -> None:
    report = Report("sales", 1, 0, (Finding("a = b", 3, tuple(f"key {n}" for n in range(25))), Finding("c", 1)))

    text = report.render()
    assert "a = b           3  25 DIFFER" in text
    assert "a = b: key 19" in text
    assert "a = b: key 20" not in text
    assert "… and 5 more" in text
    assert "c               1  agree" in text
    assert not report.ok
