"""The flow: what happens to an event depends on it alone, wherever it stands and however the log is cut."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
    testing,
)
from microbatch.decoding import Message
from microbatch.errors import TransformFailedError
from microbatch.flow import MAX_KEY_BYTES
from microbatch.rows import Row

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


class Reading(Event):
    """A reading."""

    a: int
    s: str
    d: Annotated[Decimal, Scale(2)]
    t: EpochSeconds
    o: int | None = None


def reading(a: int = 1, s: str = "x", d: str = "1", t: int = NOW_S, o: int | None = None) -> dict[str, Any]:
    return {"a": a, "s": s, "d": d, "t": t, "o": o}


def pipeline(outputs: Any, event_time: str | None = "t", **more: Any) -> Pipeline:
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return Pipeline(name="p", source=KafkaTopic("s", Reading, event_time=event_time), outputs=outputs, **more)


def stream(**changes: Any) -> Stream:
    return Stream(**{"columns": {"a": "a"}, "to": [KafkaTopic("rows")]} | changes)


def counted(*by: str, size: str = "1 minute") -> TumblingWindow:
    return TumblingWindow(size, by=list(by), measures={"n": Count()}, to=[PostgresTable("counts")])


def reasons(outcome: testing.Outcome) -> list[tuple[int, str]]:
    return [(reject.offset, reject.reason) for reject in outcome.rejects]


# -- rules -----------------------------------------------------------------------------------------------------


def test_rules_are_asked_in_their_order_then_where_then_columns() -> None:
    made = pipeline(
        stream(
            reject={"negative": "a < 0", "odd": "a % 2 != 0", "unknown": "null::boolean"},
            where="a < 100",
            columns={"half": "100 // (a - 2)"},
        )
    )

    outcome = testing.run(made, [reading(a) for a in (-1, 3, 4, 2, 200, 102)], at=NOW)

    assert [reject.reason.split(":")[0] for reject in outcome.rejects] == ["negative", "odd", "Invalid Input Error"]
    assert outcome.rows == [{"half": 50}]
    assert outcome.filtered == 2


def test_what_was_rejected_or_filtered_is_computed_no_further() -> None:
    made = pipeline(stream(reject={"zero": "a = 0"}, where="a > 0 and 10 // a > 1", columns={"x": "10 // a"}))

    outcome = testing.run(made, [reading(a) for a in (0, -1, 5, 20)], at=NOW)

    assert (reasons(outcome), outcome.filtered, outcome.rows) == ([(0, "zero")], 2, [{"x": 2}])


def test_where_lets_only_true_through() -> None:
    outcome = testing.run(pipeline(stream(where="o > 1")), [reading(o=o) for o in (None, 1, 2)], at=NOW)

    assert (outcome.filtered, len(outcome.rows)) == (2, 1)


def test_only_invalid_messages_count_as_such() -> None:
    made = pipeline([stream(reject={"odd": "a = 1"}, columns={"x": "10 // a"}), counted("s")])
    events = [reading(1), reading(0), reading(2, s="x" * (MAX_KEY_BYTES + 1)), reading(2, t=NOW_S - 7200), reading(2)]
    late = Pipeline(name="p", source=made.source, outputs=made.outputs, allowed_lateness=timedelta(hours=1))
    messages = [Message(0, n, NOW_S * 1000, None, json.dumps(event).encode()) for n, event in enumerate(events)]

    with testing.computation_of(late, NOW) as computation:
        (chunk,) = testing.computed(computation, [*messages, Message(0, 9, NOW_S * 1000, None, b"junk")])

    assert [(reject.message.offset, reject.is_invalid) for reject in chunk.rejects] == [
        (0, False),
        (1, True),
        (2, True),
        (3, False),
        (9, True),
    ]
    assert [reject.reason for reject in chunk.rejects if not reject.is_invalid] == ["odd", "late"]


def test_a_reason_may_have_quotes() -> None:
    outcome = testing.run(pipeline(stream(reject={'it\'s "odd"; --': "true"})), [reading()], at=NOW)

    assert reasons(outcome) == [(0, 'it\'s "odd"; --')]


# -- what columns and keys cannot hold -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "bad", "why"),
    [
        ({"x": "chr(a::int)"}, reading(0), "column x has a NUL, which PostgreSQL's text cannot hold"),
        ({"x": "to_timestamp(a)"}, reading(-62_134_992_001), "column x is not in the years"),
        ({"x": "make_date(a::int, 1, 1)"}, reading(10_000), "column x is not in the years"),
        ({"x": "s::timestamptz"}, reading(s="infinity"), "column x is not in the years"),
        ({"x": "nullif(a, 5)"}, reading(5), "column x is null, which a key cannot be"),
        ({"x": "repeat_me || s"}, reading(s="x" * MAX_KEY_BYTES), "a key of more than 2000 bytes - at ['x']"),
        ({"x": "a::utinyint"}, reading(256), "Conversion Error"),
        ({"x": "a::hugeint * a * a"}, reading(2**62), "Out of Range Error"),
        ({"x": "timezone(s, t)::varchar"}, reading(s="Mars/Base"), "Unknown TimeZone"),
    ],
)
def test_what_a_key_cannot_hold_is_a_reject_and_the_rest_goes_on(
    columns: dict[str, str], bad: dict[str, Any], why: str
) -> None:
    sql = columns["x"].replace("repeat_me", "'y'")
    good = reading(2020, s="2020-01-01 00:00:00+00" if "timestamptz" in sql else "UTC")
    good = good | {"a": 20} if "utinyint" in sql else good
    made = pipeline([stream(columns={"x": sql}), counted("x")])

    outcome = testing.run(made, [good, bad, good], at=NOW)

    assert [reject.offset for reject in outcome.rejects] == [1]
    assert why in outcome.rejects[0].reason
    assert outcome.results["counts"][0]["n"] == 2
    assert len(outcome.rows) == 2


def test_the_texts_of_a_key_are_measured_together_and_in_bytes() -> None:
    made = pipeline([stream(columns={"u": "upper(s)"}), counted("s", "u")])
    fits, too_long = "ü" * (MAX_KEY_BYTES // 4), "ü" * (MAX_KEY_BYTES // 4) + "x"

    outcome = testing.run(made, [reading(s=fits), reading(s=too_long)], at=NOW)

    assert reasons(outcome) == [(1, "a key of more than 2000 bytes - at ['s', 'u']")]
    assert len(outcome.results["counts"]) == 1


def test_a_long_text_that_is_no_key_is_taken() -> None:
    outcome = testing.run(pipeline([stream(columns={"s": "s"}), counted("a")]), [reading(s="x" * 100_000)], at=NOW)

    assert (outcome.rejects, len(outcome.rows[0]["s"])) == ([], 100_000)


# -- late ------------------------------------------------------------------------------------------------------


def test_late_is_judged_by_the_end_of_the_first_window_to_the_microsecond() -> None:
    made = pipeline(
        [counted(), TumblingWindow("1 hour", by=[], measures={"n": Count()}, to=[PostgresTable("hourly")])],
        allowed_lateness=timedelta(seconds=5),
    )
    value = json.dumps(reading(t=NOW_S)).encode()
    messages = [Message(0, n, NOW_S * 1000 + ms, None, value) for n, ms in enumerate((0, 65_000, 65_001))]

    outcome = testing.run(made, messages, at=NOW)

    assert reasons(outcome) == [(2, "late")]
    assert outcome.results["hourly"][0]["n"] == 2


def test_without_a_bound_no_event_is_late() -> None:
    outcome = testing.run(pipeline(counted()), [reading(t=0)], at=NOW)

    assert outcome.rejects == []


# -- the view of windows ---------------------------------------------------------------------------------------


def test_windows_see_the_streams_columns_in_the_place_of_fields() -> None:
    window = TumblingWindow("1 minute", by=["s"], measures={"x": Sum("a"), "y": Sum("d")}, to=[PostgresTable("t")])
    made = pipeline([stream(columns={"a": "a * 10", "s": "upper(s)"}), window])

    outcome = testing.run(made, [reading(2, "x", "1.5"), reading(3, "X", "2.5")], at=NOW)

    result = outcome.results["t"][0]
    assert (result["s"], result["x"], result["y"]) == ("X", Decimal(50), Decimal("4.00"))


# -- laws ------------------------------------------------------------------------------------------------------

ALL = pipeline(
    [
        Stream(
            columns={"q": "1000 // a", "u": "upper(s)", "at": "_event_time", "place": "_partition * 1000 + _offset"},
            reject={"minus": "d < 0", "letter": "s::bigint > 5"},
            where="coalesce(o, 1) > 0",
            to=[KafkaTopic("rows")],
        ),
        TumblingWindow("1 minute", by=["u"], measures={"n": Count(), "t": Sum("q")}, to=[PostgresTable("sums")]),
    ],
    allowed_lateness=timedelta(minutes=1),
)
values = st.builds(
    reading,
    a=st.integers(-2, 5),
    s=st.sampled_from(["1", "2", "9", "x", ""]),
    d=st.sampled_from(["-1", "0", "2.5"]),
    t=st.sampled_from([NOW_S, NOW_S - 30, NOW_S - 100, NOW_S - 180, NOW_S + 7200]),
    o=st.sampled_from([None, 0, 1]),
).map(lambda event: json.dumps(event).encode()) | st.sampled_from([b"junk", None])


def fate(made: Pipeline, chunks: list[list[Message]]) -> Any:
    """All that comes of a log that is cut like that."""
    rows: list[Row] = []
    rejects, filtered = [], 0
    with testing.computation_of(made, NOW) as computation:
        for chunk in (chunk for each in chunks for chunk in testing.computed(computation, each)):
            rows += chunk.rows or ()
            rejects += chunk.rejects
            filtered += chunk.filtered
        results = sorted(computation.contributions(made.windows[0]).rows())
    return sorted(rows, key=lambda row: row.offset), rejects, filtered, results


@settings(max_examples=15)
@given(st.lists(values, max_size=12), st.data())
def test_nothing_depends_on_how_messages_are_cut_into_chunks(log: list[bytes | None], data: st.DataObject) -> None:
    messages = [Message(n % 3, n, NOW_S * 1000, b"%d" % n, value) for n, value in enumerate(log)]
    messages.sort(key=lambda message: (message.partition, message.offset))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(log)), max_size=4)))
    bounds = [0, *cuts, len(log)]

    whole = fate(ALL, [messages])

    assert fate(ALL, [messages[a:b] for a, b in pairwise(bounds)]) == whole
    rows, rejects, filtered, results = whole
    assert len(rows) + len(rejects) + filtered + log.count(None) == len(log)
    assert sum(row[3] for row in results) == len(rows)


@pytest.mark.parametrize("at", [0, 1, 31, 62, 63])
@pytest.mark.parametrize("bad", [1, 3])
def test_a_row_whose_expression_fails_is_rejected_alone_wherever_it_stands(at: int, bad: int) -> None:
    places = {(at + 17 * n) % 64 for n in range(bad)}
    made = pipeline([stream(columns={"q": "100 // a", "n": "_offset"}), counted()])

    outcome = testing.run(made, [reading(0 if n in places else 4) for n in range(64)], at=NOW)

    assert [reject.offset for reject in outcome.rejects] == sorted(places)
    assert all(reject.reason.startswith("Invalid Input Error: Division by zero") for reject in outcome.rejects)
    assert outcome.rows == [{"q": 25, "n": n} for n in range(64) if n not in places]
    assert outcome.results["counts"][0]["n"] == 64 - bad


def test_a_chunk_in_which_all_rows_fail_is_all_rejects() -> None:
    outcome = testing.run(pipeline(stream(columns={"q": "1 // a"})), [reading(0)] * 9, at=NOW)

    assert (len(outcome.rejects), outcome.rows) == (9, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"where": "1 // 0 = 1"},
        {"reject": {"odd": "'x'::bigint = 1"}},
        {"columns": {"x": "1 // 0", "wide": "a::hugeint", "id": "null::uuid", "at": "_event_time", "d": "d * 1.5"}},
    ],
)
def test_an_expression_that_fails_for_every_event_rejects_every_event(changes: dict[str, Any]) -> None:
    outcome = testing.run(pipeline(stream(**changes)), [reading()] * 3, at=NOW)

    assert (len(outcome.rejects), outcome.rows) == (3, [])


# -- transforms ------------------------------------------------------------------------------------------------


class After(Event):
    """What comes out of a transform."""

    a: int
    label: str
    share: Annotated[Decimal, Scale(2)]
    o: int | None = None


def label(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep what is positive, and say what it is."""
    kept = frame[frame["a"] > 0]
    return kept.assign(label=kept["s"].str.upper(), share=kept["d"])[::-1]


