"""What cannot or need not be counted again: retention, logs that are no more, losses, intervals, what was redriven."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_recount import LEDGER, MINUTE, TOPIC, cursor, message, on_topic, origin_headers, plain, report
from fix_recount import picture as made
from recount import check_dead_letters, check_pairs, check_streams, redriven, scope, uncounted
from recount.kafka import Ends, Header, Message
from recount.ledger import Batch, Decision, Ledger, Progress, Range, RejectRow
from recount.moment import Source
from recount.pairing import Number, Pair, Pairing
from recount.picture import Picture
from recount.report import Finding
from recount.scope import Scope, Why
from recount.spans import merged, without
from recount.tables import StreamTables
from recount.times import Interval

EVENT: dict[str, Any] = {"s": {"kind": "str"}, "n": {"kind": "int"}}
OLD_LOG, FORMER = UUID(int=77), UUID(int=88)


def texts(findings: list[Finding]) -> list[str]:
    return [text for finding in findings for text in finding.differences]


def bad(offset: int, partition: int = 0, headers: tuple[Header, ...] = ()) -> Message:
    return Message("in", partition, offset, MINUTE * 1000, b"k", b"bad", headers)


# -- offsets -----------------------------------------------------------------------------------------------

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@given(SPANS, SPANS)
def test_spans_are_sets_of_offsets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    def offsets(spans: list[tuple[int, int]]) -> set[int]:
        return {offset for start, end in spans for offset in range(start, end)}

    assert offsets(merged(left)) == offsets(left)
    assert offsets(without(left, right)) == offsets(left) - offsets(right)
    for found in (merged(left), without(left, right)):
        assert all(a[1] < b[0] for a, b in itertools.pairwise(found)), "not as few as possible, or no order"


# -- which batches are counted again -----------------------------------------------------------------------


def ledger(**changes: Any) -> Ledger:
    """Two partitions: batch 1 has [0, 4) of both, batch 2 has [4, 8) of partition 0, batch 3 has [4, 6) of 1."""
    spans = [(1, 0, 0, 4), (1, 1, 0, 4), (2, 0, 4, 8), (3, 1, 4, 6)]
    return replace(
        made(plain(EVENT), []).ledger,
        ranges=tuple(Range(batch, TOPIC, partition, start, end, 0, 0) for batch, partition, start, end in spans),
        batches={batch: Batch(0, 0) for batch in (1, 2, 3)},
        progress=(Progress(TOPIC, 0, 0, 8), Progress(TOPIC, 1, 0, 6)),
        **changes,
    )


def test_a_batch_is_all_or_nothing() -> None:
    assert scope.whole(ledger(), {0: 0, 1: 0}, trusting=True).unread == {}
    assert scope.whole(ledger(), {0: 1, 1: 0}, trusting=True).unread == {1: Why.DELETED}
    assert scope.whole(ledger(), {0: 5, 1: 0}, trusting=True).unread == {1: Why.DELETED, 2: Why.DELETED}
    assert scope.whole(ledger(), {0: 5, 1: 0}, trusting=False).unread == {}


def test_a_batch_that_a_rebuild_has_not_redone_is_not_counted_again_and_a_loss_has_nothing_to_count() -> None:
    former = {1: Batch(0, 0, is_former=True), 2: Batch(0, 0, is_former=True, kind="loss"), 3: Batch(0, 0)}

    assert scope.whole(replace(ledger(), batches=former), {}, trusting=False).unread == {1: Why.FORMER}


def test_a_log_that_is_no_more_is_named_by_whether_a_person_gave_it_up() -> None:
    elsewhere = (Range(9, OLD_LOG, 0, 0, 4, 0, 0),)

    given_up = scope.whole(ledger(elsewhere=elsewhere, retired=frozenset({OLD_LOG})), {}, trusting=False)
    gone = scope.whole(ledger(elsewhere=elsewhere), {}, trusting=False)

    assert given_up.unread == {9: Why.RETIRED}
    assert gone.unread == {9: Why.STRANGE}


def test_what_is_gone_is_a_difference_unless_it_was_counted_or_accepted() -> None:
    young = ledger()
    accepted = replace(young, batches=young.batches | {2: Batch(0, 0, kind="loss", decision_id=1)})
    ahead = {0: 10, 1: 0}  # of partition 0, even [8, 10) that no batch has

    assert scope.gone(young, ahead, trusting=False) == ((0, 0, 10),)
    assert scope.gone(young, ahead, trusting=True) == ((0, 8, 10),)
    assert scope.gone(accepted, ahead, trusting=False) == ((0, 0, 4), (0, 8, 10))
    assert scope.whole(accepted, ahead, trusting=True).unread == {1: Why.DELETED}


def test_an_interval_concerns_batches_by_their_windows_and_by_their_offsets() -> None:
    interval = Interval(datetime(2025, 11, 21, 4, tzinfo=UTC), datetime(2025, 11, 21, 5, tzinfo=UTC))

    assert scope.meeting(ledger().ranges, {0: (8, 9), 1: (4, 5)}) == {3}
    found = scope.within(Scope({2: Why.DELETED}), ledger(), interval, {1, 2})
    assert dict(found.unread) == {2: Why.DELETED, 3: Why.OUTSIDE}
    assert found.has(MINUTE)
    assert not found.has(int(interval.end.timestamp()))
    assert found.has(int(interval.start.timestamp()))


def test_the_report_names_what_was_taken_on_trust_and_what_was_lost() -> None:
    batches = {1: Batch(0, 0), 2: Batch(0, 0), 3: Batch(0, 0, kind="loss", decision_id=5)}
    found = replace(
        made(plain(EVENT), []),
        ledger=replace(ledger(), batches=batches),
        source=Source(TOPIC, {}, ()),
        scope=Scope({1: Why.DELETED, 2: Why.DELETED}),
    )

    trusted = [(part.where, part.start, part.end, part.batches) for part in uncounted.on_trust(found)]
    lost = [(part.where, part.start, part.end, part.decision_id) for part in uncounted.losses(found)]

    assert trusted == [("in[0]", 0, 8, (1, 2)), ("in[1]", 0, 4, (1,))]
    assert lost == [("in[1]", 4, 6, 5)]


# -- letters of other logs, and of a former self -----------------------------------------------------------


def letter(offset: int, source: Message, batch_id: int, ledger_id: UUID = LEDGER) -> Message:
    order = ("reason", "topic", "partition", "offset", "pipeline", "batch", "cursor")
    whose = json.dumps({"ledger": str(ledger_id), "publication": 1}).encode()
    ours = dict(origin_headers(source, batch_id)) | {"microbatch.reason": b"bad", "microbatch.cursor": whose}
    headers = (*source.headers, *((f"microbatch.{name}", ours[f"microbatch.{name}"]) for name in order))
    return Message("in-dlq", 0, offset, source.timestamp_ms, source.key, source.value, headers)


def with_letters(*letters: Message, **changes: Any) -> Picture:
    """One batch, which has rejected its only message."""
    base = made(plain(EVENT), [[bad(0)]], {"in-dlq": letters}, rejects={(0, 0): RejectRow(1, "bad")})
    return replace(base, ledger=replace(base.ledger, **changes))


def test_a_letter_of_a_log_that_is_no_more_is_not_that_of_the_same_offset() -> None:
    elsewhere = (Range(9, OLD_LOG, 0, 0, 4, 0, 0),)
    both = (letter(0, bad(0), 9), letter(1, bad(0), 1))

    assert not texts(check_dead_letters.check(with_letters(*both, elsewhere=elsewhere)))
    assert "in[0]@0: sent 2 times, in-dlq[0]@0, in-dlq[0]@1" in texts(check_dead_letters.check(with_letters(*both)))
    only_old = check_dead_letters.check(with_letters(both[0], elsewhere=elsewhere))
    assert any("in[0]@0: not there" in text for text in texts(only_old))


@pytest.mark.parametrize("whose", [LEDGER, FORMER])
def test_a_letter_that_was_sent_before_the_ledger_knew_may_have_the_batch_of_then(whose: UUID) -> None:
    before = letter(0, bad(0), 55, whose)
    known = {"already_sent": {"in-dlq": frozenset({(0, 0)})}}

    assert not texts(check_dead_letters.check(with_letters(before, **known)))
    assert texts(check_dead_letters.check(with_letters(before)))
    twice = check_dead_letters.check(with_letters(before, letter(1, bad(0), 1), **known))
    assert any("sent 2 times" in text for text in texts(twice))


def test_headers_of_ours_that_a_source_message_came_with_are_in_its_letter_before_those_of_now() -> None:
    """A dead letter that somebody, or redrive, has put on the source again, and that was rejected again."""
    ours: tuple[Header, ...] = (("microbatch.offset", b"7"), cursor())
    source = bad(0, headers=(("trace", b"1"), ("microbatch.redriven", b"in[0]@7"), *ours))
    shortened = replace(source, headers=source.headers[:2])

    def found(letter: Message) -> list[str]:
        base = made(plain(EVENT), [[source]], {"in-dlq": (letter,)}, rejects={(0, 0): RejectRow(1, "bad")})
        return texts(check_dead_letters.check(base))

    assert not found(letter(0, source, 1))
    assert found(letter(0, shortened, 1))


@pytest.mark.parametrize(("low", "gone"), [(0, False), (5, True)])
def test_a_letter_may_be_gone_if_retention_has_deleted_from_its_partition(low: int, gone: bool) -> None:
    """Of two, the older one is missing; where nothing was deleted it was never sent."""
    lot = [bad(0), bad(1)]
    rejects = {(0, n): RejectRow(1, "bad") for n in (0, 1)}
    base = made(plain(EVENT), [lot], {"in-dlq": (letter(5, lot[1], 1),)}, scope=Scope(), rejects=rejects)
    sink = base.sinks["in-dlq"]
    assert sink is not None

    found = texts(check_dead_letters.check(replace(base, sinks={"in-dlq": replace(sink, ends={0: Ends(low, 6, 6)})})))

    assert any("in[0]@0: not there" in text for text in found) != gone
    newer_is_missing = replace(sink, ends={0: Ends(low, 6, 6)}, messages=(letter(5, lot[0], 1),))
    stolen = texts(check_dead_letters.check(replace(base, sinks={"in-dlq": newer_is_missing})))
    assert any("in[0]@1: not there" in text for text in stolen)


# -- what was redriven -------------------------------------------------------------------------------------


def again(offset: int, origin: str, *more: Header) -> Message:
    headers = (("microbatch.redriven", origin.encode()), ("microbatch.pipeline", b"p"), cursor(), *more)
    return bad(offset, headers=headers)


def judged(*sent: Message, **changes: Any) -> Finding:
    base = made(plain(EVENT), [[bad(0)]])
    return redriven.check(
        replace(base, redriven=sent, ledger=replace(base.ledger, redriven=frozenset({(0, 0)})), **changes)
    )


def test_a_redriven_reject_is_on_the_source_once_more() -> None:
    assert judged(again(5, "in[0]@0")).differences == ()
    assert judged().differences == ("partition 0, offset 0: not on the source again",)
    assert (
        "2 times on the source again, in[0]@5, in[0]@6"
        in judged(again(5, "in[0]@0"), again(6, "in[0]@0")).differences[0]
    )
    assert "which nobody has redriven" in judged(again(5, "in[0]@0"), again(6, "in[0]@3")).differences[0]


def test_a_letter_that_somebody_copied_to_the_source_was_not_redriven_by_us() -> None:
    copied = again(6, "in[0]@0", ("microbatch.offset", b"5"))
    of_others = replace(again(7, "in[0]@0"), headers=(("microbatch.redriven", b"in[0]@0"),))

    assert judged(again(5, "in[0]@0"), copied, of_others, again(8, "rubbish")).differences == ()


def test_where_retention_deletes_a_redriven_message_may_be_gone() -> None:
    deleted = judged(source=Source(TOPIC, {0: Ends(3, 9, 9)}, ()), is_audit=True)

    assert deleted.differences == ()
    assert "1 are not on the source any more" in deleted.note


# -- outputs that depend on what was before ----------------------------------------------------------------


def test_a_key_of_a_batch_on_trust_still_makes_later_ones_repeat_it() -> None:
    stream = {"kind": "stream", "columns": [["n", "n", "bigint"]], "where": None, "reject": []}
    stream |= {"unique": [["s", "text"]], "schema": "microbatch_topic", "table": "rows", "topic": "rows-out"}
    lots = [[message(0, s="a", n=1)], [message(1, s="a", n=2), message(2, s="b", n=3)]]
    keys = {("a",): (1, (0, 0)), ("b",): (2, (0, 2))}
    there = on_topic("rows-out", 1, lots[1][1], {"n": 3}, 2)

    def found(keys: dict[Any, Any]) -> Picture:
        tables = StreamTables(None, keys)
        return made(plain(EVENT, stream), lots, {"rows-out": (there,)}, scope=Scope({1: Why.DELETED}), stream=tables)

    assert not texts(check_streams.check(found(keys)))
    assert found(keys).counted.counts[2, 0, 1] == (2, 0, 1, 0)
    assert texts(check_streams.check(found({("b",): keys["b",]})))


def test_numbers_are_counted_again_although_partners_are_not() -> None:
    pairs = {"kind": "pairs", "field": "n", "sum": 12, "schema": "public", "table": "pairs", "topic": None}
    lots = [[message(0, s="a", n=5)], [message(1, s="a", n=7), message(2, s="b", n=6)]]
    waits = Number(6, (2, MINUTE * 1000, 0, 2))
    pair = Pair(Number(5, (1, 0, 0, 0)), Number(7, (2, 0, 0, 1)))
    tables = Pairing({(0, 1): pair}, {(0, 2): waits})

    def found(tables: Pairing) -> list[str]:
        base = made(plain(EVENT, pairs), lots, scope=Scope({1: Why.DELETED}), pairs=(tables,))
        return texts(check_pairs.check(base))

    assert not found(tables)
    assert found(Pairing({}, {(0, 2): waits})) == ["0@1: nothing, the input has 7 of batch 2"]


# -- results again, on a topic that was made anew ----------------------------------------------------------


def test_a_topic_that_was_made_anew_begins_with_the_results_of_then() -> None:
    when = datetime(2026, 11, 21, tzinfo=UTC)
    recover = Decision(1, "recover", "why", "anna", when, {"case": "NewLog", "empty": ["sums-out"]})
    found = replace(made(plain(EVENT), []).ledger, decisions=(recover,))

    assert found.was_made_anew("sums-out")
    assert not found.was_made_anew("others-out")


def test_of_an_untouched_picture_nothing_is_on_trust() -> None:
    found = report(made(plain(EVENT), [[message(0, s="a", n=1)]]))

    assert (found.on_trust, found.losses, found.batches) == ((), (), 1)
