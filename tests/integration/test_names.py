"""Awkward names: each works from import to message and row, or is refused when it is declared."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec
import pandas as pd
import psycopg
import pytest
from psycopg import sql

from fix_pipeline import Message, World
from microbatch import (
    Count,
    Event,
    KafkaTopic,
    Pairs,
    Pipeline,
    PostgresTable,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch.columntypes import quoted
from microbatch.errors import DeclarationError
from microbatch.topics import create_topics
from outside import dead_letters, on_topic

MakeWorld = Callable[..., World]

SQL_WORDS: Final = ["select", "order", "offset", "user", "table", "from", "where", "group", "all", "excluded"]
# Names that our own SQL has for tables, columns and aliases.
OURS: Final = [
    *("c", "h", "k", "r", "t", "candidate", "total", "judged", "changed", "touched", "f0", "f1", "v0", "k0", "p0"),
    *("event", "events", "reason", "rowid", "passed", "value", "key", "part", "off", "pipeline", "microbatch", "oid"),
]
SIGNS: Final = [
    *('a "quoted" name', "it's", "a;b -- c", "{braces}", "{}", "{0}", "a\\b", "a\nb", "\t", "$1", "/* x */", "(", "*"),
    *(" spaces around ", "Mixed Case", "mixed case", "MIXED CASE", "ünïcödé", "é", "e\u0301", "ﬁ", "名前", "😀", "1st"),
    *("_partition", "_offset", "_position", "_start0", "_key", "Window_start"),
]
NAMES: Final = [*SQL_WORDS, *OURS, *SIGNS]
LONGEST: Final = ["x" * 63, "ü" * 31 + "x", "😀" * 15 + "abc"]
NO_IDENTIFIERS: Final = ["", "a.b", "50%", "a\0b", "\ud800", "x" * 64, "ü" * 32]


class Given(Event):
    """An event."""

    text: str
    number: int


def event_of(name: str, members: dict[str, str]) -> type[Event]:
    """An event type with text fields, whose values are names in messages."""
    found = [(field, str, msgspec.field(name=member)) for field, member in members.items()]
    return cast("type[Event]", msgspec.defstruct(name, found, bases=(Event,)))


def given(text: str = "a", number: int = 1) -> bytes:
    """The bytes of a valid event."""
    return json.dumps({"text": text, "number": number}).encode()


def declared(world: World, *outputs: Any, event: type[Event] = Given, **changes: Any) -> World:
    """A pipeline with these outputs, in a world of which only source and database are left."""
    source = KafkaTopic(world.pipeline.source.name, event, partitions=2)
    made = world.replace(source=source, outputs=list(outputs), **changes)
    create_topics([made.pipeline], made.connections)
    return made


def topic(world: World, name: str) -> KafkaTopic:
    return one(f"{world.pipeline.source.name}-{name}")


def one(name: str) -> KafkaTopic:
    """A topic with one partition."""
    return KafkaTopic(name, partitions=1)


def rows_of(world: World, table: str, schema: str = "public") -> list[dict[str, Any]]:
    """All rows of a table, under exactly that name, by the names of its columns."""
    with psycopg.connect(world.connections.postgres) as connection:
        cursor = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(schema, table)))
        names = [column.name for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def values_on(world: World, name: str) -> list[dict[str, Any]]:
    return [json.loads(message.value or b"") for message in on_topic(world, name)]


# -- columns -----------------------------------------------------------------------------------------------------


def test_columns_of_streams_keys_and_measures_may_have_any_name(world: World) -> None:
    """Each name is a column of the rows, part of a unique key, part of a window's key, and a measure."""
    half = len(NAMES) // 2
    groups = NAMES[:half], NAMES[half:]
    windows = [
        TumblingWindow(
            "1 minute",
            by=by[:25],
            measures={name: Count() for name in [*measures, *by[25:]]},
            to=[PostgresTable(f"window_{number}"), topic(world, f"window-{number}")],
        )
        for number, (by, measures) in enumerate([groups, groups[::-1]])
    ]
    expected = {name: f"a{number}" for number, name in enumerate(NAMES)}
    stream = Stream(
        columns={name: f"text || '{number}'" for number, name in enumerate(NAMES)},
        unique=NAMES[-30:],
        to=[PostgresTable("rows"), topic(world, "rows")],
    )
    world = declared(world, stream, *windows)
    world.send(given(), given())

    world.run(0)

    assert values_on(world, f"{world.pipeline.source.name}-rows") == [expected]
    assert [expected.items() <= row.items() for row in rows_of(world, "rows")] == [True]
    [key] = rows_of(world, "rows_key")
    assert {name: key[name] for name in NAMES[-30:]} == {name: expected[name] for name in NAMES[-30:]}
    for number, window in enumerate(windows):
        result = {**{name: expected[name] for name in window.by}, **dict.fromkeys(window.measures, 1)}
        found = [
            *values_on(world, f"{world.pipeline.source.name}-window-{number}"),
            *rows_of(world, f"window_{number}"),
        ]
        found += [*rows_of(world, f"window_{number}_history"), *rows_of(world, f"window_{number}_contribution")]
        assert [result.items() <= row.items() for row in found] == [True] * 4


