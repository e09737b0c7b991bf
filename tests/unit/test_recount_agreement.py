"""The engine and its independent check make the same of the same messages: whatever comes, in whatever pipeline.

Each was written from the specification alone. Here, and only here, they meet without Kafka and PostgreSQL.
"""

import enum
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fix_recount import TOPIC
from microbatch import (
    Count,
    EpochMillis,
    Event,
    KafkaTopic,
    Max,
    Mean,
    Min,
    Pairs,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch import testing as engine
from microbatch.decoding import Message as Given
from microbatch.definition import definition
from recount.counted import Counted, count
from recount.definition import Definition, parse
from recount.flow import Flow
from recount.kafka import Message
from recount.ledger import Batch, Range
from recount.times import moment
from recount.totals import numbers

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
"""The day on which Berlin's clocks go forward."""

NOW_MS = int(NOW.timestamp() * 1000)


class Kind(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Detail(Event):
    text: str
    weight: Annotated[Decimal, Scale(3)] | None = None


class Everything(Event):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=4, pattern="^[^x]")]
    number: Annotated[int, msgspec.Meta(ge=-5, multiple_of=1)] | None
    price: Annotated[Decimal, Scale(2)]
    happened: EpochMillis
    moment: datetime | None = None
    kind: Kind | None = None
    choice: Literal[1, 2, 6] | None = msgspec.field(name="the-choice", default=None)
    detail: Detail | None = None
    tags: list[str | None] | None = None
    flag: bool | None = None


class After(Event):
    name: str
    price: Annotated[Decimal, Scale(2)]
    length: int
    number: int | None


def shorten(frame: pd.DataFrame) -> pd.DataFrame:
    kept = frame[frame["name"] != "drop"]
    return kept.assign(name=kept["name"].str[:2], length=kept["name"].str.len())


MEASURES: dict[str, Sum | Count | Min | Max | Mean] = {
    "total": Sum("price"),
    "events": Count(),
    "first": Min("happened"),
    "largest": Max("number"),
    "average": Mean("price", scale=3),
    "numbers": Sum("number"),
    "mean_number": Mean("number"),
}
PIPELINES = {
    "everything": Pipeline(
        name="everything",
        source=KafkaTopic("in", Everything, event_time="happened"),
        allowed_lateness=timedelta(hours=30),
        outputs=[
            Stream(
                columns={
                    "name": "coalesce(nullif(name, 'null'), detail.text)",
                    "double": "price * 2",
                    "risky": "coalesce(tags[1], '0')::int",
                    "at_utc": "moment + interval 1 day",
                    "value": "coalesce(choice, number, 0)",
                    "huge": "number::hugeint * 4611686018427387904",
                    "day": "happened::date",
                    "booked": "_batch_time",
                    "place": "_partition * 1000 + _offset",
                    "late_by": "epoch_ms(_kafka_timestamp) - epoch_ms(_event_time)",
                },
                where="flag is null or flag",
                reject={"is bad": "kind = 'bad'", "is six": "choice = 6 and number > 5"},
                unique=["name", "value"],
                to=[KafkaTopic("rows")],
            ),
            TumblingWindow(
                "1 day", by=["name"], measures=MEASURES, to=[PostgresTable("days")], timezone="Europe/Berlin"
            ),
            TumblingWindow(
                "1 week",
                by=["day", "value"],
                measures={"d": Sum("double"), "c": Max("at_utc")},
                to=[PostgresTable("weeks")],
            ),
            Pairs("value", sum=6, to=[KafkaTopic("pairs")]),
        ],
    ),
    "windows only": Pipeline(
        name="windows",
        source=KafkaTopic("in", Everything, event_time="happened"),
        outputs=[TumblingWindow("15 minutes", by=["name", "price"], measures=MEASURES, to=[PostgresTable("quarters")])],
    ),
    "transformed": Pipeline(
        name="transformed",
        source=KafkaTopic("in", Everything, event_time="happened"),
        transform=Transform(shorten, event=After),
        outputs=[
            Stream(reject={"long": "length > 3"}, to=[PostgresTable("rows")]),
            TumblingWindow("1 minute", by=["name"], measures={"n": Sum("length")}, to=[KafkaTopic("sums")]),
        ],
    ),
    "by kafka's time": Pipeline(
        name="kafka",
        source=KafkaTopic("in", Detail),
        outputs=[
            Stream(where="weight > 0", unique=["text"], to=[PostgresTable("rows")]),
            TumblingWindow(
                "1 hour", by=["text"], measures={"w": Sum("weight"), "m": Mean("weight")}, to=[KafkaTopic("w")]
            ),
        ],
    ),
}


# -- messages ----------------------------------------------------------------------------------------------