def test_a_transform_changes_adds_and_leaves_out() -> None:
    window = TumblingWindow("1 minute", by=["label"], measures={"n": Sum("o")}, to=[PostgresTable("t")])
    made = pipeline(
        [stream(columns={"x": "label || a", "share": "share", "at": "_event_time", "off": "_offset"}), window],
        transform=Transform(label, After),
    )
    late = pipeline(made.outputs, transform=made.transform, allowed_lateness=timedelta(0))

    outcome = testing.run(made, [reading(1, "b", "1.5", o=7), reading(-1), reading(2, "b")], at=NOW)

    assert outcome.rows == [
        {"x": "B1", "share": Decimal("1.50"), "at": NOW, "off": 0},
        {"x": "B2", "share": Decimal("1.00"), "at": NOW, "off": 2},
    ]
    assert (outcome.filtered, outcome.results["t"][0]["n"]) == (1, Decimal(7))
    assert testing.run(late, [reading(1, t=0), reading(-1)], at=NOW).rejects[0].reason == "late"


def test_a_transform_sees_exact_columns_of_the_event_and_its_place() -> None:
    seen = []

    def look(frame: pd.DataFrame) -> pd.DataFrame:
        seen.append(frame)
        return frame

    testing.run(
        pipeline(counted(), transform=Transform(look, Reading)), [reading(2**63 - 1, d="999999999999999.99")], at=NOW
    )

    assert list(seen[0].columns) == ["_partition", "_offset", "a", "s", "d", "t", "o"]
    assert seen[0]["a"].tolist() == [2**63 - 1]
    assert seen[0]["d"].tolist() == [Decimal("999999999999999.99")]
    assert seen[0]["t"].tolist() == [pd.Timestamp(NOW)]


