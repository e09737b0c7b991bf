"""The SQL page: what can be asked, what cannot, what there is to ask, and examples that work."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest

from dag_files import declared
from fix_child import wait_for
from fix_pipeline import T0, Message, World, new_database, new_world, sale, with_topics_of_its_own
from fix_stack import Stack
from fix_ui import OpenUi, Person
from microbatch.topics import create_topics

Row = list[str | None]
RUN: Final = "/microbatch/api/sql/run"
MESSAGES: Final[dict[str, dict[str, Any]]] = {
    "sales": {"seller_id": "amber", "amount_usd": 5, "sale_ts": T0},
    "orders": {
        "order_id": "o-1",
        "country": "DE",
        "amount": "1.07",
        "ordered_at": datetime.fromtimestamp(T0, UTC).isoformat(),
    },
    "number_pairs": {"number": 6},
    "logins": {
        "user_id": "u",
        "app_version": "2.3.0",
        "device_type": "android",
        "ip": "199.172.111.135",
        "locale": "RU",
        "device_id": "d",
        "timestamp": T0,
    },
    "weather": {
        "id": 658225,
        "name": "Helsinki",
        "dt": T0,
        "main": {"temp": -3.25, "feels_like": -8.91, "pressure": 1013, "humidity": 93},
        "wind": {"speed": 4.63},
        "weather": [{"description": "snow"}],
    },
}
"""A message that each of the five pipelines takes."""


@pytest.fixture(scope="module")
def sales(stack: Stack) -> Iterator[World]:
    """Ada's results of two minutes, and a schema that is not for the reading role."""
    with new_database(stack) as dsn:
        world = new_world(stack, dsn)
        world.send(sale("ada", 3), sale("ada", 4, T0 + 60), b"junk", Message(sale("ada", 1, T0 + 60), 1))
        world.run(1)
        with psycopg.connect(dsn) as owner:
            owner.execute("create schema secret")
            owner.execute("create table secret.plan as select 1 as step")
            owner.execute("revoke all on schema secret from reader")
        yield world


def ask(world: World, open_ui: OpenUi, query: str) -> Any:
    return open_ui(world.connections).post(RUN, json={"query": query})


def rows(world: World, open_ui: OpenUi, query: str) -> list[Row]:
    answer = ask(world, open_ui, query)
    assert answer.status_code == 200, answer.json()
    found: list[Row] = answer.json()["rows"]
    return found


def refusal(world: World, open_ui: OpenUi, query: str) -> dict[str, Any]:
    answer = ask(world, open_ui, query)
    assert answer.status_code == 400, answer.json()
    found: dict[str, Any] = answer.json()["detail"]
    return found


# -- what can be asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select seller_id, amount_usd from aggregated_sales order by window_start", [["ada", "3"], ["ada", "5"]]),
        ("select 1;", [["1"]]),
        ("select ';' as a, '%s %' as b ; -- done; really\n /* ; */", [[";", "%s %"]]),
        ("-- first\nwith a as (select 1 as n) select n, n from a -- last", [["1", "1"]]),
        ("values (1), (null)", [["1"], [None]]),
        ("table aggregated_sales limit 0", []),
        ("(select 2) union all (select 1) order by 1 desc", [["2"], ["1"]]),
        (
            "select 2::numeric ^ 70, 9007199254740993, 'infinity'::timestamptz, 'NaN'::float, true, '\\x00ff'::bytea",
            [["1180591620717411303424", "9007199254740993", "infinity", "NaN", "true", "\\x00ff"]],
        ),
        (
            "select '2026-11-21 11:00+01'::timestamptz, array[1, null], '{\"a\": 1.0}'::json, row(1, 'a b')",
            [["2026-11-21 10:00:00+00", "{1,NULL}", '{"a": 1.0}', '(1,"a b")']],
        ),
    ],
)
def test_a_query_is_answered_as_postgresql_writes_it(
    sales: World, open_ui: OpenUi, query: str, expected: list[Row]
) -> None:
    assert rows(sales, open_ui, query) == expected


def test_columns_have_the_names_and_types_of_postgresql(sales: World, open_ui: OpenUi) -> None:
    answer = ask(
        sales,
        open_ui,
        'select window_start, sum(amount_usd), 1.5::numeric(5, 2) as "sum" from aggregated_sales group by 1',
    )

    assert answer.json()["columns"] == [
        {"name": "window_start", "type": "timestamp with time zone"},
        {"name": "sum", "type": "numeric"},
        {"name": "sum", "type": "numeric(5,2)"},
    ]


