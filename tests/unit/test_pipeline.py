"""Declarations: what works is a value, what cannot work is refused when it is made."""

import enum
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest
from msgspec import Meta

from microbatch import (
    Count,
    EpochSeconds,
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
from microbatch.errors import DeclarationError, TerminalError, UnknownFieldError


class Place(Event):
    """A struct."""

    city: str
    zip_code: str | None


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds
    window_start: int
    batches: int
    batch_id: int
    price: Annotated[Decimal, Scale(2)]
    place: Place
    tags: list[str]
    maybe: int | None
    maybe_ts: EpochSeconds | None


class Lenient(Event):
    """Has a default, which a message without the field would get."""

    rate: int = 5


class Underscored(Event):
    """Has a name like the engine's own columns."""

    _offset: int


class Cased(Event):
    """Fields that differ only by case."""

    name: str
    Name: str


class Node(Event):
    """Contains itself."""

    value: int
    next: "Node | None"


class Empty(Event):
    """Has no fields."""


class Nothing(enum.Enum):
    """Has no members."""


class Share(enum.Enum):
    """Has floats."""

    HALF = 0.5


def keep(frame: Any) -> Any:
    """A transform."""
    return frame


def of_type(kind: Any, name: str = "field") -> KafkaTopic:
    """A source whose event has one field of that type."""
    return KafkaTopic("s", cast("type[Event]", msgspec.defstruct("Made", [(name, kind)], bases=(Event,))))


SOURCE = KafkaTopic("sales-usd", Sale, event_time="sale_ts")
SINKS: list[PostgresTable | KafkaTopic] = [PostgresTable("aggregated_sales"), KafkaTopic("aggregated-sales")]


def window(**changes: Any) -> TumblingWindow:
    facts: dict[str, Any] = {"size": "1 minute", "by": ["seller_id"], "measures": {"sales": Count()}, "to": SINKS}
    return TumblingWindow(**facts | changes)


def pipeline(**changes: Any) -> Pipeline:
    facts: dict[str, Any] = {"name": "sales", "source": SOURCE, "outputs": [window()]}
    return Pipeline(**facts | changes)


def stream(**changes: Any) -> list[Any]:
    """Outputs: a stream with a table."""
    return [Stream(**{"columns": {"amount": "amount_usd"}, "to": [PostgresTable("rows")]} | changes)]


def column(sql: str) -> dict[str, Any]:
    """The declaration of a stream with that column."""
    return {"outputs": stream(columns={"x": sql})}


def typed(kind: Any) -> dict[str, Any]:
    """The declaration of an event with a field of that type."""
    return {"source": of_type(kind), "outputs": [window(by=[])]}


def measured(measures: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The declaration of a window with those measures."""
    return {"outputs": [window(measures=measures, **changes)]}


CAST = "cast it: to DECIMAL(p, s), BIGINT, VARCHAR or TIMESTAMPTZ"
ONE_EVENT = "write an expression of the columns of one event"
KEY = "let a Stream make a column of it"

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
    "field type": (typed(float), "Made.field is a float", "write Annotated[Decimal, Scale(2)]"),
    "event time": (
        {"source": KafkaTopic("s", Sale, event_time="amount_usd")},
        "'amount_usd' is {'kind': 'int'}",
        "declare it as EpochSeconds",
    ),
    "event time that may be null": (
        {"source": KafkaTopic("s", Sale, event_time="maybe_ts")},
        "'maybe_ts' is {'kind': 'epoch_seconds', 'optional': True}",
        "declare it as EpochSeconds, EpochMillis or datetime",
    ),
    "event in a sink": (
        {"outputs": [window(to=[KafkaTopic("sums", Sale)])]},
        "the sink 'sums' has an event type",
        "only a source has one",
    ),
    "event in dead letters": (
        {"dead_letters": KafkaTopic("d", Sale)},
        "the sink 'd' has an event type",
        "leave it out",
    ),
    "config": (
        {"source": KafkaTopic("s", Sale, config={"retention.ms": cast("str", 5)})},
        "topic 's' has config retention.ms=5",
        "write it as a string",
    ),
    "start": ({"start": "now"}, "start='now'", '"earliest", "latest" or a datetime with a time zone'),
    "naive start": ({"start": datetime(2026, 1, 1)}, "2026, 1, 1", "a datetime with a time zone"),  # noqa: DTZ001
    "allowed_lateness": ({"allowed_lateness": timedelta(seconds=-1)}, "allowed_lateness=-1 day", "positive"),
    "nothing to be late for": (
        {"allowed_lateness": timedelta(0), "outputs": stream()},
        "there is no window to be late for",
        "leave it out",
    ),
    # -- field types
    "bytes": (typed(bytes), "Made.field has type bytes", "an event may have str, int"),
    "dict": (typed(dict[str, int]), "Made.field has type dict", "change the field"),
    "any": (typed(Any), "Made.field has type Any", "change the field"),
    "union": (typed(int | str), "Made.field has type int | str", "change the field"),
    "plain list": (typed(list), "Made.field has type list", "change the field"),
    "list of floats": (typed(list[float]), "Made.field is a float", "change the field"),
    "decimal": (typed(Decimal), "is a Decimal without a scale", "write Annotated[Decimal, Scale(2)]"),
    "scale": (typed(Annotated[Decimal, Scale(13)]), "has Scale(13)", "0 to 12"),
    "negative scale": (typed(Annotated[Decimal, Scale(-1)]), "has Scale(-1)", "0 to 12"),
    "scale of an int": (typed(Annotated[int, Scale(2)]), "has a Scale", "write Annotated[Decimal, Scale(2)]"),
    "mixed literal": (typed(Literal["a", 1]), "['a', 1]", "all strings or all integers"),
    "boolean literal": (typed(Literal[True]), "[True]", "all strings or all integers"),
    "large literal": (typed(Literal[9223372036854775808]), "[9223372036854775808]", "all integers of 64 bits"),
    "literal with NUL": (typed(Literal["\0"]), r"['\x00']", "all strings"),
    "float enum": (typed(Share), "[0.5]", "all strings or all integers"),
    "empty enum": (typed(Nothing), "Made.field", "change the field"),
    "constraint of a decimal": (typed(Annotated[Decimal, Scale(2), Meta(ge=0)]), "has ge", "let a Stream reject"),
    "constraint of a time": (typed(Annotated[EpochSeconds, Meta(ge=0)]), "has ge", "let a Stream reject"),
    "constraint of a list": (typed(Annotated[list[int], Meta(max_length=3)]), "has max_length", "let a Stream reject"),
    "pattern of an int": (typed(Annotated[int, Meta(pattern="x")]), "Made.field: Can only set `pattern`", "change the"),
    "bound of a str": (typed(Annotated[str, Meta(ge=1)]), "Made.field: Can only set `ge`", "change the field"),
    "fractional bound": (typed(Annotated[int, Meta(ge=0.5)]), "Made.field: 'float' object", "change the field"),
    "underscore": ({"source": KafkaTopic("s", Underscored)}, "Underscored._offset begins with _", "change the field"),
    "recursive event": ({"source": KafkaTopic("s", Node)}, "Node contains itself", "as many levels as are needed"),
    "names that differ by case": (
        {"source": KafkaTopic("s", Cased), "outputs": [Stream(to=[PostgresTable("rows")])]},
        "'Name' differs from another one only by case",
        "msgspec.field(name=...)",
    ),
    "nested names that differ by case": (typed(Cased), "Made.field is of type Cased", "change the field"),
    # -- streams
    "two streams": ({"outputs": [*stream(), *stream(to=[PostgresTable("b")])]}, "it has 2 streams", "give it one"),
    "stream alone without sinks": ({"outputs": stream(to=[])}, "the stream goes to 0 tables", "at least one sink"),
    "no columns": ({"outputs": stream(columns={})}, "has no columns", "columns={name: expression}"),
    "no fields": (
        {"source": KafkaTopic("s", Empty), "outputs": [Stream(to=[PostgresTable("rows")])]},
        "has no columns",
        "columns={name: expression}",
    ),
    "a sink that is none": ({"outputs": stream(to=["rows"])}, "goes to 0 tables and 0 topics", "at least one sink"),
    "unknown column in SQL": (column("amount"), "'amount' is refused by DuckDB", "it has seller_id, amount_usd"),
    "aggregate": (column("sum(amount_usd)"), "the aggregate sum()", ONE_EVENT),
    "subquery": (column("(select 1)"), "a subquery", ONE_EVENT),
    "window function": (column("row_number() over ()"), "a window function", ONE_EVENT),
    "unnest": (column("unnest(tags)"), "unnest(), which gives rows", ONE_EVENT),
    "now": (column("now()"), "now(), whose value changes by itself (use _batch_time for now)", ONE_EVENT),
    "two expressions": (column("amount_usd) , (amount_usd"), "is more than one SQL expression", "correct it"),
    "three statements": (column("1); drop table x; select (1"), "is no SQL expression", "correct it"),
    "parameter": (column("?"), "a parameter", ONE_EVENT),
    "NUL in SQL": (column("'\0'"), "has a NUL", "write chr(0)"),
    "float": (column("amount_usd / 2"), "'x' (amount_usd / 2) has type DOUBLE", CAST),
    "interval": (column("interval 1 day"), "has type INTERVAL", CAST),
    "local time": (column("_event_time::timestamp"), "has type TIMESTAMP,", CAST),
    "struct": (column("place"), "has type STRUCT(", CAST),
    "list": (column("tags"), "has type VARCHAR[]", CAST),
    "blob": (column("'a'::blob"), "has type BLOB", CAST),
    "nothing": (column("null"), "'x' (null) has type", CAST),
    "empty expression": (column(""), "'x' () has type", CAST),
    "reserved column": (
        {"outputs": stream(columns={"source_offset": "1"})},
        "'source_offset' is there",
        "another name",
    ),
    "nameless column": ({"outputs": stream(columns={"": "1"})}, "the name ''", "1 to 63 bytes"),
    "long column": ({"outputs": stream(columns={"ü" * 32: "1"})}, "'üüü", "1 to 63 bytes"),
    "where": ({"outputs": stream(where="amount_usd")}, "'where': 'amount_usd' is of type BIGINT", "write a predicate"),
    "where of nothing": ({"outputs": stream(where="")}, "'where': ''", "write a predicate"),
    "where with an aggregate": ({"outputs": stream(where="count(*) > 1")}, "the aggregate count_star()", "one event"),
    "reject": ({"outputs": stream(reject={"odd": "1"})}, "'odd': '1' is of type INTEGER", "write a predicate"),
    "reject late": ({"outputs": stream(reject={"late": "true"})}, "'late' is not usable", "the engine's own"),
    "reject without a reason": ({"outputs": stream(reject={"": "true"})}, "'' is not usable", "1 to 500 characters"),
    "reject with a long one": ({"outputs": stream(reject={"r" * 501: "true"})}, "'rrr", "1 to 500 characters"),
    "reject with a NUL": ({"outputs": stream(reject={"\0": "true"})}, r"'\x00'", "1 to 500 characters"),
    "unique of what may be null": ({"outputs": stream(unique=["maybe"])}, "unique has 'maybe' (BIGINT)", KEY),
    "unique of a struct": ({"outputs": stream(unique=["place"])}, "unique has 'place' (STRUCT", KEY),
    "unique twice": ({"outputs": stream(unique=["amount"] * 2)}, "unique=['amount', 'amount']", "name it once"),
    "unique like a column of the keys": (
        {"outputs": stream(unique=["batch_id"])},
        "'batch_id' is there",
        "another name",
    ),
    "unique in shards": ({"outputs": stream(unique=["amount"]), "shards": 2}, "but shards=2", "give it shards=1"),
    # -- windows
    "key that may be null": ({"outputs": [window(by=["maybe"])]}, "by has 'maybe' (BIGINT)", KEY),
    "key of a struct": ({"outputs": [window(by=["place"])]}, "by has 'place' (STRUCT", KEY),
    "key of a list": ({"outputs": [window(by=["tags"])]}, "by has 'tags' (VARCHAR[])", KEY),
    "emit": ({"outputs": [window(emit="never")]}, "emit='never'", '"closed" or "early"'),
    "zone of a minute": ({"outputs": [window(timezone="Europe/Berlin")]}, "'Europe/Berlin'", "only days and weeks"),
    "unknown zone": ({"outputs": [window(size="1 day", timezone="Mars/Base")]}, "'Mars/Base'", "use an IANA name"),
    "zone of a path": ({"outputs": [window(size="1 day", timezone="../UTC")]}, "'../UTC'", "use an IANA name"),
    "zone of nothing": ({"outputs": [window(size="1 day", timezone="")]}, "''", "use an IANA name"),
    "two weeks": ({"outputs": [window(size="2 weeks")]}, "'2 weeks'", '"1 week"'),
    "two days": ({"outputs": [window(size="2 days")]}, "'2 days'", '"1 day"'),
    "min of text": (measured({"m": Min("seller_id")}), "'m' of 'seller_id' (VARCHAR)", "Min takes integers"),
    "max of a struct": (measured({"m": Max("place")}), "'m' of 'place' (STRUCT", "Max takes integers"),
    "mean of times": (measured({"m": Mean("sale_ts")}), "'m' of 'sale_ts' (TIMESTAMP", "Mean takes integers"),
    "scale of a mean": (measured({"m": Mean("amount_usd", scale=13)}), "'m' of 'amount_usd'", "its scale is 0 to 12"),
    "sum of large decimals": (
        {"outputs": [*stream(columns={"x": "amount_usd::decimal(28, 0)"}), window(measures={"t": Sum("x")})]},
        "'t' of 'x' (DECIMAL(28,0))",
        "of up to 27 digits",
    ),
    "partial like a measure": (measured({"a": Mean("amount_usd"), "a__sum": Count()}), "'a__sum' is there", "another"),
    "count of a partial": (measured({"a": Sum("amount_usd"), "a__count": Count()}), "'a__count' is there", "another"),
    "partial like a key": (
        measured({"x": Sum("amount_usd")}, by=["x__count"])
        | {"outputs": [*stream(columns={"x__count": "1"}), window(by=["x__count"], measures={"x": Sum("amount_usd")})]},
        "'x__count' is there",
        "another name",
    ),
    "long partial": (measured({"m" * 57: Sum("amount_usd")}), "'mmm", "1 to 63 bytes"),
    # -- pairs
    "pairs of decimals": ({"outputs": [Pairs("price", 12, to=SINKS)]}, "'price' (DECIMAL(17,2))", "declare it as int"),
    "pairs of what may be null": ({"outputs": [Pairs("maybe", 12, to=SINKS)]}, "'maybe' (BIGINT)", "coalesce it"),
    "pairs in shards": ({"outputs": [Pairs("amount_usd", 12, to=SINKS)], "shards": 2}, "but shards=2", "shards=1"),
    "pairs of a large sum": ({"outputs": [Pairs("amount_usd", 2**62, to=SINKS)]}, f"sum={2**62}", "less than 63 bits"),
    "pairs without sinks": ({"outputs": [Pairs("amount_usd", 12, to=[])]}, "Pairs('amount_usd') goes to 0", "one sink"),
    "pairs in a long table": ({"outputs": [Pairs("amount_usd", 12, to=[PostgresTable("t" * 56)])]}, "'ttt", "1 to 55"),
    "stream in a long table": ({"outputs": stream(to=[PostgresTable("t" * 60)])}, "'ttt", "1 to 59 bytes"),
    "window in a long topic": ({"outputs": [window(to=[KafkaTopic("t" * 51)])]}, "'ttt", "1 to 50 bytes"),
    "field of a transform": (
        {"transform": Transform(keep, cast("type[Event]", of_type(float).event))},
        "Made.field is a float",
        "change the field",
    ),
    "grace": ({"grace": timedelta(seconds=-1)}, "grace=-1 day, 23:59:59", "positive"),
    "max_future": ({"max_future": timedelta(seconds=-1)}, "max_future=-1 day, 23:59:59", "positive"),
    "max_records": ({"max_records": 0}, "max_records=0", "positive"),
    "run_budget": ({"run_budget": timedelta(0)}, "run_budget=0:00:00", "positive"),
    "max_rejected": ({"max_rejected": 50}, "max_rejected=50", "share in (0, 1]"),
    "max_rejected 0": ({"max_rejected": 0.0}, "max_rejected=0.0", "share in (0, 1]"),
    "max_rejected nan": ({"max_rejected": float("nan")}, "max_rejected=nan", "share in (0, 1]"),
    "shards": ({"shards": 0}, "shards=0", "positive"),
    "outputs": ({"outputs": []}, "outputs=[]", "give it a Stream, a TumblingWindow or Pairs"),
    "size": ({"outputs": [window(size="7 minutes")]}, "'7 minutes'", '"1 minute"'),
    "size without unit": ({"outputs": [window(size="60")]}, "'60'", '"1 minute"'),
    "size of zero": ({"outputs": [window(size="0 seconds")]}, "'0 seconds'", '"1 minute"'),
    "size above a day": ({"outputs": [window(size="48 hours")]}, "'48 hours'", '"1 minute"'),
    "sum of text": (
        {"outputs": [window(measures={"total": Sum("seller_id")})]},
        "'total' of 'seller_id' (VARCHAR)",
        "Sum takes integers or decimals",
    ),
    "sum of times": ({"outputs": [window(measures={"t": Sum("sale_ts")})]}, "'sale_ts'", "Sum takes integers"),
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
    "no table": ({"outputs": [window(to=[])]}, "the window of '1 minute' goes to 0 tables", "at least one sink"),
    "two tables": (
        {"outputs": [window(to=[PostgresTable("a"), PostgresTable("b")])]},
        "goes to 2 tables and 0 topics",
        "one PostgresTable and one KafkaTopic",
    ),
    "two topics": ({"outputs": [window(to=[*SINKS, KafkaTopic("more")])]}, "1 tables and 2 topics", "at most one"),
    "a table twice": (
        {"outputs": [window(to=SINKS[:1]), window(to=SINKS[:1])]},
        "'public.aggregated_sales'",
        "its own",
    ),
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
        ({"outputs": [Pairs("amount", 12, to=SINKS)]}, "Pairs", "amount"),
    ],
)
def test_a_field_that_does_not_exist_is_named_beside_those_that_do(
    changes: dict[str, Any], where: str, field: str
) -> None:
    with pytest.raises(UnknownFieldError) as caught:
        pipeline(**changes)

    assert str(caught.value) == (
        f"pipeline 'sales': {where} names the field '{field}', which Sale does not have; "
        "it has seller_id, amount_usd, sale_ts, window_start, batches, batch_id, price, place, tags, maybe, maybe_ts"
    )


# Columns of the history and of views, names that the merge's SQL gives; PostgreSQL's own of every table.
@pytest.mark.parametrize(
    "name",
    [
        "batches", "merge_id", "valid_from", "valid_to", "retracted", "was_final",
        "source_topic", "source_partition", "source_offsets", "generations",
        "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid",
    ],
)  # fmt: skip
def test_a_column_that_a_table_of_ours_has_already_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"'{name}'"):
        pipeline(outputs=[window(measures={name: Count()})])


OTHER_TABLES = {
    "_history": window(to=[PostgresTable("sums")]),
    "_contribution": window(to=[PostgresTable("sums")]),
    "_as_of": window(to=[PostgresTable("sums")]),
    "_late": window(to=[PostgresTable("sums")]),
    "_waiting": Pairs("amount_usd", 12, to=[PostgresTable("sums")]),
    "_key": Stream(columns={"x": "1"}, to=[PostgresTable("sums")]),
}


@pytest.mark.parametrize("suffix", OTHER_TABLES)
def test_a_table_with_the_name_of_what_belongs_to_another_output_is_refused(suffix: str) -> None:
    with pytest.raises(DeclarationError, match=f"'public.sums{suffix}'"):
        pipeline(outputs=[OTHER_TABLES[suffix], window(to=[PostgresTable(f"sums{suffix}")])])


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
        {"start": "latest"},
        {"start": datetime(2026, 1, 1, tzinfo=UTC)},
        {"allowed_lateness": timedelta(0)},
        {"source": KafkaTopic("s", Sale, config={"retention.ms": "5"})},
        {"shards": 4},
        {"outputs": [Stream(columns={"x": "1"}, where="true"), window(to=SINKS[1:])]},
        {"outputs": [window(to=[PostgresTable("t" * 50)])]},
        {"outputs": stream(to=[PostgresTable("t" * 59)])},
        {"outputs": [window(to=[PostgresTable("a")]), window(to=[KafkaTopic("a")])]},
        {"outputs": [window(measures={"m" * 56: Sum("amount_usd")})]},
        {"outputs": [window(by=["price", "seller_id", "amount_usd", "sale_ts"])]},
        {"outputs": [window(size="1 day", timezone="Europe/Berlin", emit="early")]},
        {"outputs": [window(size="1 week", timezone="Asia/Kathmandu")]},
        {"outputs": [window(measures={"a": Min("sale_ts"), "b": Max("price"), "c": Mean("maybe", scale=0)})]},
        {"outputs": [window(measures={"a__count": Sum("amount_usd"), "a": Count()})]},
        {"outputs": [*stream(columns={"maybe": "coalesce(maybe, 0)"}), window(by=["maybe"])]},
        {"outputs": [*stream(columns={"zip": "coalesce(place.zip_code, '')"}, unique=["zip", "price"])]},
        {"outputs": stream(reject={"a, b: 'c'": "amount_usd > 1", "odd": "null::boolean"}, where="null::boolean")},
        {"outputs": [*stream(columns={"n": "amount_usd::tinyint"}), Pairs("n", -(2**62), to=SINKS)]},
        {"outputs": stream(), "transform": Transform(keep, Sale)},
        {"source": KafkaTopic("s", Cased), "outputs": [window(by=["name", "Name"])]},
        {"source": of_type(Annotated[str, Meta(description="words")]), "outputs": [window(by=["field"])]},
        {"source": of_type(Annotated[Decimal, Scale(12)] | None), "outputs": [window(by=[])]},
    ],
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
        ("1 day", 86400),
        ("1 week", 604800),
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


def test_an_output_without_a_table_has_its_state_under_the_name_of_its_topic() -> None:
    window_, pairs, silent = window(to=SINKS[1:]), Pairs("amount_usd", 12, to=SINKS[:1]), Stream(columns={"x": "1"})
    made = pipeline(outputs=[window_, pairs, silent])

    assert [made.state(output) for output in made.outputs] == [
        ("microbatch_topic", "aggregated-sales"),
        ("public", "aggregated_sales"),
        ("microbatch_topic", "sales"),
    ]
    assert (made.stream, made.windows, made.pairs) == (silent, [window_], [pairs])
