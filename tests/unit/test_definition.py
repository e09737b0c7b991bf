"""The definition: its hash covers what changes numbers or columns, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
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
from microbatch.definition import beyond_rebuild, definition, definition_hash, difference, only_adds

FIELDS: dict[str, Any] = {"seller_id": str, "amount": int, "tax": int, "at": EpochSeconds, "seen": EpochSeconds}


def event(name: str = "Sale", doc: str = "", **changes: Any) -> type[Event]:
    made = msgspec.defstruct(name, list((FIELDS | changes).items()), bases=(Event,))
    made.__doc__ = doc
    return cast("type[Event]", made)


def pipeline(
    source: dict[str, Any] | None = None,
    window: dict[str, Any] | None = None,
    stream: dict[str, Any] | None = None,
    **changes: Any,
) -> Pipeline:
    topic: dict[str, Any] = {"name": "sales-usd", "event": event(), "event_time": "at"} | (source or {})
    output: dict[str, Any] = {
        "size": "1 minute",
        "by": ["seller_id"],
        "measures": {"total": Sum("amount"), "sales": Count()},
        "to": [PostgresTable("sums"), KafkaTopic("sums")],
    }
    facts: dict[str, Any] = {
        "name": "sales",
        "source": KafkaTopic(**topic),
        "outputs": [
            TumblingWindow(**output | (window or {})),
            *([] if stream is None else [Stream(**{"to": [PostgresTable("rows")]} | stream)]),
        ],
    }
    return Pipeline(**facts | changes)


def same(frame: Any) -> Any:
    """A transform."""
    return frame


def other(frame: Any) -> Any:
    """Another one."""
    return frame


def hashed(made: Pipeline) -> str:
    return definition_hash(definition(made))


BASE = hashed(pipeline())


@pytest.mark.parametrize(
    "same",
    [
        lambda: pipeline(source={"event": event(doc="Other words.")}),
        lambda: pipeline(source={"event": event(amount=Annotated[int, msgspec.Meta(description="words")])}),
        lambda: pipeline(description="Other words."),
        lambda: pipeline(name="other"),
        lambda: pipeline(window={"emit": "early"}),
        lambda: pipeline(start="latest"),
        lambda: pipeline(shards=4, max_records=7, run_budget=timedelta(1), grace=timedelta(1), max_rejected=1.0),
        lambda: pipeline(source={"partitions": 9}),
        lambda: pipeline(window={"size": "60 seconds"}),
        lambda: pipeline(source={"event": event(name="Purchase")}),
    ],
    ids=[
        "docstring",
        "description of a field",
        "description",
        "name",
        "emit",
        "start",
        "how work is cut",
        "partitions",
        "size",
        "class name",
    ],
)
def test_what_changes_no_number_and_no_column_keeps_the_hash(same: Callable[[], Pipeline]) -> None:
    assert hashed(same()) == BASE


@pytest.mark.parametrize(
    "other",
    [
        lambda: pipeline(source={"name": "other"}),
        lambda: pipeline(source={"event_time": None}),
        lambda: pipeline(source={"event_time": "seen"}),
        lambda: pipeline(source={"event": event(more=int)}),
        lambda: pipeline(source={"event": event(tax=str)}),
        lambda: pipeline(source={"event": event(tax=Annotated[int, msgspec.Meta(ge=0)])}),
        lambda: pipeline(source={"event": event(description=str)}),
        lambda: pipeline(max_future=timedelta(minutes=1)),
        lambda: pipeline(dead_letters=KafkaTopic("other")),
        lambda: pipeline(window={"size": "2 minutes"}),
        lambda: pipeline(window={"by": []}),
        lambda: pipeline(window={"by": ["seller_id", "tax"]}),
        lambda: pipeline(window={"measures": {"total": Sum("tax"), "sales": Count()}}),
        lambda: pipeline(window={"measures": {"total": Sum("amount")}}),
        lambda: pipeline(window={"measures": {"total": Sum("amount"), "number": Count()}}),
        lambda: pipeline(window={"measures": {"total": Sum("amount"), "description": Count()}}),
        lambda: pipeline(window={"to": [PostgresTable("other"), KafkaTopic("sums")]}),
        lambda: pipeline(window={"to": [PostgresTable("sums"), KafkaTopic("other")]}),
        lambda: pipeline(window={"to": [PostgresTable("sums")]}),
        lambda: pipeline(window={"size": "1 day"}),
        lambda: pipeline(allowed_lateness=timedelta(0)),
        lambda: pipeline(transform=Transform(same, event())),
        lambda: pipeline(stream={}),
    ],
)
def test_what_changes_a_number_or_a_column_changes_the_hash(other: Callable[[], Pipeline]) -> None:
    assert hashed(other()) != BASE


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "import test_definition; print(test_definition.BASE)"
    folder = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])

    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }

    assert found == {BASE}


class Known(Event):
    """Has a field of each kind; see the test of its hash."""

    id: Annotated[str, msgspec.Meta(max_length=9, pattern="^ü+$")]
    at: EpochSeconds
    price: Annotated[Decimal, Scale(2)]
    kind: Literal["a", "b"] | None
    tags: list[str | None]
    note: str | None = msgspec.field(name="re-mark", default=None)


KNOWN = Pipeline(
    name="known",
    source=KafkaTopic("sales", Known, event_time="at"),
    allowed_lateness=timedelta(minutes=90),
    outputs=[
        Stream(
            columns={"id": "upper(id)", "n": "len(tags)"},
            where="price > 0",
            reject={"odd": "len(tags) % 2 = 1"},
            unique=["id"],
            to=[PostgresTable("rows")],
        ),
        TumblingWindow(
            "1 day",
            by=["id"],
            measures={"a": Sum("price"), "b": Mean("n", scale=3), "c": Count(), "d": Min("at")},
            to=[PostgresTable("sums"), KafkaTopic("sums")],
            timezone="Europe/Berlin",
        ),
        Pairs("n", 12, to=[KafkaTopic("pairs")]),
    ],
)


def test_a_known_definition_is_what_it_was() -> None:
    assert definition(KNOWN) == {
        "name": "known",
        "source": {
            "topic": "sales",
            "event": {
                "id": {"kind": "str", "constraints": {"pattern": "^ü+$", "max_length": 9}},
                "at": {"kind": "epoch_seconds"},
                "price": {"kind": "decimal", "scale": 2},
                "kind": {"kind": "enum", "values": ["a", "b"], "optional": True},
                "tags": {"kind": "list", "item": {"kind": "str", "optional": True}},
                "note": {"kind": "str", "optional": True, "missing": True, "name": "re-mark"},
            },
            "event_time": "at",
        },
        "max_future_s": 3600.0,
        "allowed_lateness_s": 5400.0,
        "dead_letters": "sales-dlq",
        "transform": None,
        "outputs": [
            {
                "kind": "stream",
                "columns": [["id", "upper(id)", "text"], ["n", "len(tags)", "bigint"]],
                "where": "price > 0",
                "reject": [["odd", "len(tags) % 2 = 1"]],
                "unique": [["id", "text"]],
                "schema": "public",
                "table": "rows",
                "topic": None,
            },
            {
                "kind": "tumbling_window",
                "size_s": 86400,
                "timezone": "Europe/Berlin",
                "by": [["id", "text"]],
                "measures": {
                    "a": {"measure": "sum", "field": "price", "of": "numeric(17,2)"},
                    "b": {"measure": "mean", "field": "n", "scale": 3, "of": "bigint"},
                    "c": {"measure": "count"},
                    "d": {"measure": "min", "field": "at", "of": "timestamptz"},
                },
                "schema": "public",
                "table": "sums",
                "topic": "sums",
            },
            {
                "kind": "pairs",
                "field": "n",
                "sum": 12,
                "schema": "microbatch_topic",
                "table": "pairs",
                "topic": "pairs",
            },
        ],
    }


def test_the_hash_of_a_known_definition_stays_what_it_is() -> None:
    """A change of this literal means that every registered pipeline would be refused after an upgrade."""
    assert hashed(KNOWN) == "a443e87e13876bb1716189e60a7a451207f03b12c2f949f18ff9741dedadeab1"


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    plain = definition(KNOWN)

    assert definition_hash(dict(reversed(plain.items()))) == definition_hash(plain)


@pytest.mark.parametrize("made", [KNOWN, pipeline(), pipeline(stream={}, transform=Transform(same, event()))])
def test_a_definition_comes_back_from_jsonb_as_it_was(made: Pipeline) -> None:
    plain = definition(made)
    # jsonb keeps no order of keys, and writes 3600.0 and 3.6e3 as numerics.
    kept = json.loads(json.dumps(plain, sort_keys=True))

    assert kept == plain
    assert definition_hash(kept) == definition_hash(plain)
    assert "\\u0000" not in json.dumps(plain)


def test_a_difference_names_the_place_and_both_values() -> None:
    old = {"a": 1, "deep": {"b": 2, "same": [1]}, "gone": True}
    new = {"a": 1, "deep": {"b": 3, "same": [1]}, "more": "x"}

    assert difference(old, new) == ["deep.b: 2 -> 3", "gone: True -> None", "more: None -> x"]


def test_equal_definitions_have_no_difference() -> None:
    assert difference(definition(pipeline()), definition(pipeline())) == []


def test_a_difference_in_a_list_names_the_element() -> None:
    old, new = definition(pipeline()), definition(pipeline(window={"size": "2 minutes"}))

    found = difference(old, new)

    assert len(found) == 1
    assert found[0].startswith("outputs")
    assert found[0].endswith("size_s: 60 -> 120")


def test_words_are_no_difference() -> None:
    assert difference(definition(pipeline()), definition(pipeline(source={"event": event(doc="Other words.")}))) == []


# -- what a live pipeline may add --------------------------------------------------------------------------------

TOTAL = {"total": Sum("amount"), "sales": Count()}


def grown(doc: str = "", **changes: Any) -> type[Event]:
    """The event with optional fields behind its own; a tuple is a type and a default."""
    more = [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in changes.items()]
    made = msgspec.defstruct("Sale", [*FIELDS.items(), *more], bases=(Event,), kw_only=True)
    made.__doc__ = doc
    return cast("type[Event]", made)


COLUMNS = {"a": "amount", "b": "tax"}
ADDITIONS: dict[str, tuple[Callable[[], Pipeline], Callable[[], Pipeline]]] = {
    "a measure": (pipeline, lambda: pipeline(window={"measures": TOTAL | {"tax": Sum("tax")}})),
    "a measure before": (pipeline, lambda: pipeline(window={"measures": {"tax": Sum("tax")} | TOTAL})),
    "an optional field": (pipeline, lambda: pipeline(source={"event": grown(more=(int | None, None))})),
    "a column": (
        lambda: pipeline(stream={"columns": COLUMNS}),
        lambda: pipeline(stream={"columns": {"c": "amount + tax"} | COLUMNS}),
    ),
    "a column of a field": (
        lambda: pipeline(stream={}),
        lambda: pipeline(stream={}, source={"event": grown(more=(str | None, None))}),
    ),
    "all of it": (
        lambda: pipeline(stream={"columns": COLUMNS}),
        lambda: pipeline(
            source={"event": grown(more=(int | None, None))},
            stream={"columns": COLUMNS | {"c": "more"}},
            window={"measures": TOTAL | {"more": Sum("more")}},
        ),
    ),
}


@pytest.mark.parametrize("what", ADDITIONS)
def test_what_is_only_added_is_known_as_that(what: str) -> None:
    old, new = (definition(make()) for make in ADDITIONS[what])

    assert only_adds(old, new)
    assert not only_adds(new, old)
    assert not only_adds(new, new)


CHANGES: dict[str, tuple[Callable[[], Pipeline], Callable[[], Pipeline]]] = {
    "another measure of the name": (pipeline, lambda: pipeline(window={"measures": TOTAL | {"total": Sum("tax")}})),
    "a measure less": (pipeline, lambda: pipeline(window={"measures": {"total": Sum("amount")}})),
    "a measure more and one less": (
        pipeline,
        lambda: pipeline(window={"measures": {"total": Sum("amount"), "tax": Sum("tax")}}),
    ),
    "a measure and another size": (
        pipeline,
        lambda: pipeline(window={"measures": TOTAL | {"n": Count()}, "size": "2 minutes"}),
    ),
    "another key": (pipeline, lambda: pipeline(window={"by": ["seller_id", "tax"]})),
    "another zone": (
        lambda: pipeline(window={"size": "1 day"}),
        lambda: pipeline(window={"size": "1 day", "timezone": "Europe/Berlin"}),
    ),
    "a needed field": (pipeline, lambda: pipeline(source={"event": grown(more=int)})),
    "a field that may be null but not missing": (pipeline, lambda: pipeline(source={"event": grown(more=int | None)})),
    "a field of another type": (pipeline, lambda: pipeline(source={"event": event(tax=str)})),
    "a field that is optional now": (pipeline, lambda: pipeline(source={"event": event(tax=int | None)})),
    "a constraint": (pipeline, lambda: pipeline(source={"event": event(tax=Annotated[int, msgspec.Meta(ge=0)])})),
    "another source": (pipeline, lambda: pipeline(source={"name": "other"})),
    "another event time": (pipeline, lambda: pipeline(source={"event_time": "seen"})),
    "another output": (pipeline, lambda: pipeline(stream={})),
    "an output less": (lambda: pipeline(stream={}), pipeline),
    "another name": (pipeline, lambda: pipeline(name="other")),
    "other dead letters": (pipeline, lambda: pipeline(dead_letters=KafkaTopic("other"))),
    "lateness": (pipeline, lambda: pipeline(allowed_lateness=timedelta(0))),
    "another expression": (
        lambda: pipeline(stream={"columns": COLUMNS}),
        lambda: pipeline(stream={"columns": COLUMNS | {"b": "amount"}}),
    ),
    "another order of columns": (
        lambda: pipeline(stream={"columns": COLUMNS}),
        lambda: pipeline(stream={"columns": dict(reversed(COLUMNS.items()))}),
    ),
    "a column less": (
        lambda: pipeline(stream={"columns": COLUMNS}),
        lambda: pipeline(stream={"columns": {"a": "amount"}}),
    ),
    "a rule": (lambda: pipeline(stream={}), lambda: pipeline(stream={"reject": {"odd": "amount = 1"}})),
    "where": (lambda: pipeline(stream={}), lambda: pipeline(stream={"where": "amount = 1"})),
    "unique": (lambda: pipeline(stream={}), lambda: pipeline(stream={"unique": ["tax"]})),
    "a sink": (lambda: pipeline(stream={}), lambda: pipeline(stream={"to": [PostgresTable("rows"), KafkaTopic("r")]})),
    "a transform": (pipeline, lambda: pipeline(transform=Transform(same, event()))),
    "another transform": (
        lambda: pipeline(transform=Transform(same, event())),
        lambda: pipeline(transform=Transform(other, event())),
    ),
    "another version": (
        lambda: pipeline(transform=Transform(same, event())),
        lambda: pipeline(transform=Transform(same, event(), version=2)),
    ),
    "a field of a transform": (
        lambda: pipeline(transform=Transform(same, event())),
        lambda: pipeline(transform=Transform(same, grown(more=(int | None, None)))),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_anything_else_is_a_change(what: str) -> None:
    old, new = (definition(make()) for make in CHANGES[what])

    assert old != new
    assert not only_adds(old, new)


# -- what a rebuild may change -----------------------------------------------------------------------------------

BEYOND: dict[str, str] = {
    "a measure less": "outputs.0.measures.sales",
    "a measure more and one less": "outputs.0.measures.sales",
    "a measure and another size": "outputs.0.size_s: 60 -> 120",
    "another key": "outputs.0.by",
    "another zone": "outputs.0.timezone",
    "another source": "source.topic: sales-usd -> other",
    "another output": "outputs",
    "an output less": "outputs",
    "other dead letters": "dead_letters",
    "a column less": "outputs.1.columns.b: bigint -> None",
    "unique": "outputs.1.unique",
    "a sink": "outputs.1.topic: None -> r",
}
"""Of the changes above: those that other tables or topics would need."""


@pytest.mark.parametrize("what", sorted(CHANGES.keys() - BEYOND.keys() - {"another name"}))
def test_what_leaves_tables_and_topics_as_they_are_may_be_rebuilt(what: str) -> None:
    old, new = (definition(make()) for make in CHANGES[what])

    assert beyond_rebuild(old, new) == []


@pytest.mark.parametrize("what", BEYOND)
def test_what_needs_other_tables_or_topics_may_not_be_rebuilt_and_is_named(what: str) -> None:
    old, new = (definition(make()) for make in CHANGES[what])

    assert any(text.startswith(BEYOND[what]) for text in beyond_rebuild(old, new)), beyond_rebuild(old, new)


@pytest.mark.parametrize("what", ADDITIONS)
def test_what_is_only_added_may_be_rebuilt_too(what: str) -> None:
    old, new = (definition(make()) for make in ADDITIONS[what])

    assert beyond_rebuild(old, new) == []


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"window": {"measures": {"total": Min("amount"), "sales": Count()}}}, "outputs.0.measures.total.measure"),
        ({"window": {"measures": {"total": Sum("more"), "sales": Count()}}}, "outputs.0.measures.total.of"),
        ({"window": {"measures": {"sales": Count()}}}, "outputs.0.measures.total"),
    ],
    ids=["another kind", "another type", "gone"],
)
def test_a_measure_keeps_its_kind_and_its_type(change: dict[str, Any], differs: str) -> None:
    wide = {"event": grown(more=(Annotated[Decimal, Scale(2)] | None, None))}

    (found,) = beyond_rebuild(definition(pipeline(source=wide)), definition(pipeline(source=wide, **change)))

    assert found.startswith(differs)


def test_additions_beside_what_may_be_rebuilt_may_be_rebuilt() -> None:
    changed = pipeline(window={"measures": TOTAL | {"total": Sum("tax"), "n": Count()}})

    assert beyond_rebuild(definition(pipeline()), definition(changed)) == []


def test_nothing_but_additions_may_change_where_there_are_pairs() -> None:
    pairs = [Pairs("amount", sum=12, to=[PostgresTable("pairs")])]
    old, changed, wider = (
        definition(pipeline(outputs=pairs, source={"event": made}))
        for made in (event(), event(tax=Annotated[int, msgspec.Meta(ge=0)]), grown(more=(int | None, None)))
    )

    assert beyond_rebuild(old, changed) == difference(old, changed) != []
    assert beyond_rebuild(old, wider) == []
