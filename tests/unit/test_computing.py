"""A batch: contributions, rows and what is the first of its key, whatever the chunks, partitions and their order."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Max,
    Mean,
    Min,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    TumblingWindow,
    testing,
)
from microbatch.computing import Key
from microbatch.decoding import Message
from microbatch.ranges import OffsetRange
from microbatch.rows import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
INT64 = 2**63


class Sale(Event):
    """A sale."""

    seller: str
    at: EpochSeconds
    n: int
    price: Annotated[Decimal, Scale(2)]
    maybe: int | None = None


WINDOW = TumblingWindow(
    "1 minute",
    by=["seller"],
    measures={
        "total": Sum("n"),
        "money": Sum("price"),
        "optional": Sum("maybe"),
        "low": Min("price"),
        "high": Max("n"),
        "last": Max("at"),
        "mean": Mean("price", scale=1),
        "sales": Count(),
    },
    to=[PostgresTable("sums")],
)


def pipeline(
    event: type[Event] = Sale, event_time: str | None = "at", outputs: Any = (WINDOW,), **more: Any
) -> Pipeline:
    return Pipeline(name="p", source=KafkaTopic("s", event, event_time=event_time), outputs=list(outputs), **more)


def sale(seller: str = "ada", at: int = 0, n: int = 1, price: str = "1", maybe: int | None = None) -> dict[str, Any]:
    return {"seller": seller, "at": at, "n": n, "price": price, "maybe": maybe}


def message(event: Any, offset: int, partition: int = 0, timestamp_ms: int = NOW_MS) -> Message:
    return Message(partition, offset, timestamp_ms, None, json.dumps(event).encode())


def start(at_s: int) -> datetime:
    return EPOCH + timedelta(seconds=at_s)


def contributed(made: Pipeline, *chunks: list[Message], output: int = 0) -> list[tuple[Any, ...]]:
    """The contributions of a batch to one of its windows."""
    with testing.computation_of(made, NOW) as computation:
        for each in chunks:
            testing.computed(computation, each)
        return sorted(computation.contributions(made.windows[output]).rows())


# -- windows ---------------------------------------------------------------------------------------------------


def test_partial_values_stand_beside_how_many_they_are_made_of() -> None:
    made = pipeline()
    first = [message(sale("ada", 0, 3, "1.50"), 0), message(sale("bob", 59, 5, "2", maybe=7), 1)]
    second = [message(sale("ada", 59, 4, "-1"), 2), message(sale("ada", 60, 9, "0.01"), 3)]

    assert contributed(made, first, second) == [
        (
            *(start(0), start(60), "ada", Decimal(7), 2, Decimal("0.50"), 2, None, 0, Decimal(-1), 2, 4, 2),
            *(start(59), 2, Decimal("0.50"), 2, 2),
        ),
        (
            *(start(0), start(60), "bob", Decimal(5), 1, Decimal(2), 1, Decimal(7), 1, Decimal(2), 1, 5, 1),
            *(start(59), 1, Decimal(2), 1, 1),
        ),
        (
            *(start(60), start(120), "ada", Decimal(9), 1, Decimal("0.01"), 1, None, 0, Decimal("0.01"), 1, 9, 1),
            *(start(60), 1, Decimal("0.01"), 1, 1),
        ),
    ]


def test_sums_beyond_64_bits_are_exact() -> None:
    window = TumblingWindow("1 minute", by=[], measures={"t": Sum("n"), "m": Sum("price")}, to=[PostgresTable("sums")])
    largest = [message(sale(n=INT64 - 1, price="999999999999999.99"), n) for n in range(1000)]
    smallest = [message(sale(n=-INT64, price="-999999999999999.99"), n) for n in range(3)]

    assert contributed(pipeline(outputs=[window]), largest, largest) == [
        (start(0), start(60), Decimal(2000 * (INT64 - 1)), 2000, Decimal("999999999999999.99") * 2000, 2000)
    ]
    assert contributed(pipeline(outputs=[window]), smallest) == [
        (start(0), start(60), Decimal(-3 * INT64), 3, Decimal("-2999999999999999.97"), 3)
    ]


def test_keys_of_every_type_keep_their_values() -> None:
    class Kinds(Event):
        t: str
        i: int
        b: bool
        d: Annotated[Decimal, Scale(2)]
        at: EpochSeconds

    columns = {"day": "event.at::date", "id": "t::uuid", "wide": "i::hugeint"}
    by = ["t", "i", "b", "d", "at", "day", "id", "wide"]
    window = TumblingWindow("1 minute", by=by, measures={"n": Count()}, to=[PostgresTable("sums")])
    made = pipeline(Kinds, "at", [Stream(columns=columns), window])
    text = "6f1c6f2e-0000-4000-8000-000000000001"

    (row,) = contributed(made, [message({"t": text, "i": -7, "b": True, "d": 1.5, "at": 5}, 0)])

    assert row == (
        *(start(0), start(60), text, -7, True, Decimal("1.50"), start(5)),
        *(start(0).date(), UUID(text), Decimal(-7), 1),
    )


def test_the_windows_are_named_once_and_in_order() -> None:
    made = pipeline()
    with testing.computation_of(made, NOW) as computation:
        testing.computed(computation, [message(sale("ada", 120), 0), message(sale("bob", 0), 1)])
        testing.computed(computation, [message(sale("ada", 121), 2)])

        assert computation.contributions(WINDOW).windows() == [start(0), start(120)]


def test_each_output_has_its_own_windows() -> None:
    hourly = TumblingWindow("1 hour", by=[], measures={"n": Count()}, to=[PostgresTable("hourly")])
    made = pipeline(outputs=[WINDOW, hourly])
    events = [message(sale("ada", at), at) for at in (0, 60)]

    assert len(contributed(made, events)) == 2
    assert contributed(made, events, output=1) == [(start(0), start(3600), 2)]


def test_a_batch_without_events_contributes_nothing() -> None:
    made = pipeline()
    with testing.computation_of(made, NOW) as computation:
        testing.computed(computation, [Message(0, 0, 0, None, None), Message(0, 1, 0, None, b"junk")])

        assert list(computation.contributions(WINDOW).rows()) == []
        assert computation.contributions(WINDOW).windows() == []


def test_texts_are_told_apart_byte_by_byte() -> None:
    sellers = ["é", "e\u0301", "E", "e", "e ", "", "\x7f", "😀"]

    rows = contributed(pipeline(), [message(sale(seller), n) for n, seller in enumerate(sellers)])

    assert sorted(row[2] for row in rows) == sorted(sellers)


def test_100_000_keys_are_all_there() -> None:
    window = TumblingWindow(
        "1 minute", by=["seller"], measures={"t": Sum("n"), "c": Count()}, to=[PostgresTable("sums")]
    )
    chunks = [[message(sale(f"seller {n}", 0, n), n) for n in range(k, 100_000, 4)] for k in range(4)]

    rows = contributed(pipeline(outputs=[window]), *chunks, chunks[0])

    assert len(rows) == 100_000
    assert sum(row[3] for row in rows) == 99_999 * 50_000 + sum(range(0, 100_000, 4))
    assert sum(row[5] for row in rows) == 125_000


# -- laws of windows -------------------------------------------------------------------------------------------

MERGES = ["sum", "sum", "sum", "sum", "sum", "sum", "min", "sum", "max", "sum", "max", "sum", "sum", "sum", "sum"]
"""Of each partial column, in their order."""

sales = st.builds(
    sale,
    seller=st.sampled_from(["ada", "bob", ""]),
    at=st.integers(-70, 70),
    n=st.integers(-INT64, INT64 - 1),
    price=st.decimals(-(10**15) + 1, 10**15 - 1, places=2).map(str),
    maybe=st.none() | st.integers(-INT64, INT64 - 1),
)


def merged(values: Iterable[Any], how: str) -> Any:
    """One partial value of several."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return {"sum": sum, "min": min, "max": max}[how](there)  # type: ignore[operator]


