"""Declarations: what works is a value, what cannot work is refused when it is made."""

import re
from datetime import timedelta
from typing import Any

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
from microbatch.errors import DeclarationError, TerminalError, UnknownFieldError


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds
    window_start: int
    batches: int


class Rate(Event):
    """Cannot be an event of ours."""

    rate: float


class Lenient(Event):
    """Has a default, which a message without the field would get."""

    rate: int = 5


SOURCE = KafkaTopic("sales-usd", Sale, event_time="sale_ts")
SINKS = [PostgresTable("aggregated_sales"), KafkaTopic("aggregated-sales")]


def window(**changes: Any) -> TumblingWindow:
    facts: dict[str, Any] = {"size": "1 minute", "by": ["seller_id"], "measures": {"sales": Count()}, "to": SINKS}
    return TumblingWindow(**facts | changes)


def pipeline(**changes: Any) -> Pipeline:
    facts: dict[str, Any] = {"name": "sales", "source": SOURCE, "outputs": [window()]}
    return Pipeline(**facts | changes)


MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    # what is declared, the value that the text shows, and the remedy
    "name": ({"name": "Sales!"}, "'Sales!'", "use lower-case letters, digits, _ and -"),
    "empty name": ({"name": ""}, "''", "use lower-case letters, digits, _ and -"),
    "name with a dot": ({"name": "my.sales"}, "'my.sales'", "use lower-case letters, digits, _ and -"),
    "source": ({"source": KafkaTopic("sales usd", Sale)}, "'sales usd'", "letters, digits, '.', '_' and '-'"),
    "long source": ({"source": KafkaTopic("s" * 250, Sale)}, "'sss", "use up to 249"),
    "source of dots": ({"source": KafkaTopic("..", Sale)}, "'..'", "use up to 249"),
    "dead letters too long": ({"source": KafkaTopic("s" * 249, Sale)}, "s-dlq'", "use up to 249"),
    "dead letters": ({"dead_letters": KafkaTopic("ü")}, "'ü'", "use up to 249"),
    "no partitions": ({"source": KafkaTopic("s", Sale, partitions=0)}, "partitions=0", "at least 1"),
    "no event": ({"source": KafkaTopic("s")}, "'s' has no event type", "KafkaTopic(name, Event)"),
    "default": ({"source": KafkaTopic("s", Lenient)}, "Lenient.rate has a default", "change the field"),
    "field type": ({"source": KafkaTopic("s", Rate)}, "Rate.rate has type float", "change the field"),
    "event time": (
        {"source": KafkaTopic("s", Sale, event_time="amount_usd")},
        "'amount_usd' is of type int",
        "declare it as EpochSeconds",
    ),
    "grace": ({"grace": timedelta(seconds=-1)}, "grace=-1 day, 23:59:59", "positive"),
    "max_future": ({"max_future": timedelta(seconds=-1)}, "max_future=-1 day, 23:59:59", "positive"),
    "max_records": ({"max_records": 0}, "max_records=0", "positive"),
    "run_budget": ({"run_budget": timedelta(0)}, "run_budget=0:00:00", "positive"),
    "max_rejected": ({"max_rejected": 50}, "max_rejected=50", "share in (0, 1]"),
    "max_rejected 0": ({"max_rejected": 0.0}, "max_rejected=0.0", "share in (0, 1]"),
    "max_rejected nan": ({"max_rejected": float("nan")}, "max_rejected=nan", "share in (0, 1]"),
    "shards": ({"shards": 0}, "shards=0", "positive"),
    "outputs": ({"outputs": []}, "outputs=[]", "at least one TumblingWindow"),
    "size": ({"outputs": [window(size="7 minutes")]}, "'7 minutes'", '"1 minute"'),
    "size without unit": ({"outputs": [window(size="60")]}, "'60'", '"1 minute"'),
    "size of zero": ({"outputs": [window(size="0 seconds")]}, "'0 seconds'", '"1 minute"'),
    "size above a day": ({"outputs": [window(size="48 hours")]}, "'48 hours'", '"1 minute"'),
    "sum of text": (
        {"outputs": [window(measures={"total": Sum("seller_id")})]},
        "'total' of field 'seller_id'",
        "Sum takes an integer field",
    ),
    "sum of times": ({"outputs": [window(measures={"t": Sum("sale_ts")})]}, "'sale_ts'", "Sum takes an integer field"),
    "no measures": ({"outputs": [window(measures={})]}, "'1 minute' has no measures", "Count()"),
    "reserved measure": ({"outputs": [window(measures={"revision": Count()})]}, "'revision'", "another name"),
    "reserved key": ({"outputs": [window(by=["window_start"])]}, "'window_start'", "another name"),
    "measure like a key": ({"outputs": [window(measures={"seller_id": Count()})]}, "'seller_id'", "another name"),
    "key twice": ({"outputs": [window(by=["seller_id", "seller_id"])]}, "'seller_id'", "another name"),
    "dot in a measure": (
        {"outputs": [window(measures={"a.b": Count()})]},
        "'a.b'",
        "1 to 63 bytes without '.' and '%'",
    ),
    "percent in a measure": ({"outputs": [window(measures={"100%": Count()})]}, "'100%'", "without '.' and '%'"),
    "percent in a table": ({"outputs": [window(to=[PostgresTable("%s")])]}, "'%s'", "1 to 50 bytes without"),
    "NUL in a measure": ({"outputs": [window(measures={"a\0": Count()})]}, r"'a\x00'", "1 to 63 bytes"),
    "nameless measure": ({"outputs": [window(measures={"": Count()})]}, "''", "1 to 63 bytes"),
    "long measure": ({"outputs": [window(measures={"ü" * 32: Count()})]}, "'üüü", "1 to 63 bytes"),
    "long table": ({"outputs": [window(to=[PostgresTable("t" * 51)])]}, "'ttt", "1 to 50 bytes"),
    "table with a schema": ({"outputs": [window(to=[PostgresTable("a.b")])]}, "'a.b'", "without '.' and '%'"),
    "no table": ({"outputs": [window(to=[])]}, "goes to 0 tables and 0 topics", "one PostgresTable"),
    "two tables": (
        {"outputs": [window(to=[PostgresTable("a"), PostgresTable("b")])]},
        "goes to 2 tables and 0 topics",
        "at most one KafkaTopic",
    ),
    "two topics": ({"outputs": [window(to=[*SINKS, KafkaTopic("more")])]}, "1 tables and 2 topics", "at most one"),
    "a table twice": ({"outputs": [window(to=SINKS[:1]), window(to=SINKS[:1])]}, "'aggregated_sales'", "its own"),
    "a topic twice": (
        {"outputs": [window(), window(to=[PostgresTable("other"), SINKS[1]])]},
        "'aggregated-sales'",
        "its own",
    ),
    "source as sink": ({"outputs": [window(to=[SINKS[0], KafkaTopic("sales-usd")])]}, "'sales-usd'", "its own"),
    "source as dead letters": ({"dead_letters": KafkaTopic("sales-usd")}, "'sales-usd'", "its own"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_object_value_and_remedy(mistake: str) -> None:
    changes, value, remedy = MISTAKES[mistake]

    with pytest.raises(DeclarationError) as caught:
        pipeline(**changes)

    text = str(caught.value)
    assert text.startswith(f"pipeline {changes.get('name', 'sales')!r}: ")
    assert value in text
    assert remedy.replace("its own", "a name of its own") in text
    assert isinstance(caught.value, TerminalError)


@pytest.mark.parametrize(
    ("changes", "where", "field"),
    [
        ({"source": KafkaTopic("s", Sale, event_time="ts")}, "event_time", "ts"),
        ({"outputs": [window(by=["seller"])]}, "by", "seller"),
        ({"outputs": [window(measures={"total": Sum("amount")})]}, "measure 'total'", "amount"),
    ],
)
def test_a_field_that_does_not_exist_is_named_beside_those_that_do(
    changes: dict[str, Any], where: str, field: str
) -> None:
    with pytest.raises(UnknownFieldError) as caught:
        pipeline(**changes)

    assert str(caught.value) == (
        f"pipeline 'sales': {where} names the field '{field}', which Sale does not have; "
        "it has seller_id, amount_usd, sale_ts, window_start, batches"
    )


# Columns of the history and names that the merge's SQL gives; PostgreSQL's own of every table.
@pytest.mark.parametrize(
    "name",
    [
        "batches", "merge_id", "valid_from", "valid_to", "retracted", "was_final",
        "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid",
    ],
)  # fmt: skip
def test_a_column_that_a_table_of_ours_has_already_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"'{name}'"):
        pipeline(outputs=[window(measures={name: Count()})])