def test_what_a_transform_gives_is_judged_like_columns() -> None:
    def nul(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(s=["\0" if a == 1 else "x" for a in frame["a"]])

    outcome = testing.run(pipeline(counted("s"), transform=Transform(nul, Reading)), [reading(1), reading(2)], at=NOW)

    assert reasons(outcome) == [(0, "column s has a NUL, which PostgreSQL's text cannot hold")]
    assert outcome.results["counts"][0]["n"] == 1


def test_a_transform_that_leaves_nothing_leaves_nothing() -> None:
    made = pipeline([stream(), counted()], transform=Transform(lambda frame: frame.iloc[:0], Reading))

    outcome = testing.run(made, [reading(), reading()], at=NOW)

    assert (outcome.rows, outcome.filtered, outcome.results["counts"]) == ([], 2, [])


def _raise(_: pd.DataFrame) -> pd.DataFrame:
    raise KeyError("nope")


MISTAKES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "raises": (_raise, "raised KeyError: 'nope'"),
    "gives nothing": (lambda _: None, "gave no DataFrame with _partition and _offset"),
    "drops a column of origin": (lambda f: f.drop(columns="_offset"), "gave no DataFrame with _partition and _offset"),
    "drops a column": (lambda f: f.drop(columns="a"), "gave no column 'a'"),
    "gives a text for a number": (lambda f: f.assign(a="x"), "gave a column 'a' that is no BIGINT"),
    "gives a fraction for a number": (lambda f: f.assign(a=1.5), "gave a column 'a' that is no BIGINT"),
    "gives too many digits": (
        lambda f: f.assign(d=pd.Series([Decimal("0.001")] * len(f), dtype="object")),
        "gave a column 'd' that is no DECIMAL(17,2)",
    ),
    "gives too large a number": (lambda f: f.assign(a=2**70), "gave a column 'a' that is no BIGINT"),
    "gives a column twice": (lambda f: pd.concat([f, f[["a"]]], axis=1), "gave columns of one name"),
    "gives null": (lambda f: f.assign(s=None), "gave a null in 's'"),
    "gives an event twice": (lambda f: pd.concat([f, f]), "gave an event twice"),
    "gives another offset": (lambda f: f.assign(_offset=f["_offset"] + 7), "which did not go in"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_transform_that_cannot_go_on_fails_the_batch_and_says_why(mistake: str) -> None:
    function, why = MISTAKES[mistake]

    with pytest.raises(TransformFailedError) as caught:
        testing.run(pipeline(counted(), transform=Transform(function, Reading)), [reading(), reading()], at=NOW)

    assert f"transform {function.__name__} {why}" in str(caught.value) or why in str(caught.value)
    assert "pipeline 'p'" in str(caught.value)