def test_the_longest_columns_work(world: World) -> None:
    """PostgreSQL has 63 bytes; a measure that is not a count has 7 less, for its companion among the contributions."""
    sums = ["x" * 56, "ü" * 28]
    stream = Stream(columns=dict.fromkeys(LONGEST, "text"), to=[PostgresTable("rows"), topic(world, "rows")])
    window = TumblingWindow(
        "1 minute",
        by=LONGEST[:1],
        measures={**dict.fromkeys(LONGEST[1:], Count()), **dict.fromkeys(sums, Sum("number"))},
        to=[PostgresTable("results"), topic(world, "results")],
    )
    world = declared(world, stream, window)
    world.send(given())

    world.run(0)

    expected = {LONGEST[0]: "a", **dict.fromkeys([*LONGEST[1:], *sums], 1)}
    name = world.pipeline.source.name
    for row in (*values_on(world, f"{name}-results"), *rows_of(world, "results"), *rows_of(world, "results_history")):
        assert expected.items() <= row.items()
    for row in (*values_on(world, f"{name}-rows"), *rows_of(world, "rows")):
        assert dict.fromkeys(LONGEST, "a").items() <= row.items()


# -- fields ------------------------------------------------------------------------------------------------------

# msgspec itself refuses quotes, backslashes and control characters in the names of members.
JSON_NAMES: Final = [
    name for name in [*NAMES, *LONGEST, "", "a.b", "50%", "x" * 1000] if not re.search(r'["\\\x00-\x1f]', name)
]
Renamed: Final = event_of("Renamed", {f"n{number}": name for number, name in enumerate(JSON_NAMES)})


def test_members_of_messages_may_have_any_name(world: World) -> None:
    world = declared(world, Stream(to=[topic(world, "rows")]), event=Renamed)
    world.send(json.dumps({name: f"v{number}" for number, name in enumerate(JSON_NAMES)}).encode())

    world.run(0)

    expected = {f"n{number}": f"v{number}" for number in range(len(JSON_NAMES))}
    assert values_on(world, f"{world.pipeline.source.name}-rows") == [expected]


FIELDS: Final = [
    *("select", "order", "offset", "user", "table", "where", "group", "all", "current_date", "excluded", "名前", "é"),
    *OURS,
    *("v1", "v2", "f2", "batch_time", "main", "temp", "epoch_us", "count", "Ünï"),
]
Words: Final = event_of("Words", {name: name for name in FIELDS})


def unchanged(events: pd.DataFrame) -> pd.DataFrame:
    """What came in."""
    return events


