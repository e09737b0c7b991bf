"""The way of a message through transform and stream: what passes, what is filtered, what is a reject and why."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from fix_recount import MINUTE, message, plain
from recount.arrow import Row
from recount.definition import parse
from recount.errors import UncountableError
from recount.flow import BLOCK, Flow, Nothing, Outcome, Refused
from recount.kafka import Message

EVENT: dict[str, Any] = {
    "s": {"kind": "str", "optional": True},
    "n": {"kind": "int"},
    "d": {"kind": "decimal", "scale": 2, "optional": True, "missing": True},
    "tags": {"kind": "list", "item": {"kind": "str"}, "missing": True, "optional": True},
}


def stream(**parts: Any) -> dict[str, Any]:
    found = {"kind": "stream", "columns": [["n", "n", "bigint"]], "where": None, "reject": [], "unique": []}
    return found | {"schema": "public", "table": "rows", "topic": None} | parts


def outcomes(
    *messages: Message, transform: Any = None, event: dict[str, Any] | None = None, **parts: Any
) -> list[Outcome]:
    changes = {"transform": parts.pop("declared")} if "declared" in parts else {}
    definition = parse(plain(event or EVENT, stream(**parts), **changes))
    return Flow(definition, transform).outcomes([(found, (MINUTE + 5) * 1_000_000) for found in messages])


def column(sql: str, kind: str, **values: Any) -> Any:
    """What an expression gives for one event."""
    given: dict[str, Any] = {"s": "a", "n": 3} | values
    (found,) = outcomes(message(7, partition=1, **given), columns=[["c", sql, kind]])
    return found.overlay["c"] if isinstance(found, Row) else found


@pytest.mark.parametrize(
    ("sql", "kind", "value"),
    [
        ("s || 'b' -- a comment", "text", "ab"),
        ("n * 2", "bigint", 6),
        ("n::hugeint * 9223372036854775807", "numeric", 3 * (2**63 - 1)),
        ("d * 2", "numeric(18,2)", Decimal("3.00")),
        ("n > 2", "boolean", True),
        ("null::varchar", "text", None),
        ("tags[1]", "text", "x"),
        ("_event_time", "timestamptz", datetime.fromtimestamp(MINUTE, UTC)),
        ("_batch_time", "timestamptz", datetime.fromtimestamp(MINUTE + 5, UTC)),
        ("_kafka_timestamp::date", "date", date(2025, 11, 21)),
        ("_partition * 100 + _offset", "bigint", 107),
        ("strftime(_event_time, '%H:%M')", "text", "04:40"),
        ("strftime(timezone('Europe/Berlin', _event_time), '%H:%M')", "text", "05:40"),
        ("md5('a')::uuid", "uuid", UUID("0cc175b9-c0f1-b6a8-31c3-99e269772661")),
        ("'0001-01-08'::timestamptz", "timestamptz", datetime(1, 1, 8, tzinfo=UTC)),
        ("'9999-12-23 23:59:59.999999Z'::timestamptz", "timestamptz", datetime(9999, 12, 23, 23, 59, 59, 999999, UTC)),
        ("'9999-12-23'::date", "date", date(9999, 12, 23)),
    ],
)
def test_an_expression_sees_the_event_and_its_place(sql: str, kind: str, value: Any) -> None:
    assert column(sql, kind, d="1.50", tags=["x"]) == value


@pytest.mark.parametrize(
    ("sql", "kind", "reason"),
    [
        ("s::int", "bigint", "Could not convert string 'a' to INT32"),
        ("error('no ' || s)", "text", "no a"),
        ("chr(0) || s", "text", "NUL"),
        ("'infinity'::timestamptz", "timestamptz", "calendar"),
        ("'-infinity'::date", "date", "calendar"),
        ("'9999-12-24'::date", "date", "calendar"),
        ("'9999-12-24'::timestamptz", "timestamptz", "calendar"),
        ("'0001-01-08'::date - 1", "date", "calendar"),
        ("n * 9223372036854775807", "bigint", "verflow"),
    ],
)
def test_a_row_that_cannot_have_its_columns_is_a_reject(sql: str, kind: str, reason: str) -> None:
    found = column(sql, kind)

    assert isinstance(found, Refused)
    assert reason in found.reason
    assert not found.is_exact


def test_one_row_that_raises_takes_no_other_with_it() -> None:
    messages = [message(offset, n=offset, s="x" if offset % 7 == 3 else str(offset)) for offset in range(100)]

    found = outcomes(*messages, columns=[["c", "s::bigint * 2", "bigint"]])
    assert [type(each) for each in found] == [Refused if at % 7 == 3 else Row for at in range(100)]
    assert [each.overlay["c"] for each in found if isinstance(each, Row)] == [
        at * 2 for at in range(100) if at % 7 != 3
    ]


def test_rules_come_before_the_filter_and_the_filter_before_the_columns() -> None:
    """Each step sees only what those before it let through, so nothing raises there for the others."""
    messages = [message(at, n=at, s=s) for at, s in enumerate(["first", "second", "filtered", None, "bad", "5"])]

    found = outcomes(
        *messages,
        reject=[
            ["is first", "s = 'first'"],
            ["is second", "case when s = 'first' then error('seen') else s = 'second' end"],
        ],
        where="case when s = 'second' then error('seen') when s is null then null else s <> 'filtered' end",
        columns=[["c", "case when s = 'filtered' then error('seen')::bigint else s::bigint end", "bigint"]],
    )

    assert found[0] == Refused("is first", is_exact=True)
    assert found[1] == Refused("is second", is_exact=True)
    assert found[2:4] == [Nothing.FILTERED, Nothing.FILTERED]
    assert isinstance(found[4], Refused)
    assert not found[4].is_exact
    assert isinstance(found[5], Row)


def test_a_predicate_that_is_null_rejects_nothing() -> None:
    assert isinstance(outcomes(message(0, n=1, s=None), reject=[["a", "s = 'a'"]])[0], Row)


@pytest.mark.parametrize(("s", "passes"), [("a" * 2000, True), ("é" * 1001, False), (None, False)])
def test_keys_must_be_there_and_fit_into_an_index(s: str | None, passes: bool) -> None:
    (found,) = outcomes(message(0, n=1, s=s), unique=[["s", "text"]])

    assert isinstance(found, Row if passes else Refused)


def test_the_texts_of_a_key_are_counted_together_and_windows_see_the_streams_columns() -> None:
    window = {"kind": "tumbling_window", "size_s": 60, "timezone": "UTC", "by": [["s", "text"], ["c", "text"]]}
    window |= {"measures": {"m": {"measure": "count"}}, "schema": "public", "table": "w", "topic": None}
    columns = [["c", "repeat('x', n)", "text"], ["s", "coalesce(s, 'none')", "text"]]
    definition = parse(plain(EVENT, stream(columns=columns), window))

    fits, long = Flow(definition).outcomes([(message(0, n=1996, s=None), 0), (message(1, n=1997, s=None), 0)])
    assert isinstance(fits, Row)
    assert fits.seen["s"] == "none"
    assert long == Refused("key of 2001 bytes, an index takes 2000")


def test_tombstones_and_late_messages_never_reach_the_stream() -> None:
    window = {"kind": "tumbling_window", "size_s": 60, "timezone": "UTC", "by": [], "measures": {}}
    window |= {"schema": "public", "table": "w", "topic": None}
    event = {"t": {"kind": "epoch_seconds"}, "n": {"kind": "int"}}
    rules = stream(reject=[["all", "true"]])
    definition = parse(plain(event, rules, window, allowed_lateness_s=0.0))
    late, tombstone = message(0, at=MINUTE + 61, t=MINUTE, n=1), Message("in", 0, 1, 0, None, None, ())

    found = Flow(definition).outcomes([(late, 0), (tombstone, 0), (message(2, t=MINUTE, n=1), 0)])
    assert found == [Refused("late", is_exact=True), Nothing.TOMBSTONE, Refused("all", is_exact=True)]


def test_what_duckdb_does_not_take_is_no_definition() -> None:
    with pytest.raises(UncountableError, match="DuckDB does not take an expression"):
        outcomes(where="no_such_field = 1")
    with pytest.raises(UncountableError, match="differ only by case"):
        outcomes(event={"a": {"kind": "int"}, "A": {"kind": "int"}})
    with pytest.raises(UncountableError, match="column 'c' should be bigint, DuckDB gives 'a'"):
        column("s", "bigint")


# -- transform ---------------------------------------------------------------------------------------------

DECLARED: dict[str, Any] = {
    "function": "double",
    "version": 1,
    "source_sha256": "00",
    "event": {"n": {"kind": "int", "constraints": {"lt": 50}}, "w": {"kind": "str", "optional": True}},
}


def double(frame: pd.DataFrame) -> pd.DataFrame:
    kept = frame[frame["n"] != 5]
    words = kept["s"].where(kept["s"] != "none", None)
    return kept.assign(n=kept["n"] * 2, w=words, extra=1.5)


def test_a_transform_changes_adds_and_drops() -> None:
    messages = [
        message(at, n=n, s=s) for at, (n, s) in enumerate([(1, "a"), (5, "b"), (2, "none"), (50, "c"), (3, "d")])
    ]

    found = outcomes(
        *messages, transform=double, declared=DECLARED, columns=[["c", "n + 1", "bigint"], ["w", "w", "text"]]
    )
    assert [each.overlay if isinstance(each, Row) else each for each in found] == [
        {"c": 3, "w": "a"},
        Nothing.FILTERED,
        {"c": 5, "w": None},
        {"c": 101, "w": "c"},
        {"c": 7, "w": "d"},
    ]


def test_a_transform_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(UncountableError, match="the transform double, of which the definition has only a hash"):
        outcomes(declared=DECLARED)


def test_a_nul_that_a_transform_makes_is_a_reject() -> None:
    (found,) = outcomes(message(0, n=1, s="a"), transform=lambda frame: frame.assign(w="\0"), declared=DECLARED)

    assert found == Refused("w has a NUL")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda frame: frame.drop(columns="_offset"), "is not what the definition says"),
        (lambda frame: frame.assign(n="x", w="a"), "is not what the definition says"),
        (lambda frame: pd.concat([frame, frame]).assign(w="a"), "gives 0@0 twice"),
        (lambda frame: frame.assign(w="a", _offset=9), "rows that it did not get"),
        (lambda frame: frame.assign(n=None, w="a"), "a null in 'n'"),
    ],
)
def test_a_frame_that_breaks_the_contract_is_refused(function: Any, said: str) -> None:
    with pytest.raises(UncountableError, match=said):
        outcomes(message(0, n=1, s="a"), transform=function, declared=DECLARED)


def test_a_transform_keeps_all_types_of_fields() -> None:
    event = EVENT | {
        "i": {"kind": "iso_time"},
        "b": {"kind": "bool"},
        "e": {"kind": "enum", "values": [1, 2]},
        "o": {"kind": "struct", "fields": {"x": {"kind": "int", "optional": True}}},
    }
    values: dict[str, Any] = {
        "s": None,
        "n": 2**60 + 1,
        "d": "1.5",
        "tags": ["a", "b"],
        "i": "2026-01-01T00:00:00.5Z",
        "b": True,
    }
    declared = DECLARED | {"event": event}

    (found,) = outcomes(
        message(0, **values, e=2, o={"x": None}), transform=lambda frame: frame, declared=declared, event=event
    )
    assert isinstance(found, Row)
    assert found.values == {
        "s": None,
        "n": 2**60 + 1,
        "d": Decimal("1.50"),
        "tags": ["a", "b"],
        "b": True,
        "e": 2,
        "o": {"x": None},
        "i": datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    }


def test_a_hundred_thousand_rows_take_seconds_though_one_in_ten_raises() -> None:
    """Each row alone would take minutes."""
    columns = [["c", "s::bigint * 2", "bigint"], ["o", "nullif(n, n)", "bigint"]]
    flow = Flow(parse(plain(EVENT, stream(columns=columns, where="n % 2 = 0"))))
    values = [json.dumps({"s": "bad" if n % 10 == 4 else str(n), "n": n}).encode() for n in range(BLOCK)]
    block = [(Message("in", 0, n, MINUTE * 1000, None, value, ()), 0) for n, value in enumerate(values)]

    found = [flow.outcomes(block) for _ in range(20)]
    assert sum(isinstance(each, Row) for outcomes in found for each in outcomes) == 40_000
    assert sum(isinstance(each, Refused) for outcomes in found for each in outcomes) == 10_000
