"""Query plans: what a run asks of the ledger costs the same after many batches as after ten.

Judged by plans, rows and buffers, never by seconds. Making that ledger takes a minute.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.conninfo import make_conninfo

from fix_pipeline import T0, World, sales_pipeline
from fix_stack import Stack
from microbatch.postgres import connect
from microbatch.registration import Registration, register
from microbatch.settings import Connections
from microbatch.sql import queries
from microbatch.topics import create_topics
from microbatch.view import view
from microbatch.window_tables import WindowTables

BATCHES = 500_000  # a year of minutes
PARTITIONS = 4
COVERED = BATCHES // PARTITIONS * 10  # each batch has ten offsets of one partition
PENDING = 20_000  # publications that Kafka did not take yet
NOW = datetime.fromtimestamp(T0, UTC)
GROWING = {"batch", "offset_range", "reject", "outbox_segment", "run", "merge"} | {
    f"aggregated_sales{suffix}" for suffix in ("", "_contribution", "_history")
}


READY = "update pg_index set indisready = %s where indexrelid = 'microbatch.offset_counts_once'::regclass"


class Old(msgspec.Struct, frozen=True):
    """A world whose ledger is long, and what its queries are asked with."""

    world: World
    registration: Registration
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def old(stack: Stack) -> Iterator[Old]:
    """A pipeline after many batches. The constraint's index is made afterwards: row by row it takes minutes."""
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        admin.execute("create database test_plans owner microbatch")
        dsn = make_conninfo(stack.owner_dsn, dbname="test_plans")
        connections = Connections({"bootstrap.servers": stack.bootstrap}, dsn, "plans")
        world = World(sales_pipeline("plans", PARTITIONS), connections)
        create_topics([world.pipeline], connections)
        with connect(dsn, "test") as connection:
            registration = register(world.pipeline, connections, connection)
        with psycopg.connect(make_conninfo(stack.admin_dsn, dbname="test_plans"), autocommit=True) as superuser:
            fill(superuser, registration)
        yield Old(world, registration, facts_of(registration))
        admin.execute("drop database test_plans with (force)")


def fill(connection: psycopg.Connection, registration: Registration) -> None:
    connection.execute("set synchronous_commit = off; set session_replication_role = replica")  # no foreign keys
    connection.execute("set maintenance_work_mem = '256MB'; set max_parallel_maintenance_workers = 0")
    connection.execute(READY, [False])
    numbers = {
        "batches": BATCHES, "partitions": PARTITIONS, "covered": COVERED, "pending": PENDING, "now": NOW,
        "pipeline_id": registration.pipeline_id, "topic_id": registration.topic_id,
        "hash": registration.definition_hash,
    }  # fmt: skip
    for statement in STATEMENTS.split(";"):
        connection.execute(statement.encode(), numbers if "%(" in statement else None)
    connection.execute(READY, [True])
    connection.execute("vacuum full microbatch.offset_range")
    connection.execute("vacuum analyze")


# Batch b covers ten offsets of partition b mod 4 and one window, the minute b before now; the last batch of each
# partition stands behind a gap, and one window of the last hour has been touched by three batches.
STATEMENTS = """
insert into microbatch.batch (pipeline_id, shard, kind, batch_time, definition_hash, messages, committed_at)
select %(pipeline_id)s, 0, 'catch up', %(now)s, %(hash)s, 10, %(now)s from generate_series(1, %(batches)s::int);
insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets, messages)
select b, %(pipeline_id)s, 'plans', %(topic_id)s, b %% %(partitions)s, int8range(n * 10, n * 10 + 10), 10
from generate_series(1, %(batches)s::int) as b, lateral (select (b - 1) / %(partitions)s as n) as nth;
insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets, messages)
select %(batches)s, %(pipeline_id)s, 'plans', %(topic_id)s, p, int8range(%(covered)s + 50, %(covered)s + 60), 10
from generate_series(0, %(partitions)s - 1) as p;
update microbatch.partition_progress set covered_until = %(covered)s, caught_up_to = %(now)s;
update microbatch.pipeline set closed_until = %(now)s::timestamptz - interval '1 minute';
insert into aggregated_sales_contribution (
    batch_id, window_start, window_end, seller_id, amount_usd, amount_usd__count, sales
)
select b, m.at, m.at + interval '1 minute', 'seller ' || b %% 4, b, 10, 10
from generate_series(1, %(batches)s::int) as b,
    lateral (select %(now)s - make_interval(mins => %(batches)s - b + 1) as at) as m;
insert into aggregated_sales_contribution (
    batch_id, window_start, window_end, seller_id, amount_usd, amount_usd__count, sales
)
select %(batches)s - k, %(now)s - interval '30 minutes', %(now)s - interval '29 minutes', 'seller ' || k, k, 10, 10
from generate_series(0, 2) as k
on conflict do nothing;
insert into aggregated_sales (
    window_start, window_end, seller_id, amount_usd, sales, is_final, revision, updated_at
)
select window_start, window_start + interval '1 minute', seller_id, amount_usd, sales, true, 1, %(now)s
from aggregated_sales_contribution
where batch_id < %(batches)s - 3;
insert into aggregated_sales_history (
    window_start, window_end, seller_id, amount_usd, sales, is_final, revision, retracted, batches, merge_id, valid_from
)
select window_start, window_end, seller_id, amount_usd, sales, true, 1, false, '{1}', 1, updated_at
from aggregated_sales;
insert into microbatch.merge (pipeline_id, closed_until, complete_from, merged_at)
select %(pipeline_id)s, %(now)s, '-infinity', %(now)s from generate_series(1, %(batches)s::int / 10);
insert into microbatch.touched (pipeline_id, output, batch_id, window_start)
select %(pipeline_id)s, 'public.aggregated_sales', %(batches)s - k, %(now)s - interval '30 minutes'
from generate_series(0, 2) as k;
insert into microbatch.run (pipeline_id, dag_id, run_id, shard, clear_number, behind)
select %(pipeline_id)s, 'sales', 'run ' || b, 0, 0, 0 from generate_series(1, %(batches)s::int) as b;
insert into microbatch.outbox_segment (
    pipeline_id, batch_id, topic_id, partition, start_offset, messages, payload
)
select %(pipeline_id)s, b, %(topic_id)s, b %% %(partitions)s, b / %(partitions)s * 10, 1, repeat('x', 200)::bytea
from generate_series(1, %(pending)s + 5) as b;
update microbatch.outbox_segment set number = segment_id where batch_id <= %(pending)s;
update microbatch.publisher set last_publication = %(pending)s
"""


