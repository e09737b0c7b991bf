"""SQL of a declaration: an expression of one event, or refused; and its exact type."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import pytest

from microbatch import EpochSeconds, Event, KafkaTopic, Pipeline, Scale, Stream, testing
from microbatch.columntypes import ColumnType
from microbatch.expressions import Expressions, connect
from microbatch.fields import fields


class Place(Event):
    """A struct."""

    city: str
    zip_code: int | None


class Sale(Event):
    """A sale."""

    a: int
    s: str
    d: Annotated[Decimal, Scale(2)]
    t: EpochSeconds
    place: Place
    tags: list[str]
    o: int | None


EXPRESSIONS = Expressions(fields(Sale))

REFUSED = {
    "the aggregate": [
        *("sum(a)", "SUM(a)", "count(*)", "any_value(a)", "sum(a) filter (a > 1)", "a.max()", "list(a)", "main.sum(a)"),
        *("list_transform(tags, lambda x: sum(a))", "case when count(*) > 1 then 1 end"),
    ],
    "a window function": ["max(a) over ()", "row_number() over (order by a)", "lag(a) over (order by a)"],
    "a subquery": [
        "(select 1)",
        "a in (select 1)",
        "exists(select 1)",
        "a = any(tags)",
        "(from Sale)",
        "select 1",
        "(with x as (select 1) from x)",
    ],
    "which gives rows": ["unnest(tags)", "UNNEST([1])", "read_csv('x')", "query('select 1')"],
    "whose value changes": [
        *("now()", "NOW()", '"Now"()', "main.now()", "random()", "uuid()", "gen_random_uuid()", "today()"),
        *("current_date", "CURRENT_DATE", "current_timestamp", "localtimestamp", "current_time", "localtime"),
        *("current_user", "user", "session_user", "current_schema", "current_localtime()", "current_localtimestamp()"),
        *("get_current_timestamp()", "transaction_timestamp()", "ago(interval 1 day) > t", "age(t) > interval 1 day"),
        *("current_setting('TimeZone')", "getvariable('x')", "txid_current()", "nextval('x')", "setseed(0.5)"),
        *("list_transform(tags, lambda x: random())", "[now() for x in tags]", "{'x': random()}.x", "try(now())"),
        *("coalesce(current_timestamp, t)", "a between 1 and random()", "a in (random())", "now() is null"),
    ],
    "a parameter": ["?", "$1", "$x", "a + ?"],
    "a star": ["*", "columns('a')", "columns(*)"],
    "a column by its position": ["#1", "#2 + 1"],
    "more than one SQL expression": ["a) , (s", "1) union select (1", "1) from range(3", "1) where (true"],
    "no SQL expression": [
        *("1); drop table x; select (1", "a;", "1; select 2", "a as b", "a b", "distinct a", "a from x", "a limit 1"),
        *("a where true", "(a", "a)", "'", "/* a", "1) -- ", "a order by 1"),
    ],
    "refused by DuckDB": [
        *(
            "nope",
            "_foo",
            "place.nope",
            "rowid",
            "_position",
            "nope(a)",
            "a[1]",
            "s + 1 + tags",
            "event.nope",
            "s::nope",
        ),
        *("1) limit (1", "1) order by (1", "1) group by (1", "a) having (true", "1) qualify (true"),
        *("1) using sample (1", "grouping(a)", "default"),
    ],
    "has a NUL": ["'a\0b'", "a -- \0"],
}


@pytest.mark.parametrize(("why", "sql"), [(why, sql) for why, those in REFUSED.items() for sql in those])
def test_what_is_no_expression_of_one_event_is_refused(why: str, sql: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        EXPRESSIONS.type_of(sql)

    assert repr(sql) in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "type_"),
    [
        ("a", "BIGINT"),
        ("A", "BIGINT"),
        ('"a"', "BIGINT"),
        ("event.a", "BIGINT"),
        ("a + 1", "BIGINT"),
        ("a::tinyint", "TINYINT"),
        ("a::hugeint", "HUGEINT"),
        ("a > 1", "BOOLEAN"),
        ("s || 'x'", "VARCHAR"),
        ("'1); select (1'", "VARCHAR"),
        ("$$x$$", "VARCHAR"),
        ("s -- a comment", "VARCHAR"),
        ("/* one */ s /* two */", "VARCHAR"),
        ("d * 1.5", "DECIMAL(18,3)"),
        ("round(d, 1)", "DECIMAL(17,1)"),
        ("a::decimal(38, 10)", "DECIMAL(38,10)"),
        ("t", "TIMESTAMP WITH TIME ZONE"),
        ("date_trunc('day', t)", "TIMESTAMP WITH TIME ZONE"),
        ("cast(t as date)", "DATE"),
        ("age(t, _event_time) < interval 1 day", "BOOLEAN"),
        ("s::uuid", "UUID"),
        ("place.city", "VARCHAR"),
        ("place['zip_code']", "BIGINT"),
        ("tags[1]", "VARCHAR"),
        ("len(tags)", "BIGINT"),
        ("list_transform(tags, lambda x: upper(x))[1]", "VARCHAR"),
        ("[upper(x) for x in tags][1]", "VARCHAR"),
        ("try_cast(s as bigint)", "BIGINT"),
        ("case when a > 0 then 'x' end", "VARCHAR"),
        ("json_extract_string(s, '$.x')", "VARCHAR"),
        ("regexp_extract(s, '(.)', 1)", "VARCHAR"),
        ("_partition", "INTEGER"),
        ("_offset", "BIGINT"),
        ("_batch_time", "TIMESTAMP WITH TIME ZONE"),
        ("_kafka_timestamp", "TIMESTAMP WITH TIME ZONE"),
        ("a / 2 > 0.5", "BOOLEAN"),
    ],
)
def test_an_expression_of_one_event_has_a_type(sql: str, type_: str) -> None:
    assert EXPRESSIONS.type_of(sql) == ColumnType(type_)


def test_only_a_field_is_known_to_be_nullable() -> None:
    assert EXPRESSIONS.type_of("o") == ColumnType("BIGINT", nullable=True)
    assert EXPRESSIONS.type_of("coalesce(o, 0)") == ColumnType("BIGINT")


def test_a_field_hides_a_word_of_sql() -> None:
    class Login(Event):
        user: str
        current_date: str

    made = Expressions(fields(Login))

    assert made.type_of("event.user") == ColumnType("VARCHAR")
    assert made.type_of('"user"') == ColumnType("VARCHAR")
    assert made.type_of('"current_date"') == ColumnType("VARCHAR")


def test_what_is_declared_is_what_is_computed() -> None:
    """Each expression has the type in a batch that it has in the declaration."""
    columns = {
        "plus": "a + 1",
        "wide": "a::hugeint * 10",
        "money": "d * 1.5",
        "day": "cast(t as date)",
        "id": "'6f1c6f2e-0000-4000-8000-000000000001'::uuid",
        "comment": "s -- a comment",
        "city": "place.city",
        "at": "_kafka_timestamp",
        "batch": "_batch_time",
        "place": "_partition * 100 + _offset",
        "nothing": "o",
    }
    at = datetime(2026, 11, 21, 10, 0, 0, 123_000, tzinfo=UTC)
    made = Pipeline(name="p", source=KafkaTopic("s", Sale), outputs=[Stream(columns=columns, to=[KafkaTopic("o")])])
    event = {"a": 2, "s": "x", "d": 1.25, "t": 0, "place": {"city": "Köln", "zip_code": None}, "tags": [], "o": None}

    row = testing.run(made, [event], at=at).rows[0]

    assert {name: str(value) for name, value in row.items()} == {
        "plus": "3",
        "wide": "20",
        "money": "1.875",
        "day": "1970-01-01",
        "id": "6f1c6f2e-0000-4000-8000-000000000001",
        "comment": "x",
        "city": "Köln",
        "at": "2026-11-21 10:00:00.123000+00:00",
        "batch": "2026-11-21 10:00:00.123000+00:00",
        "place": "0",
        "nothing": "None",
    }
    assert (type(row["wide"]), type(row["money"])) == (Decimal, Decimal)


def test_times_are_utc() -> None:
    with connect() as database:
        assert database.execute("select timestamptz '2026-11-21 10:00:00+00'::varchar").fetchall() == [
            ("2026-11-21 10:00:00+00",)
        ]