def test_fields_may_be_words_of_sql_and_of_our_own(world: World) -> None:
    """All as they are, in a transform, in expressions of other columns, in rules, and in keys."""
    plain = {name: f"v {name}" for name in FIELDS}
    columns = {f"also {name}": quoted(name) for name in reversed(FIELDS)}
    rules = {f"{name} is x": f"{quoted(name)} = 'x'" for name in FIELDS}
    window = TumblingWindow("1 minute", by=FIELDS[:28], measures={"n": Count()}, to=[topic(world, "results")])
    stream = Stream(
        columns=columns,
        reject=rules,
        where=" and ".join(f"{quoted(n)} <> 'y'" for n in FIELDS),
        to=[topic(world, "rows")],
    )
    world = declared(world, stream, window, event=Words, transform=Transform(unchanged, Words))
    world.send(*(json.dumps(values).encode() for values in (plain, {**plain, "reason": "x"}, {**plain, "f1": "y"})))

    world.run(0)

    name = world.pipeline.source.name
    assert values_on(world, f"{name}-rows") == [{f"also {field}": f"v {field}" for field in reversed(FIELDS)}]
    [result] = values_on(world, f"{name}-results")
    assert {field: result[field] for field in FIELDS[:28]} == {field: plain[field] for field in FIELDS[:28]}
    assert [letter.header("microbatch.reason") for letter in dead_letters(world)] == ["reason is x"]


def test_a_stream_without_columns_has_fields_under_their_names(world: World) -> None:
    world = declared(world, Stream(to=[PostgresTable("rows"), topic(world, "rows")]), event=Words)
    plain = {name: f"v {name}" for name in FIELDS}
    world.send(json.dumps(plain).encode())

    world.run(0)

    assert values_on(world, f"{world.pipeline.source.name}-rows") == [plain]
    assert [plain.items() <= row.items() for row in rows_of(world, "rows")] == [True]


class Cases(Event):
    """Two names that SQL takes for one."""

    name: str
    Name: str


def test_fields_that_differ_only_by_case_are_refused_under_a_stream(world: World) -> None:
    with pytest.raises(DeclarationError, match="'Name' differs from another one only by case"):
        declared(world, Stream(to=[topic(world, "rows")]), event=Cases)


# -- tables ------------------------------------------------------------------------------------------------------


def test_tables_of_windows_may_have_any_name(world: World) -> None:
    names = [name for name in NAMES if name != "excluded"]
    tables = [*names, "pg_class", "information_schema", "x" * 50, "ü" * 25]
    windows = [
        TumblingWindow("1 minute", by=[], measures={f"n{number}": Count()}, to=[PostgresTable(name)])
        for number, name in enumerate(tables)
    ]
    world = declared(world, *windows)
    world.send(given())

    world.run(0)

    for number, name in enumerate(tables):
        for suffix in ("", "_contribution", "_history"):
            assert [row[f"n{number}"] for row in rows_of(world, name + suffix)] == [1], name
        assert len(rows_of(world, f"{name}_batch")) == 1, name
        assert rows_of(world, f"{name}_late") == rows_of(world, f"{name}_mixed") == [], name
        as_of = quoted(f"{name}_as_of")
        assert world.rows(f"select n{number} from {as_of}(now())") == [(1,)], name


def test_a_window_may_have_a_table_called_excluded(world: World) -> None:
    """As PostgreSQL calls the row of an upsert."""
    world = declared(world, TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[PostgresTable("excluded")]))
    world.send(given())

    world.run(0)

    assert [row["n"] for row in rows_of(world, "excluded")] == [1]


def test_tables_of_pairs_may_have_any_name(world: World) -> None:
    tables = [*SIGNS[:6], "candidate", "Mixed", "mixed", "x" * 55, "ü" * 27]
    world = declared(world, *(Pairs("number", number, to=[PostgresTable(name)]) for number, name in enumerate(tables)))
    world.send(*(given(number=number) for number in (0, *range(len(tables)))))

    world.run(0)

    for number, name in enumerate(tables):
        found = rows_of(world, name)
        assert {row["first_value"] + row["second_value"] for row in found} == {number}, name
        assert 2 * len(found) + len(rows_of(world, f"{name}_waiting")) == len(tables) + 1


