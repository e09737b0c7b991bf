"""The definition: its hash covers what changes numbers or columns, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import pytest

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pipeline,
    PostgresTable,
    Sum,
    TumblingWindow,
)
from microbatch.definition import definition, definition_hash, difference

FIELDS: dict[str, Any] = {"seller_id": str, "amount": int, "tax": int, "at": EpochSeconds, "seen": EpochSeconds}


def event(name: str = "Sale", doc: str = "", **changes: Any) -> type[Event]:
    made = msgspec.defstruct(name, list((FIELDS | changes).items()), bases=(Event,))
    made.__doc__ = doc
    return cast("type[Event]", made)


def pipeline(source: dict[str, Any] | None = None, window: dict[str, Any] | None = None, **changes: Any) -> Pipeline:
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
        "outputs": [TumblingWindow(**output | (window or {}))],
    }
    return Pipeline(**facts | changes)


def hashed(made: Pipeline) -> str:
    return definition_hash(definition(made))


BASE = hashed(pipeline())


@pytest.mark.parametrize(
    "same",
    [
        lambda: pipeline(source={"event": event(doc="Other words.")}),
        lambda: pipeline(source={"event": event(amount=Annotated[int, msgspec.Meta(description="words")])}),
        lambda: pipeline(description="Other words."),
        lambda: pipeline(shards=4, max_records=7, run_budget=timedelta(1), grace=timedelta(1), max_rejected=1.0),
        lambda: pipeline(source={"partitions": 9}),
        lambda: pipeline(window={"size": "60 seconds"}),
        lambda: pipeline(source={"event": event(name="Purchase")}),
    ],
    ids=["docstring", "description of a field", "description", "how work is cut", "partitions", "size", "class name"],
)
def test_what_changes_no_number_and_no_column_keeps_the_hash(same: Callable[[], Pipeline]) -> None:
    assert hashed(same()) == BASE


@pytest.mark.parametrize(
    "other",
    [
        lambda: pipeline(name="other"),
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


def test_the_hash_of_a_known_definition_stays_what_it_is() -> None:
    """A change of this literal means that every registered pipeline would be refused after an upgrade."""
    plain = {"name": "sales", "size_s": 60, "description": "words", "by": ["a", "ü"], "nested": [{"description": "w"}]}

    assert definition_hash(plain) == "b9bd4967bdf930a71c62d46ce218f0b5a5cf6d3a43171aa67bb5817654ea113d"
    assert definition_hash({"nested": [{}], "by": ["a", "ü"], "size_s": 60, "name": "sales"}) == definition_hash(plain)


def test_a_definition_comes_back_from_json_as_it_was() -> None:
    plain = definition(pipeline())

    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain


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
