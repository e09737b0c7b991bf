"""Contributions: what a batch adds to each window and key, whatever the chunks."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import (
    Count,
    Event,
    KafkaTopic,
    Pipeline,
    PostgresTable,
    Sum,
    TumblingWindow,
)
from microbatch.computing import Contributions
from microbatch.decoding import Decoded
from microbatch.event import FIRST_S, LAST_S

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = 2**63


class Sale(Event):
    """A sale."""

    seller_id: str
    amount: int


class Cased(Event):
    """Fields that differ only by case, which DuckDB by itself would take for one."""

    name: str
    Name: str
    a: int
    A: int


class Internal(Event):
    """Fields with names that the engine could use itself."""

    _event_time_us: str
    window_start_us: str


def pipeline(event: type[Event] = Sale, **changes: Any) -> Pipeline:
    facts: dict[str, Any] = {
        "size": "1 minute",
        "by": ["seller_id"],
        "measures": {"total": Sum("amount"), "sales": Count()},
        "to": [PostgresTable("sums")],
    }
    return Pipeline(name="p", source=KafkaTopic("s", event), outputs=[TumblingWindow(**facts | changes)])


def chunk(*events: Event, at_s: list[int] | None = None) -> Decoded:
    times = at_s or [0] * len(events)
    return Decoded(list(events), [at * 1_000_000 for at in times], [], len(events))


def contributed(made: Pipeline, *chunks: Decoded, output: int = 0) -> list[tuple[Any, ...]]:
    with Contributions(made) as contributions:
        for each in chunks:
            contributions.add(each)
        return sorted(contributions.rows(made.outputs[output]))


def sales(*facts: tuple[str, int, int]) -> Decoded:
    return chunk(*(Sale(seller, amount) for seller, amount, _ in facts), at_s=[at for *_, at in facts])


def start(at_s: int) -> datetime:
    return EPOCH + timedelta(seconds=at_s)


def test_events_add_up_per_window_and_key() -> None:
    rows = contributed(
        pipeline(), sales(("ada", 3, 0), ("bob", 5, 59), ("ada", 4, 59), ("ada", 9, 60)), sales(("ada", 1, 1))
    )

    assert rows == [
        (start(0), "ada", Decimal(8), 3),
        (start(0), "bob", Decimal(5), 1),
        (start(60), "ada", Decimal(9), 1),
    ]


@pytest.mark.parametrize(
    ("size", "at_s", "window_start_s"),
    [
        ("1 minute", 0, 0),
        ("1 minute", 59, 0),
        ("1 minute", 60, 60),
        ("1 minute", -1, -60),
        ("1 minute", -60, -60),
        ("1 minute", -61, -120),
        ("24 hours", -1, -86_400),
        ("24 hours", FIRST_S, FIRST_S),
        ("24 hours", LAST_S, LAST_S - 86_399),
        ("1 second", LAST_S, LAST_S),
        ("90 seconds", -1, -90),
    ],
)
def test_a_window_begins_at_the_multiple_of_its_size_at_or_below(size: str, at_s: int, window_start_s: int) -> None:
    made = pipeline(size=size)

    assert [row[0] for row in contributed(made, sales(("ada", 1, at_s)))] == [start(window_start_s)]


def test_sums_beyond_64_bits_are_exact() -> None:
    largest = contributed(pipeline(), sales(*[("ada", INT64 - 1, 0)] * 1000), sales(*[("ada", INT64 - 1, 0)] * 1000))
    smallest = contributed(pipeline(), sales(*[("ada", -INT64, 0)] * 3))

    assert largest == [(start(0), "ada", Decimal(2000 * (INT64 - 1)), 2000)]
    assert smallest == [(start(0), "ada", Decimal(-3 * INT64), 3)]


def test_without_a_key_a_window_has_one_row() -> None:
    rows = contributed(pipeline(by=[]), sales(("ada", 1, 0), ("bob", 2, 0), ("bob", 2, 60)))

    assert rows == [(start(0), Decimal(3), 2), (start(60), Decimal(2), 1)]


def test_a_key_of_two_fields_keeps_types() -> None:
    rows = contributed(pipeline(by=["amount", "seller_id"], measures={"n": Count()}), sales(("ada", -7, 0)))

    assert rows == [(start(0), -7, "ada", 1)]


def test_each_output_has_its_own_windows() -> None:
    hourly = TumblingWindow("1 hour", by=[], measures={"n": Count()}, to=[PostgresTable("hourly")])
    made = Pipeline(name="p", source=KafkaTopic("s", Sale), outputs=[*pipeline().outputs, hourly])
    events = sales(("ada", 1, 0), ("ada", 1, 60))

    assert len(contributed(made, events)) == 2
    assert contributed(made, events, output=1) == [(start(0), 2)]


def test_the_windows_are_named_once_and_in_order() -> None:
    made = pipeline()
    with Contributions(made) as contributions:
        contributions.add(sales(("ada", 1, 120), ("bob", 1, 0)))
        contributions.add(sales(("ada", 1, 121)))

        assert contributions.windows(made.outputs[0]) == [start(0), start(120)]


def test_a_batch_without_events_contributes_nothing() -> None:
    made = pipeline()
    with Contributions(made) as contributions:
        contributions.add(Decoded([], [], [], 3))

        assert list(contributions.rows(made.outputs[0])) == []
        assert contributions.windows(made.outputs[0]) == []


def test_100_000_keys_are_all_there() -> None:
    chunks = [sales(*((f"seller {n}", n, 0) for n in range(k, 100_000, 10))) for k in range(10)]

    rows = contributed(pipeline(), *chunks, chunks[0])

    assert len(rows) == 100_000
    assert sum(row[2] for row in rows) == Decimal(99_999 * 50_000 + sum(range(0, 100_000, 10)))
    assert sum(row[3] for row in rows) == 110_000


def test_texts_are_told_apart_byte_by_byte() -> None:
    sellers = ["é", "e\u0301", "E", "e", "e ", "", "\x7f", "😀"]

    rows = contributed(pipeline(), sales(*((seller, 1, 0) for seller in sellers)))

    assert sorted(row[1] for row in rows) == sorted(sellers)


def test_a_measure_may_be_called_like_a_field_that_another_one_sums() -> None:
    made = pipeline(measures={"amount": Count(), "total": Sum("amount")})

    assert contributed(made, sales(("ada", 100, 0), ("ada", 100, 0))) == [(start(0), "ada", 2, Decimal(200))]


@pytest.mark.parametrize("name", ['a "b" c', "select", "ü", "a{b}", "'", ";--", "Total"])
def test_any_name_can_be_a_measure(name: str) -> None:
    assert contributed(pipeline(measures={name: Count()}), sales(("ada", 1, 0))) == [(start(0), "ada", 1)]


def test_names_that_differ_only_by_case_are_kept_apart() -> None:
    events = chunk(Cased("x", "y", 1, 7), Cased("x", "z", 1, 7))
    by_both = pipeline(Cased, by=["name", "Name"], measures={"low": Sum("a"), "high": Sum("A")})
    measured = pipeline(Cased, by=[], measures={"total": Sum("A"), "Total": Count()})

    assert contributed(by_both, events) == [
        (start(0), "x", "y", Decimal(1), Decimal(7)),
        (start(0), "x", "z", Decimal(1), Decimal(7)),
    ]
    assert contributed(measured, events) == [(start(0), Decimal(14), 2)]


@pytest.mark.parametrize("field", ["_event_time_us", "window_start_us"])
def test_a_field_may_have_a_name_that_the_engine_uses_itself(field: str) -> None:
    made = pipeline(Internal, by=[field], measures={"n": Count()})

    assert contributed(made, chunk(Internal("x", "x"))) == [(start(0), "x", 1)]


# -- laws --------------------------------------------------------------------------------------------------

facts_of_sales = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob", ""]),
        st.integers(-INT64, INT64 - 1),
        st.integers(-200, 200) | st.integers(FIRST_S, LAST_S),
    ),
    max_size=12,
)


def in_plain_python(facts: list[tuple[str, int, int]]) -> dict[tuple[datetime, str], tuple[int, int]]:
    totals: dict[tuple[datetime, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for seller, amount, at in facts:
        key = start(at // 60 * 60), seller
        totals[key] = totals[key][0] + amount, totals[key][1] + 1
    return dict(totals)


@settings(max_examples=20)
@given(facts_of_sales, st.data())
def test_any_split_into_batches_and_chunks_gives_the_totals_of_plain_python(
    facts: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    batches = data.draw(st.lists(st.integers(0, 1), min_size=len(facts), max_size=len(facts)))
    chunks = data.draw(st.lists(st.integers(0, 1), min_size=len(facts), max_size=len(facts)))
    totals: dict[tuple[datetime, str], tuple[int, int]] = defaultdict(lambda: (0, 0))

    for batch in range(2):
        placed = [(chunk, fact) for fact, at, chunk in zip(facts, batches, chunks, strict=True) if at == batch]
        parts = [sales(*(fact for place, fact in placed if place == wanted)) for wanted in range(2)]
        for window_start, seller, total, number in contributed(pipeline(), *parts):
            before = totals[window_start, seller]
            totals[window_start, seller] = before[0] + int(total), before[1] + number

    assert totals == in_plain_python(facts)