def facts_of(registration: Registration) -> dict[str, Any]:
    """Parameters as a run would have them."""
    partitions = list(range(PARTITIONS))
    touched = [(BATCHES - k, NOW - timedelta(minutes=30)) for k in range(3)]
    return {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        "partitions": partitions,
        "start_offsets": [None] * PARTITIONS,
        "end_offsets": [COVERED + 100] * PARTITIONS,
        "looked_at_ends": [COVERED + 100] * PARTITIONS,
        "looked_at": NOW,
        "caught_up_to": NOW,
        "batches": [batch for batch, _ in touched],
        "windows": [window for _, window in touched],
        "whole_windows": [],
        "complete_before": "-infinity",
        "complete_from": "-infinity",
        "closed_before": NOW - timedelta(minutes=1),
        "closed_until": NOW,
        "open_windows": False,
        "merge_id": 1,
        "merged_at": NOW,
        "max_messages": 10_000,
        "max_bytes": 8 * 1024 * 1024,
        "number": 100,
        "batch_id": BATCHES,
        "partition": BATCHES % PARTITIONS,
        "start_offset": COVERED - 10,
        "messages": 10,
        "rejected": 0,
        "repeated": 0,
        "filtered": 0,
    }


class Cost(msgspec.Struct):
    """What a query read: tables that it scanned from end to end, the most rows of a node, and pages."""

    seq_scans: set[str]
    rows: int
    pages: int