@pytest.mark.parametrize("name", ['a "b" {c}; -- ü', "candidate"])
def test_the_table_of_a_stream_may_have_any_name(world: World, name: str) -> None:
    world = declared(world, Stream(unique=["text"], to=[PostgresTable(name)]))
    world.send(given("a"), given("a"), given("b"))

    world.run(0)

    assert sorted(row["text"] for row in rows_of(world, name)) == ["a", "b"]
    assert sorted(row["text"] for row in rows_of(world, f"{name}_key")) == ["a", "b"]


# -- topics and pipelines ----------------------------------------------------------------------------------------


def test_topics_may_have_every_name_that_kafka_has(world: World) -> None:
    prefix = world.pipeline.source.name
    stateful = [f"{prefix}.a.b", f"{prefix}-Upper", f"{prefix}-upper", f"--{prefix}--", (prefix + "_" * 50)[:50]]
    longest = (prefix + "x" * 249)[:249]
    world = declared(
        world,
        *(TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[one(name)]) for name in stateful),
        Stream(to=[PostgresTable("x" * 59), one(longest)]),
        dead_letters=one(f"{prefix}.DEAD..Letters_"),
    )
    world.send(given(), b"junk")

    world.run(0)

    assert [len(values_on(world, name)) for name in stateful] == [1] * len(stateful)
    assert [[row["n"] for row in rows_of(world, name, "microbatch_topic")] for name in stateful] == [[1]] * len(
        stateful
    )
    assert values_on(world, longest) == [{"text": "a", "number": 1}]
    assert [letter.value for letter in dead_letters(world)] == [b"junk"]


def test_the_name_of_a_pipeline_may_be_long(world: World) -> None:
    name = "select-1_" + "x" * 200
    world = declared(world, Stream(unique=["text"], to=[topic(world, "rows")]), name=name)
    world.send(given())

    world.run(0)

    [message] = on_topic(world, f"{world.pipeline.source.name}-rows")
    assert message.header("microbatch.pipeline") == name


def test_reasons_of_rules_may_be_any_text(world: World) -> None:
    reasons = [*NAMES, *LONGEST, "50%", "a.b", "r" * 500]
    rules = {reason: f"number = {number}" for number, reason in enumerate(reasons)}
    world = declared(world, Stream(reject=rules, to=[topic(world, "rows")]))
    world.send(*(Message(given(number=number)) for number in range(len(reasons))))

    world.run(0)

    assert [letter.header("microbatch.reason") for letter in dead_letters(world)] == reasons
    assert [reason for (reason,) in world.rows('select reason from microbatch.reject order by "offset"')] == reasons


# -- what is refused ---------------------------------------------------------------------------------------------


def pipeline_of(*outputs: Any, **changes: Any) -> Pipeline:
    options: dict[str, Any] = {"name": "p", "source": KafkaTopic("in", Given), "outputs": list(outputs)}
    return Pipeline(**{**options, **changes})


def window_of(name: str = "n", table: str = "results", by: str | None = None, **changes: Any) -> TumblingWindow:
    measures: dict[str, Any] = {name: changes.pop("measure", Count())}
    return TumblingWindow("1 minute", by=[by] if by is not None else [], measures=measures, to=[PostgresTable(table)])