@pytest.mark.parametrize("suffix", ["_history", "_contribution"])
def test_a_table_with_the_name_of_another_outputs_history_is_refused(suffix: str) -> None:
    with pytest.raises(DeclarationError, match=f"'sums{suffix}'"):
        pipeline(outputs=[window(to=[PostgresTable("sums")]), window(to=[PostgresTable(f"sums{suffix}")])])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a-1_b"},
        {"grace": timedelta(0), "max_future": timedelta(0), "max_records": 1, "max_rejected": 1.0},
        {"source": KafkaTopic("S.a_l-es", Sale)},
        {"outputs": [window(by=[])]},
        {"outputs": [window(to=[PostgresTable("no topic")])]},
        {"outputs": [window(measures={'Der "Umsatz" in €': Sum("amount_usd")})]},
        {"outputs": [window(), window(size="24 hours", to=[PostgresTable("daily")])]},
        {"dead_letters": KafkaTopic("all-dead-letters")},
    ],
    ids=",".join,
)
def test_what_can_work_is_accepted(changes: dict[str, Any]) -> None:
    made = pipeline(**changes)

    assert all(getattr(made, name) == value for name, value in changes.items())


@pytest.mark.parametrize(
    ("size", "seconds"),
    [
        ("1 second", 1),
        ("30 seconds", 30),
        ("1 minute", 60),
        ("15 minutes", 900),
        ("2 hours", 7200),
        ("24 hours", 86400),
    ],
)
def test_the_size_of_a_window_is_said_in_words(size: str, seconds: int) -> None:
    assert window(size=size).size_s == seconds


def test_dead_letters_go_beside_the_source_if_nothing_else_is_said() -> None:
    made = pipeline(source=KafkaTopic("sales-usd", Sale, partitions=7))

    assert made.dead_letter_topic == KafkaTopic("sales-usd-dlq", partitions=7)


def test_a_pipeline_is_a_value() -> None:
    assert pipeline() == pipeline()
    assert pipeline() != pipeline(max_records=7)
    with pytest.raises(AttributeError, match=re.escape("immutable")):
        pipeline().name = "other"  # type: ignore[misc]