def cost(plan: dict[str, Any]) -> Cost:
    seq_scans, rows = set(), 0
    todo = [plan]
    while todo:
        node = todo.pop()
        todo += node.get("Plans", [])
        if node["Node Type"] == "Seq Scan":
            seq_scans.add(node["Relation Name"])
        passed = (
            node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        )
        rows = max(rows, round(passed * node["Actual Loops"]))
    return Cost(seq_scans & GROWING, rows, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def explain(old: Old, query: str, facts: dict[str, Any], *, generic: bool = False, first: str = "") -> Cost:
    """Run a query as the engine does, roll it back, and say what it read.

    Generic: with the plan that PostgreSQL may use once psycopg has prepared a query that runs often. First: what
    comes before it in its transaction.
    """
    with psycopg.connect(old.world.connections.postgres) as connection:
        connection.execute(first.encode())
        converted = PostgresQuery(Transformer(connection))
        converted.convert(query.encode(), facts)
        mode = "force_generic_plan" if generic else "force_custom_plan"
        connection.execute(f"set local plan_cache_mode = {mode}".encode())
        connection.execute(b"prepare asked as " + converted.query)
        names = list(dict.fromkeys(part.partition(")")[0] for part in query.split("%(")[1:]))
        literals = sql.SQL(", ").join(sql.Literal(facts[name]) for name in names)
        given = sql.SQL("({})").format(literals) if names else sql.SQL("")
        asked = sql.SQL("explain (analyze, buffers, format json) execute asked {}").format(given)
        row = psycopg.ClientCursor(connection).execute(asked).fetchone()
        connection.rollback()
    assert row is not None
    return cost(row[0][0]["Plan"])


# file, query, the most rows that a node may have, the most pages
CLAIM = [
    ("ledger", "highest_covered", 20, 200),
    ("ledger", "uncovered", 20, 200),
    ("ledger", "advance_progress", 20, 200),
    ("ledger", "finish_batch", 1, 100),
    ("ledger", "run_completed", 5, 50),
    ("ledger", "update_complete_from", 20, 100),
]
REDO = [
    ("ledger", "batches_of_run", 5, 50),
    ("ledger", "batch_to_redo", 1, 50),
    ("ledger", "ranges_of_batch", 20, 50),
    ("ledger", "lock_batch", 1, 50),
    ("ledger", "mark_redone", 1, 100),
]
INTERVAL = [("ledger", "uncovered"), ("ledger", "covering"), ("ledger", "reach_back")]
PUBLISH = [
    ("outbox", "closing", 20, 50),
    ("outbox", "take_touched", 20, 50),
    ("outbox", "positions", 20, 50),
    ("outbox", "run_ended_behind", 1, 50),
]


@pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])
@pytest.mark.parametrize(("file", "name", "rows", "pages"), [*CLAIM, *REDO, *PUBLISH])
def test_a_query_reads_no_more_of_an_old_ledger_than_it_needs(
    old: Old, file: str, name: str, rows: int, pages: int, generic: bool
) -> None:
    whose = {"dag_id": "sales", "run_id": "run 7", "shard": 0, "clear_number": 1, "completed": 0}
    facts = {**old.facts, **whose, "definition_hash": old.registration.definition_hash}

    found = explain(old, queries(file)[name], facts, generic=generic)

    assert found.seq_scans == set()
    assert found.rows <= rows
    assert found.pages <= pages


FORGET = """
select pg_clear_relation_stats(n.nspname, c.relname), pg_clear_attribute_stats(n.nspname, c.relname, a.attname, false)
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid
where c.relkind = 'r' and n.nspname in ('microbatch', 'public') and a.attnum > 0 and not a.attisdropped;
"""


@pytest.mark.parametrize(("file", "name", "rows", "pages"), [*CLAIM, *REDO, *PUBLISH])
def test_it_reads_no_more_while_nobody_has_statistics(old: Old, file: str, name: str, rows: int, pages: int) -> None:
    whose = {"dag_id": "sales", "run_id": "run 7", "shard": 0, "clear_number": 1, "completed": 0}
    facts = {**old.facts, **whose, "definition_hash": old.registration.definition_hash}

    found = explain(old, queries(file)[name], facts, first=FORGET)

    assert found.seq_scans == set()
    assert (found.rows <= rows, found.pages <= pages) == (True, True)


@pytest.mark.parametrize("first", ["", FORGET], ids=["known", "unknown"])
@pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])
def test_the_ranges_of_a_batch_are_counted_by_their_offsets(old: Old, generic: bool, first: str) -> None:
    counts = {f"{name}_each": [10] for name in ("messages", "rejected", "repeated", "filtered")}
    place = {"partitions": [BATCHES % PARTITIONS], "start_offsets": [COVERED - 10]}

    found = explain(
        old, queries("ledger")["count_ranges"], {**old.facts, **place, **counts}, generic=generic, first=first
    )

    assert found.seq_scans == set()
    assert (found.rows <= 20, found.pages <= 100) == (True, True)


@pytest.mark.parametrize(("file", "name"), INTERVAL)
def test_an_interval_reads_no_more_of_an_old_ledger_than_its_offsets(old: Old, file: str, name: str) -> None:
    begin = COVERED // 2
    spans = {"start_offsets": [begin] * PARTITIONS, "end_offsets": [begin + 100] * PARTITIONS}
    # What reaches back from there to the beginning is nothing.
    facts = {**old.facts, **spans, "complete_from": NOW}

    found = explain(old, queries(file)[name], facts)

    assert found.seq_scans == set()
    assert found.rows <= 50
    assert found.pages <= 500


def test_claiming_finds_the_gap_and_nothing_else(old: Old) -> None:
    with psycopg.connect(old.world.connections.postgres) as connection:
        rows = connection.execute(queries("ledger")["uncovered"], old.facts).fetchall()

    expected = [
        (p, *gap) for gap in ((COVERED, COVERED + 50), (COVERED + 60, COVERED + 100)) for p in range(PARTITIONS)
    ]
    assert rows == expected


def window_tables(old: Old) -> WindowTables:
    return WindowTables(old.world.pipeline, old.world.pipeline.windows[0], view(old.world.pipeline))


def publish_changes(old: Old) -> str:
    return window_tables(old).compose("publish_changes").as_string()