@pytest.mark.parametrize(("wanted", "given", "is_cut"), [(1_000, 1_000, False), (1_001, 1_000, True)])
def test_rows_are_cut_at_a_thousand(sales: World, open_ui: OpenUi, wanted: int, given: int, is_cut: bool) -> None:
    found = ask(sales, open_ui, f"select n from generate_series(1, {wanted}) as n order by n desc").json()

    assert found["rows"] == [[str(number)] for number in range(wanted, wanted - given, -1)]
    assert found["is_cut"] is is_cut


def test_long_texts_are_cut_and_say_so(sales: World, open_ui: OpenUi) -> None:
    found = ask(sales, open_ui, "select repeat('ä', 10000), repeat('ä', 10001), repeat('x', 300000000)").json()

    assert found["rows"] == [["ä" * 10_000, "ä" * 10_000 + "…", "x" * 10_000 + "…"]]
    assert found["has_cut_cells"] is True
    assert found["is_cut"] is False


def test_an_answer_is_cut_at_eight_mebibytes(sales: World, open_ui: OpenUi) -> None:
    found = ask(sales, open_ui, "select repeat('x', 10000) from generate_series(1, 1000)").json()

    assert len(found["rows"]) == 8 * 1024 * 1024 // 10_000
    assert found["is_cut"] is True


# -- what cannot -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "select 1; drop table aggregated_sales",
        "select 1; select 2",
        "drop table aggregated_sales",
        "delete from aggregated_sales",
        "insert into aggregated_sales select * from aggregated_sales returning 1",
        "with gone as (delete from aggregated_sales returning 1) select * from gone",
        "select * into mine from aggregated_sales",
        "create temporary table mine (a int)",
        "select * from aggregated_sales for update",
        "set default_transaction_read_only = off",
        "set role microbatch",
        "reset all",
        "show all",
        "begin",
        "commit",
        "do $$ begin perform 1; end $$",
        "prepare p as select 1",
        "lock table aggregated_sales",
        "listen everything",
        "copy aggregated_sales to stdout",
        "copy (select 1) to program 'id'",
        "explain analyze select 1",
        "select lo_create(0)",
        "select lo_import('/etc/hostname')",
        "select pg_read_file('/etc/hostname')",
        "select dblink('', 'select 1')",
        "select nextval(pg_get_serial_sequence('microbatch.batch', 'batch_id'))",
        "select set_config('transaction_read_only', 'off', false)",
        "select set_config('role', 'microbatch', false)",
        "select set_config('session_authorization', 'microbatch', false)",
        "select pg_reload_conf()",
        "select payload from microbatch.outbox_segment",
        "select rolpassword from pg_authid",
        "select 1) as a (c0), (select 2",
        "select 1 /*",
        "select $1",
        ";",
        "-- nothing",
    ],
)
def test_anything_but_one_query_that_reads_is_refused(sales: World, open_ui: OpenUi, query: str) -> None:
    before = sales.rows("select last_value from microbatch.batch_batch_id_seq")

    assert refusal(sales, open_ui, query)["message"]

    assert sales.rows("select count(*) from aggregated_sales") == [(2,)]
    assert sales.rows("select last_value from microbatch.batch_batch_id_seq") == before


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "select\n amount_us from aggregated_sales;",
            {
                "message": 'column "amount_us" does not exist',
                "hint": 'Perhaps you meant to reference the column "aggregated_sales.amount_usd".',
                "position": 9,
            },
        ),
        ("select from from x", {"message": 'syntax error at or near "from"', "position": 13}),
        ("selec 1", {"message": 'syntax error at or near "selec"', "position": 1}),
        ("select 1 / 0", {"message": "division by zero", "position": None}),
        ("select * from secret.plan", {"message": "permission denied for schema secret", "position": 15}),
        (
            "vacuum",
            {"message": "This is no query: only one that starts with select, with, values or table can be asked"},
        ),
        ("select 1; select 2", {"message": "cannot insert multiple commands into a prepared statement"}),
    ],
)
def test_a_refusal_says_what_and_where(sales: World, open_ui: OpenUi, query: str, told: dict[str, Any]) -> None:
    assert refusal(sales, open_ui, query).items() >= told.items()


def test_a_query_has_ten_seconds_whatever_it_sets(sales: World, open_ui: OpenUi) -> None:
    query = "select set_config('statement_timeout', '0', false) from generate_series(1, 9) where pg_sleep(30) is null"

    told = refusal(sales, open_ui, query)

    assert told["message"] == "canceling statement due to statement timeout"
    assert told["hint"].startswith("A query has 10 seconds: ")