TEXTS = st.sampled_from(["a", "b", "null", "drop", "abcd", "é😀", "x", "", "abcde", "\0", "a" * 2001, "7", "-1"])
NUMBERS = st.integers(-6, 13) | st.sampled_from([2**62, 2**63, 51])
PRICES = st.sampled_from(
    [0, 1, -2, 10**15, "1.5", "2.50", " 3", "1_0", "NaN", "1.005", "999999999999999.99", None, "0e-9"]
)
TIMES = st.integers(-200, 4).map(lambda hours: NOW_MS + hours * 900_000) | st.sampled_from(
    [0, "1774785600000", -1, "x"]
)
MOMENTS = st.sampled_from(
    ["2026-03-29T02:30:00.1234567+02:00", "9999-12-23T00:00:00Z", "9999-12-22T00:00:00Z", "2026-03-29", None]
)


def often(strategy: st.SearchStrategy[Any], usual: Any) -> st.SearchStrategy[Any]:
    """Mostly the usual value, so that most messages get through."""
    return st.one_of(st.just(usual), st.just(usual), strategy)


DOCUMENTS = st.fixed_dictionaries(
    {
        "name": often(TEXTS, "a") | st.sampled_from(["a", "b", "c"]),
        "number": often(NUMBERS | st.none(), 3),
        "price": often(PRICES, "12.34"),
        "happened": often(TIMES, NOW_MS),
        "text": often(TEXTS, "t"),
    },
    optional={
        "weight": st.sampled_from([1, "2.5", None, -1, "0.0001"]),
        "moment": MOMENTS,
        "kind": st.sampled_from(["good", "good", "bad", "ugly", None]),
        "the-choice": st.sampled_from([1, 2, 6, 6.0, "1", None]),
        "detail": st.sampled_from([None, {"text": "d"}, {"text": "d", "weight": 1.5}, {"text": 1}, {"text": "\0"}, []]),
        "tags": st.sampled_from([None, [], ["1"], ["1", None], ["no number"], [5], ["\0"]]),
        "flag": st.sampled_from([True, False, None, 1]),
        "unknown": st.sampled_from([1, {"a": [1]}, "\0"]),
    },
)
BODIES = often(st.sampled_from([None, b"", b"[]", b"{", b"{}", b"\xff"]), "document")


@st.composite
def messages(draw: st.DrawFn) -> list[Given]:
    """Some in two partitions, in any order of Kafka's timestamps."""
    found = []
    offsets = {0: 0, 1: 0}
    for _ in range(draw(st.integers(0, 14))):
        partition, body = draw(st.integers(0, 1)), draw(BODIES)
        value = json.dumps(draw(DOCUMENTS)).encode() if body == "document" else body
        at_ms = NOW_MS + draw(st.integers(-3, 3)) * 60_000
        found.append(Given(partition, offsets[partition], at_ms, b"k", value))
        offsets[partition] += 1
    return found


# -- what both make of them --------------------------------------------------------------------------------


def by_recount(pipeline: Pipeline, given: list[Given]) -> tuple[Definition, Counted]:
    defined = parse(json.loads(json.dumps(definition(pipeline))))
    ranges = [Range(1, TOPIC, partition, 0, 1000, 0, 0) for partition in (0, 1)]
    read = [Message("in", m.partition, m.offset, m.timestamp_ms, m.key, m.value, ()) for m in given]
    batches = {1: Batch(0, 0, time_us=NOW_MS * 1000)}
    flow = Flow(defined, shorten if pipeline.transform else None)
    return defined, count(defined, ranges, read, batches, flow)


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(given=messages())
def test_the_engine_and_its_check_agree(name: str, given: list[Given]) -> None:
    pipeline = PIPELINES[name]
    found = engine.run(pipeline, given, at=NOW)
    defined, counted = by_recount(pipeline, given)

    rejects = sorted((r.message.value or b"", r.reason if r.is_exact else "") for r in counted.rejects.values())
    exact = {r.reason for r in counted.rejects.values() if r.is_exact}
    assert sorted((r.value or b"", r.reason if r.reason in exact else "") for r in found.rejects) == rejects
    totals = [sum(counts[at] for counts in counted.counts.values()) for at in range(4)]
    assert (totals[2], totals[3]) == (found.repeated, found.filtered)
    if defined.stream:
        assert sorted(found.rows, key=str) == sorted((dict(p.columns) for p in counted.passed.values()), key=str)
    for window, per_batch in zip(defined.windows, counted.per_batch, strict=True):
        results = {
            (row["window_start"], *(row[name] for name in window.key_names)): row for row in found.results[window.name]
        }
        assert len(results) == len(found.results[window.name])
        shown = {key: (*(row[name] for name in window.columns),) for key, row in results.items()}
        assert shown == {
            (moment(int(cell.window_start) * 1_000_000), *cell.key): numbers(window.measures, partials)
            for (_, cell), partials in per_batch.items()
        }
    for output, pairing in zip(defined.pairs, counted.pairings, strict=True):
        sent = {(p["second_partition"], p["second_offset"]): p for p in found.pairs[output.target.table]}
        assert {
            place: (p["first_value"], (p["first_partition"], p["first_offset"]), p["second_value"])
            for place, p in sent.items()
        } == {place: (p.first.value, p.first.place, p.second.value) for place, p in pairing.pairs.items()}
        waiting = sorted(pairing.waiting.values(), key=lambda each: each.order)
        assert found.waiting[output.target.table] == [each.value for each in waiting]