@pytest.mark.parametrize("first", ["", FORGET], ids=["known", "unknown"])
def test_a_merge_reads_only_what_was_touched_and_what_has_closed(old: Old, first: str) -> None:
    found = explain(old, publish_changes(old), old.facts, first=first + queries("outbox")["plan_by_index"])

    assert found.seq_scans == set()
    assert found.rows <= 50
    assert found.pages <= 500


def test_a_merge_that_shows_open_windows_reads_only_what_was_touched(old: Old) -> None:
    found = explain(
        old, publish_changes(old), {**old.facts, "open_windows": True}, first=queries("outbox")["plan_by_index"]
    )

    assert found.seq_scans == set()
    assert (found.rows <= 50, found.pages <= 500) == (True, True)


def test_a_merge_after_downtime_reads_what_has_closed_since(old: Old) -> None:
    facts = {**old.facts, "closed_before": NOW - timedelta(hours=2)}

    found = explain(old, publish_changes(old), facts, first=queries("outbox")["plan_by_index"])

    assert found.seq_scans == set()
    assert found.rows <= 500
    assert found.pages <= 10_000


def test_a_merge_of_a_thousand_touched_windows_reads_those(old: Old) -> None:
    facts = {
        **old.facts,
        "batches": [BATCHES - 10 - k for k in range(1000)],
        "windows": [NOW - timedelta(minutes=11 + k) for k in range(1000)],
    }

    found = explain(old, publish_changes(old), facts, first=queries("outbox")["plan_by_index"])

    assert found.seq_scans == set()
    assert found.rows <= 5_000
    assert found.pages <= 50_000


def test_numbering_reads_only_what_is_not_numbered(old: Old) -> None:
    found = explain(old, queries("outbox")["number_segments"], old.facts)

    assert found.seq_scans == set()
    assert found.rows <= 50
    assert found.pages <= 500


def test_a_lot_reads_what_it_sends(old: Old) -> None:
    found = explain(old, queries("outbox")["publications"], {**old.facts, "last": 100})

    assert found.seq_scans == set()
    assert found.rows <= 200
    assert found.pages <= 2_000


def test_the_sizes_of_the_next_publications_are_read_of_no_more_than_a_thousand(old: Old) -> None:
    found = explain(old, queries("outbox")["waiting_publications"], old.facts)

    assert found.seq_scans == set()
    assert found.rows <= 1_000
    assert found.pages <= 3_000


def test_marking_reads_what_was_sent(old: Old) -> None:
    found = explain(old, queries("outbox")["mark"], old.facts)

    assert found.seq_scans == set()
    assert found.rows <= 200
    assert found.pages <= 2_000


@pytest.mark.parametrize("first", ["", FORGET], ids=["known", "unknown"])
def test_the_revisions_of_a_merge_are_found_by_its_number(old: Old, first: str) -> None:
    query = window_tables(old).compose("revisions_of_merge").as_string()

    found = explain(old, query, {"merge_id": 2}, first=first + queries("outbox")["plan_by_index"])

    assert found.seq_scans == set()
    assert (found.rows, found.pages <= 50) == (0, True)


@pytest.mark.parametrize("results", ["aggregated_sales", "aggregated_sales_as_of(%(now)s::timestamptz)"])
def test_a_question_about_a_key_reads_the_windows_that_it_asks_for(old: Old, results: str) -> None:
    question = (
        f"select sum(amount_usd) from {results} where seller_id = 'seller 1'"
        " and window_start >= %(now)s::timestamptz - interval '1 day' and window_start < %(now)s::timestamptz"
    )

    found = explain(old, question, {"now": NOW})

    assert found.seq_scans == set()
    assert (found.rows <= 1_500, found.pages <= 1_500) == (True, True)


def test_where_a_result_comes_from_is_found_by_numbers_of_batches(old: Old) -> None:
    question = "select * from aggregated_sales_batch where window_start = %(at)s::timestamptz"

    found = explain(old, question, {"at": NOW - timedelta(hours=1)})

    assert found.seq_scans == set()
    assert (found.rows <= 50, found.pages <= 100) == (True, True)


@pytest.mark.parametrize("view", ["aggregated_sales_late", "aggregated_sales_mixed", "microbatch.lateness"])
def test_a_view_of_what_is_rare_does_not_read_all(old: Old, view: str) -> None:
    found = explain(old, f"select * from {view}", {})

    assert found.seq_scans == set()
    assert (found.rows <= 50, found.pages <= 500) == (True, True)


@pytest.mark.parametrize("view", ["gap", "freshness", "lag"])
def test_a_view_reads_no_more_than_it_shows(old: Old, view: str) -> None:
    found = explain(old, f"select * from microbatch.{view}", {})

    assert found.seq_scans == set()
    assert found.rows <= 50
    assert found.pages <= 500