def test_nothing_of_a_session_stays(sales: World, open_ui: OpenUi) -> None:
    query = "select pg_try_advisory_lock(7), set_config('search_path', 'microbatch', false), pg_backend_pid()"
    ((_, _, backend),) = rows(sales, open_ui, query)

    # Its socket is closed before the answer comes; the server takes a moment to see that.
    wait_for("the session has ended", lambda: not sales.rows(f"select 1 from pg_stat_activity where pid = {backend}"))
    assert sales.rows("select count(*) from pg_locks where locktype = 'advisory' and objid = 7") == [(0,)]
    assert rows(sales, open_ui, "select current_setting('search_path'), current_user") == [["public", "reader"]]


def test_a_session_that_is_ended_is_an_answer_too(sales: World, open_ui: OpenUi) -> None:
    answer = ask(sales, open_ui, "select pg_terminate_backend(pg_backend_pid())")

    assert answer.status_code == 503
    assert "terminating connection" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"query": ""}, {"query": "select 1\0"}, {"query": "x" * 100_001}])
def test_what_is_no_text_of_a_query_is_refused(sales: World, open_ui: OpenUi, body: dict[str, str]) -> None:
    assert open_ui(sales.connections).post(RUN, json=body).status_code == 422


def test_who_may_not_read_all_gets_nothing(sales: World, open_ui: OpenUi) -> None:
    client = open_ui(sales.connections, Person("eve", reads_data=False))

    answers = [client.get("/microbatch/api/sql/catalog"), client.get("/microbatch/api/sql/examples")]
    answers.append(client.post(RUN, json={"query": "select 1"}))

    assert [answer.status_code for answer in answers] == [403, 403, 403]


# -- what there is to ask ----------------------------------------------------------------------------------------


def test_the_catalog_has_what_the_role_may_read_and_nothing_else(sales: World, open_ui: OpenUi) -> None:
    schemas = open_ui(sales.connections).get("/microbatch/api/sql/catalog").json()["schemas"]

    assert [schema["name"] for schema in schemas] == ["public", "microbatch"]
    tables = {f"{schema['name']}.{table['name']}": table for schema in schemas for table in schema["tables"]}
    assert {name: table["kind"] for name, table in tables.items() if name.startswith("public.")} == {
        "public.aggregated_sales": "table",
        "public.aggregated_sales_as_of": "function",
        "public.aggregated_sales_batch": "view",
        "public.aggregated_sales_contribution": "table",
        "public.aggregated_sales_history": "table",
        "public.aggregated_sales_late": "view",
        "public.aggregated_sales_mixed": "view",
    }
    first = tables["public.aggregated_sales"]["columns"][:2]
    assert [(column["name"], column["type"]) for column in first] == [
        ("window_start", "timestamp with time zone"),
        ("window_end", "timestamp with time zone"),
    ]
    assert tables["microbatch.gap"]["comment"].startswith("Offsets between those that were read")
    segment = {column["name"] for column in tables["microbatch.outbox_segment"]["columns"]}
    assert "messages" in segment
    assert "payload" not in segment


def test_every_example_of_the_five_pipelines_works(stack: Stack, warehouse: str, open_ui: OpenUi) -> None:
    made = new_world(stack, warehouse)
    for file, message in MESSAGES.items():
        pipeline = with_topics_of_its_own(declared(file), made.pipeline.source.name)
        create_topics([pipeline], made.connections)
        world = World(pipeline, made.connections)
        world.send(json.dumps(message).encode(), json.dumps(message).encode(), b"junk")
        world.run(60)
    client = open_ui(made.connections)
    examples = client.get("/microbatch/api/sql/examples").json()

    answers = {(each["pipeline"], each["title"]): client.post(RUN, json={"query": each["query"]}) for each in examples}

    assert {key: answer.json() for key, answer in answers.items() if answer.status_code != 200} == {}
    # Nothing was corrected, came late, or was published an hour ago.
    silent = ("Corrections", "Late data", "As it was", "What waits")
    assert [key for key, answer in answers.items() if not answer.json()["rows"] and not key[1].startswith(silent)] == []
    assert {pipeline for pipeline, _ in answers} == MESSAGES.keys()
    assert all(3 <= sum(name == pipeline for name, _ in answers) <= 9 for pipeline in MESSAGES)


def test_examples_are_those_of_the_pipelines_that_a_person_may_see(sales: World, open_ui: OpenUi) -> None:
    client = open_ui(sales.connections, Person(dags=frozenset()))

    assert client.get("/microbatch/api/sql/examples").json() == []