def totals(batches: list[list[tuple[Any, ...]]]) -> dict[Any, dict[str, Any]]:
    """What merge makes of contributions: partials merged in plain Python, then the totals."""
    rows = defaultdict(list)
    for batch in batches:
        for row in batch:
            rows[row[:3]].append(row[3:])
    found = {}
    for key, each in rows.items():
        partials = [merged(column, how) for column, how in zip(zip(*each, strict=True), MERGES, strict=True)]
        result = {}
        for name, measure in WINDOW.measures.items():
            result[name] = measure.total_of([partials.pop(0) for _ in range(measure.partial_count)])
        found[key] = result
    return found


def in_plain_python(events: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The totals, straight from the definition."""
    groups = defaultdict(list)
    for event in events:
        minute = event["at"] // 60 * 60
        groups[start(minute), start(minute + 60), event["seller"]].append(event)
    found = {}
    for key, those in groups.items():
        prices = [Decimal(event["price"]) for event in those]
        maybes = [event["maybe"] for event in those if event["maybe"] is not None]
        mean = Fraction(sum(map(Fraction, prices))) / len(those)
        away = floor(abs(mean) * 10 + Fraction(1, 2))
        found[key] = {
            "total": sum(event["n"] for event in those),
            "money": sum(prices),
            "optional": sum(maybes) if maybes else None,
            "low": min(prices),
            "high": max(event["n"] for event in those),
            "last": start(max(event["at"] for event in those)),
            "mean": Decimal(away if mean >= 0 else -away) / 10,
            "sales": len(those),
        }
    return found


@settings(max_examples=15)
@given(st.lists(sales, max_size=10), st.data())
def test_any_split_into_batches_chunks_and_partitions_gives_the_totals_of_plain_python(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    made = pipeline()
    count = len(events)
    places = [data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)) for _ in range(3)]
    chunks: dict[tuple[int, int], list[Message]] = defaultdict(list)
    for offset in data.draw(st.permutations(range(count))):
        batch, chunk, partition = (place[offset] for place in places)
        chunks[batch, chunk].append(message(events[offset], offset, partition))

    batches = [contributed(made, *(chunks[batch, chunk] for chunk in range(2))) for batch in range(2)]

    assert totals(batches) == in_plain_python(events)


# -- rows ------------------------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_their_offsets_with_key_and_timestamp() -> None:
    made = pipeline(outputs=[Stream(columns={"twice": "n * 2", "at": "event.at"}, to=[KafkaTopic("rows")])])
    value = json.dumps(sale(n=4)).encode()
    given_messages = [
        Message(1, 7, 9_000, None, value),
        Message(0, 9, 1, None, value),
        Message(1, 8, 5_000, b"k", value),
    ]

    with testing.computation_of(made, NOW) as computation:
        chunks = testing.computed(computation, given_messages)

    assert [row for chunk in chunks for row in chunk.rows or ()] == [
        Row(0, 9, None, 1, (8, start(0))),
        Row(1, 7, None, 9_000, (8, start(0))),
        Row(1, 8, b"k", 5_000, (8, start(0))),
    ]
    assert [(chunk.rejects, chunk.filtered) for chunk in chunks] == [([], 0)] * 2


def test_a_stream_without_sinks_gives_no_rows() -> None:
    made = pipeline(outputs=[Stream(columns={"x": "1"}), WINDOW])

    with testing.computation_of(made, NOW) as computation:
        assert [chunk.rows for chunk in testing.computed(computation, [message(sale(), 0)])] == [None]


# -- unique ----------------------------------------------------------------------------------------------------


class Reading(Event):
    """A reading that may be sent twice."""

    city: str
    dt: int
    value: int


UNIQUE = Pipeline(
    name="p",
    source=KafkaTopic("s", Reading),
    outputs=[
        Stream(unique=["city", "dt"], to=[PostgresTable("rows")]),
        TumblingWindow("1 week", by=["city"], measures={"total": Sum("value")}, to=[PostgresTable("sums")]),
    ],
)
readings = st.tuples(
    st.sampled_from(["Köln", "Rom"]), st.integers(0, 2), st.integers(0, 99), st.integers(0, 2), st.integers(0, 3)
)
"""City, time, value, partition, Kafka's timestamp in milliseconds."""


@settings(max_examples=15)
@given(st.lists(st.lists(readings, max_size=6), max_size=3), st.data())
def test_the_first_that_was_booked_counts_and_nothing_else(batches: list[list[Any]], data: st.DataObject) -> None:
    booked: dict[Any, Any] = {}
    expected: dict[Any, Any] = {}
    counted: dict[str, int] = defaultdict(int)
    repeated = offset = 0
    for batch_id, batch in enumerate(batches):
        sent = []
        for city, dt, value, partition, ms in batch:
            sent.append(message({"city": city, "dt": dt, "value": value}, offset, partition, ms))
            place = (batch_id, ms, partition, offset)
            expected[city, dt] = min(expected.get((city, dt), (place, value)), (place, value))
            offset += 1
        with testing.computation_of(UNIQUE, NOW) as computation:
            for chunk in _chunks(data.draw(st.permutations(sent)), data.draw(st.integers(1, 4))):
                assert not any(each.rows for each in testing.computed(computation, chunk))

            def accept(keys: Iterator[Key]) -> list[tuple[int, int]]:
                found = []
                for *key, partition, at in keys:
                    if booked.setdefault(tuple(key), (partition, at)) == (partition, at):
                        found.append((partition, at))
                return found

            computation.decide(accept)
            ranges = [OffsetRange(partition, 0, 2**62) for partition in range(3)]
            rows = [row for item in ranges for some in computation.rows_of(item) for row in some]
            repeated += sum(computation.repeated(item) for item in ranges)
            assert all(booked[row.values[:2]] == (row.partition, row.offset) for row in rows)
            for row in computation.contributions(UNIQUE.windows[0]).rows():
                counted[row[2]] += int(row[3])

    assert booked == {key: place[2:] for key, (place, _) in expected.items()}
    assert repeated == offset - len(expected)
    totals_of: dict[str, int] = defaultdict(int)
    for (city, _), (_, value) in expected.items():
        totals_of[city] += value
    assert counted == totals_of


def _chunks(messages: Any, size: int) -> Iterator[list[Message]]:
    for at in range(0, len(messages), size):
        yield list(messages[at : at + size])


def test_keys_are_asked_for_with_their_values() -> None:
    made = pipeline(
        outputs=[
            Stream(
                columns={"id": "seller::uuid", "at": "event.at"}, unique=["id", "at", "price"], to=[PostgresTable("t")]
            )
        ]
    )
    text = "6f1c6f2e-0000-4000-8000-000000000001"
    asked: list[Key] = []
    with testing.computation_of(made, NOW) as computation:
        testing.computed(
            computation, [message(sale(text, 5, price="1.5"), 0, 2), message(sale(text.upper(), 5, price="1.50"), 1, 1)]
        )

        def accept(keys: Iterator[Key]) -> list[tuple[int, int]]:
            asked.extend(keys)
            return [(key[-2], key[-1]) for key in asked]

        computation.decide(accept)
        rows = [row for some in computation.rows_of(OffsetRange(1, 0, 9)) for row in some]

        assert asked == [(UUID(text), start(5), Decimal("1.50"), 1, 1)]
        assert rows == [Row(1, 1, None, NOW_MS, (UUID(text), start(5)))]
        assert [computation.repeated(OffsetRange(partition, 0, 9)) for partition in (1, 2)] == [0, 1]


def test_what_was_booked_before_leaves_nothing() -> None:
    made = pipeline(outputs=[Stream(columns={"n": "n"}, unique=["n"], to=[PostgresTable("t")]), WINDOW])
    with testing.computation_of(made, NOW) as computation:
        testing.computed(computation, [message(sale(), 0)])
        computation.decide(lambda _: [])

        assert list(computation.rows_of(OffsetRange(0, 0, 9))) == []
        assert list(computation.contributions(WINDOW).rows()) == []
        assert computation.repeated(OffsetRange(0, 0, 9)) == 1


# -- names -----------------------------------------------------------------------------------------------------

AWKWARD = [
    *('a "b" c', "select", "ü" * 28, "a{b}", "'", ";--", "Total", "f0", "v0", "k0", "p0", "events", "event", "passed"),
    *("gathered", "accepted", "value", "part", "off", "key", "x" * 56, "$1", "{}", "_position", "_start0", "\u00a0"),
]


@pytest.mark.parametrize("name", AWKWARD)
def test_any_name_works_as_column_key_measure_and_table(name: str) -> None:
    stream = Stream(columns={name: "seller || '!'"}, unique=[name], to=[PostgresTable("t")])
    window = TumblingWindow("1 minute", by=[name], measures={f"{name[:20]}2": Sum("n")}, to=[PostgresTable(name[:25])])
    other = TumblingWindow("1 minute", by=[], measures={name: Mean("n", scale=0)}, to=[PostgresTable("other")])

    outcome = testing.run(pipeline(outputs=[stream, window, other]), [sale(n=2), sale(n=4)], at=NOW)

    assert outcome.rows == [{name: "ada!"}]
    assert outcome.results[name[:25]][0] == {
        "window_start": start(0),
        "window_end": start(60),
        name: "ada!",
        f"{name[:20]}2": Decimal(2),
    }
    assert outcome.results["other"][0][name] == Decimal(2)
    assert outcome.repeated == 1


def test_fields_with_names_of_the_engine_and_of_sql_are_kept_apart() -> None:
    class Odd(Event):
        f0: str
        v0: int
        f1: int
        events: int
        event: int
        passed: int
        order: int
        position: int

    columns = {"v0": "event.v0 + 1", "v1": "f1", "f0": "f0 || event.events", "order": 'position + "order"'}
    window = TumblingWindow(
        "1 minute",
        by=["f0", "passed"],
        measures={"f1": Sum("v0"), "event": Max("event"), "k0": Min("events"), "p0": Sum("order")},
        to=[PostgresTable("t")],
    )
    made = pipeline(Odd, None, [Stream(columns=columns, to=[KafkaTopic("o")]), window])
    event = {"f0": "a", "v0": 1, "f1": 2, "events": 3, "event": 4, "passed": 5, "order": 6, "position": 7}

    outcome = testing.run(made, [event], at=NOW)

    assert outcome.rejects == []
    assert outcome.rows == [{"v0": 2, "v1": 2, "f0": "a3", "order": 13}]
    result = outcome.results["t"][0]
    assert {name: result[name] for name in ("f0", "passed", "f1", "event", "k0", "p0")} == {
        "f0": "a3",
        "passed": 5,
        "f1": 2,
        "event": 4,
        "k0": 3,
        "p0": 13,
    }


def test_names_that_differ_only_by_case_are_kept_apart() -> None:
    class Cased(Event):
        name: str
        Name: str
        a: int
        A: int

    window = TumblingWindow(
        "1 week", by=["name", "Name"], measures={"x": Sum("a"), "X": Sum("A")}, to=[PostgresTable("t")]
    )
    events = [message({"name": "x", "Name": name, "a": 1, "A": 7}, 0) for name in "yz"]

    rows = contributed(pipeline(Cased, None, [window]), events)

    assert [row[2:] for row in rows] == [
        ("x", "y", Decimal(1), 1, Decimal(7), 1),
        ("x", "z", Decimal(1), 1, Decimal(7), 1),
    ]
