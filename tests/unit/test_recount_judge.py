"""Comparisons that the engine cannot bring about yet, on pictures made by hand: retractions, gaps, refusals."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from recount.check_tables import sequence
from recount.counted import count
from recount.definition import Definition, parse
from recount.errors import UncountableError
from recount.kafka import Committed, Ends, Header, Message
from recount.ledger import Ledger, Progress, Publisher, Range, Revision, Tables
from recount.partitioner import partition_of
from recount.picture import Picture, Sink, Source
from recount.report import Finding, Report
from recount.story import judge
from recount.totals import Cell

LEDGER = UUID(int=1)
TOPIC = UUID(int=2)
MINUTE = 1_763_700_000
PLAIN: dict[str, Any] = {
    "source": {"topic": "sales", "event": {"s": "str", "n": "int", "t": "epoch_seconds"}, "event_time": "t"},
    "max_future_s": 3600.0,
    "dead_letters": "sales-dlq",
    "outputs": [
        {
            "kind": "tumbling_window",
            "size_s": 60,
            "by": ["s"],
            "measures": {"total": {"measure": "sum", "field": "n"}, "many": {"measure": "count"}},
            "table": "sums",
            "topic": "sums-out",
        }
    ],
}
SALES: Definition = parse(PLAIN)
ADA, BOB = Cell(MINUTE, ("ada",)), Cell(MINUTE, ("bob",))


def sale(offset: int, seller: str, number: int, at: int = MINUTE) -> Message:
    value = json.dumps({"s": seller, "n": number, "t": at}).encode()
    return Message("sales", 0, offset, MINUTE * 1000, None, value, ())


def revision(number: int, total: int | None, many: int = 1, *, is_open: bool = False) -> Revision:
    numbers = None if total is None else (Decimal(total), many)
    batches = frozenset[int]() if total is None else frozenset({1})
    return Revision(number, numbers, is_final=True, window_end=Decimal(MINUTE + 60), batches=batches, is_open=is_open)


def out(offset: int, seller: str, total: int | None, number: int, publication: int = 1) -> Message:
    key = json.dumps({"window_start": "2025-11-21T04:40:00Z", "s": seller}).encode()
    plain = {"window_start": "2025-11-21T04:40:00Z", "window_end": "2025-11-21T04:41:00Z", "s": seller}
    plain |= {"total": total, "many": 1, "is_final": True, "revision": number}  # type: ignore[dict-item]
    headers: tuple[Header, ...] = (("microbatch.revision", str(number).encode()), cursor(publication))
    value = None if total is None else json.dumps(plain).encode()
    return Message("sums-out", partition_of(key, 1), offset, (MINUTE + 60) * 1000, key, value, headers)


def cursor(publication: int) -> Header:
    return "microbatch.cursor", json.dumps({"ledger": str(LEDGER), "publication": publication}).encode()


def picture() -> Picture:
    """Ada has 5, in her second revision since the first was retracted; bob was there and is gone."""
    ranges = (Range(1, TOPIC, 0, 0, 2, 2, 0),)
    ada = [revision(1, 4), revision(2, None), revision(3, 5, is_open=True)]
    bob = [revision(1, 9), revision(2, None, is_open=True)]
    tables = Tables(
        results={ADA: replace(ada[-1], batches=None, is_open=False)},
        contributions={(1, ADA): (Decimal(5), 1), (1, Cell(MINUTE + 60, ("eve",))): (Decimal(1), 1)},
        history={ADA: ada, BOB: bob},
    )
    ledger = Ledger(
        pipeline_id=1,
        ledger=LEDGER,
        definition=SALES,
        closed_until=Decimal(MINUTE + 60),
        complete_from=Decimal("-Infinity"),
        progress=(Progress(TOPIC, 0, 0, 2),),
        ranges=ranges,
        batches={1: (2, 0)},
        rejects={},
        publisher=Publisher(3, None, 3),
        sink_partitions={"sales-dlq": 1, "sums-out": 1},
        set_aside={},
        unrest=(),
        tables=(tables,),
    )
    messages = [sale(0, "ada", 5), sale(1, "eve", 1, MINUTE + 60)]
    sent = (out(0, "ada", 4, 1), out(1, "bob", 9, 1), out(2, "ada", None, 2, 2), out(3, "bob", None, 2, 2))
    return Picture(
        pipeline="sales",
        deployment="default",
        settled=False,
        compacted=False,
        ledger=ledger,
        source=Source(TOPIC, {0: Ends(0, 2, 2)}, ()),
        counted=count(SALES, ranges, messages),
        sinks={
            "sums-out": Sink({0: Ends(0, 6, 6)}, (*sent, out(4, "ada", 5, 3, 3))),
            "sales-dlq": Sink({0: Ends(0, 0, 0)}, ()),
        },
        committed={0: Committed(2, json.dumps({"ledger": str(LEDGER), "publication": 3}))},
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
    assert tables is not None

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


def test_what_the_check_cannot_count_is_refused() -> None:
    pairs = PLAIN | {"outputs": [{"kind": "pairs"}]}

    with pytest.raises(UncountableError, match="output is of kind 'pairs'"):
        parse(pairs)
    with pytest.raises(UncountableError, match="field 'n' is of kind 'float'"):
        parse(PLAIN | {"source": PLAIN["source"] | {"event": {"n": "float"}}})


def test_a_report_shows_the_first_differences_and_how_many_there_are() -> None:
    report = Report("sales", 1, 0, (Finding("a = b", 3, tuple(f"key {n}" for n in range(25))), Finding("c", 1)))

    text = report.render()
    assert "a = b           3  25 DIFFER" in text
    assert "a = b: key 19" in text
    assert "a = b: key 20" not in text
    assert "… and 5 more" in text
    assert "c               1  agree" in text
    assert not report.ok