def _refused() -> Iterator[tuple[str, str, Callable[[str], Pipeline]]]:
    """Where, name, and what declares it there."""
    for name in NO_IDENTIFIERS:
        yield "column", name, lambda n: pipeline_of(Stream(columns={n: "text"}, to=[KafkaTopic("out")]))
        yield "measure", name, lambda n: pipeline_of(window_of(n))
        yield "by", name, lambda n: pipeline_of(Stream(columns={n: "text"}), window_of(by=n))
        yield "table", name, lambda n: pipeline_of(window_of(table=n))
        yield "table of pairs", name, lambda n: pipeline_of(Pairs("number", 1, to=[PostgresTable(n)]))
        yield "table of rows", name, lambda n: pipeline_of(Stream(to=[PostgresTable(n)]))
    for name in ("window_start", "is_final", "batch_id", "valid_from", "retracted", "was_final", "xmin", "generations"):
        yield "reserved measure", name, lambda n: pipeline_of(window_of(n))
        yield "reserved by", name, lambda n: pipeline_of(Stream(columns={n: "text"}), window_of(by=n))
    for name in ("source_partition", "source_offset", "batch_id", "ctid"):
        yield "reserved column", name, lambda n: pipeline_of(Stream(columns={n: "text"}, to=[KafkaTopic("out")]))
    for name in ("x" * 51, "ü" * 26):
        yield "table too long", name, lambda n: pipeline_of(window_of(table=n))
    yield "rows too long", "x" * 60, lambda n: pipeline_of(Stream(to=[PostgresTable(n)]))
    yield "pairs too long", "x" * 56, lambda n: pipeline_of(Pairs("number", 1, to=[PostgresTable(n)]))
    yield "sum too long", "x" * 57, lambda n: pipeline_of(window_of(n, measure=Sum("number")))
    yield (
        "state too long",
        "t" * 51,
        lambda n: pipeline_of(TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[KafkaTopic(n)])),
    )
    for name in ("", ".", "..", "a b", "ü", "a/b", "a\0", "x" * 250):
        yield "topic", name, lambda n: pipeline_of(Stream(to=[KafkaTopic(n)]))
        yield "source", name, lambda n: pipeline_of(Stream(to=[KafkaTopic("out")]), source=KafkaTopic(n, Given))
        yield (
            "letters",
            name,
            lambda n: pipeline_of(Stream(to=[KafkaTopic("out")]), dead_letters=KafkaTopic(n)),
        )
    for name in ("", "Sales", "a b", "ü", "a.b", "1st", "a\n"):
        yield "pipeline", name, lambda n: pipeline_of(Stream(to=[KafkaTopic("out")]), name=n)
    for name in ("", "late", "a\0b", "r" * 501):
        yield "reason", name, lambda n: pipeline_of(Stream(reject={n: "true"}, to=[KafkaTopic("out")]))
    yield "used twice", "in", lambda n: pipeline_of(Stream(to=[KafkaTopic(n)]))
    yield "used twice", "in-dlq", lambda n: pipeline_of(Stream(to=[KafkaTopic(n)]))
    yield "used twice", "public.t_history", lambda _: pipeline_of(window_of(table="t"), window_of(table="t_history"))
    yield "dlq too long", "x" * 246, lambda n: pipeline_of(Stream(to=[KafkaTopic("o")]), source=KafkaTopic(n, Given))
    yield (
        "partial",
        "a__count",
        lambda n: pipeline_of(
            TumblingWindow("1 minute", by=[], measures={"a": Sum("number"), n: Count()}, to=[PostgresTable("t")])
        ),
    )


REFUSED: Final = list(_refused())


@pytest.mark.parametrize(
    ("name", "declare"),
    [(name, declare) for _, name, declare in REFUSED],
    ids=[f"{where} {name[:20]!a} of {len(name)}" for where, name, _ in REFUSED],
)
def test_what_cannot_work_is_refused_by_its_name_when_it_is_declared(
    name: str, declare: Callable[[str], Pipeline]
) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(name)

    assert repr(name)[1:-1] in str(caught.value)


def test_half_a_surrogate_pair_in_a_reason_is_refused() -> None:
    with pytest.raises(DeclarationError):
        pipeline_of(Stream(reject={"\ud800": "true"}, to=[KafkaTopic("out")]))


@pytest.mark.parametrize("name", ["__consumer_offsets", "__transaction_state"])
def test_kafkas_own_topics_are_refused_as_sinks(name: str) -> None:
    with pytest.raises(DeclarationError, match=name):
        pipeline_of(Stream(to=[KafkaTopic(name)]))


@pytest.mark.parametrize("key", ["by", "unique"])
def test_a_key_of_more_columns_than_an_index_has_is_refused(key: str) -> None:
    columns = {f"c{number}": "text" for number in range(33)}
    stream = Stream(columns=columns, unique=list(columns) if key == "unique" else [])
    by = list(columns)[:31] if key == "by" else []
    window = TumblingWindow("1 minute", by=by, measures={"n": Count()}, to=[PostgresTable("results")])

    with pytest.raises(DeclarationError, match=key):
        pipeline_of(stream, window)
