"""What the database roles of the stack can do: each only its own."""

from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_pipeline import Message, World, new_world, sale
from fix_stack import Stack
from local import roles
from microbatch.errors import MicrobatchError

ROLES = ("microbatch", "reader", "airflow")
PAYLOADS = ("outbox_segment", "set_aside")


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    """A pipeline that has run in the warehouse itself, where the roles of the stack have their rights."""
    made = new_world(stack, stack.owner_dsn, deployment="roles")
    made.send(Message(sale("ada", 3)), Message(b"junk"))
    made.run(0)
    yield made
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("drop schema microbatch, microbatch_topic cascade")
        owner.execute("drop table aggregated_sales, aggregated_sales_history, aggregated_sales_contribution")


def dsn_of(stack: Stack, role: str, database: str = roles.WAREHOUSE) -> str:
    dsns = {
        "microbatch": stack.owner_dsn,
        "reader": stack.reader_dsn,
        "airflow": roles.airflow_dsn(stack.postgres_port, stack.credentials),
    }
    return make_conninfo(dsns[role], dbname=database)


def refused(dsn: str, statement: str) -> bool:
    """Whether PostgreSQL says that the role has not the right for it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        # The reading role is told to be read-only, which it may change: its rights have to hold without.
        connection.execute("set default_transaction_read_only = off")
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


# -- where they come in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "database"),
    [
        *(("microbatch", name) for name in ("airflow", "postgres", "template1")),
        *(("reader", name) for name in ("airflow", "postgres", "template1")),
        *(("airflow", name) for name in ("warehouse", "postgres", "template1")),
    ],
)
def test_a_role_cannot_connect_to_a_database_that_is_not_for_it(stack: Stack, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{database}"'):
        psycopg.connect(dsn_of(stack, role, database))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_rights_over_the_server(stack: Stack, role: str) -> None:
    with psycopg.connect(stack.admin_dsn) as admin:
        attributes = admin.execute(
            "select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
            " from pg_roles where rolname = %s",
            [role],
        ).fetchone()
        member = admin.execute("select count(*) from pg_auth_members where member = %s::regrole", [role]).fetchone()

    assert attributes == (False,)
    assert member == (0,)


# -- the role that runs pipelines --------------------------------------------------------------------------------


def test_the_role_that_runs_pipelines_owns_the_warehouse_and_what_is_in_it_only(stack: Stack, world: World) -> None:
    with psycopg.connect(stack.admin_dsn) as admin:
        owned = admin.execute(
            "select distinct coalesce(d.datname, o.datname) from pg_shdepend as s"
            " left join pg_database as d on d.oid = s.dbid"
            " left join pg_database as o on s.classid = 'pg_database'::regclass and o.oid = s.objid"
            " where s.refclassid = 'pg_authid'::regclass and s.refobjid = 'microbatch'::regrole and s.deptype = 'o'"
        ).fetchall()

    # Tests make databases of their own, `test_…`, for this role.
    assert {name for (name,) in owned if not str(name).startswith("test_")} == {roles.WAREHOUSE}


@pytest.mark.parametrize(
    "statement",
    [
        "select pg_read_file('/etc/hostname')",
        "select pg_ls_dir('/')",
        "create table leak (line text); copy leak from '/etc/hostname'",
        "create table leak (line text); copy leak from program 'id'",
        "copy (select 1) to '/tmp/microbatch-leak'",
        "copy (select 1) to program 'cat'",
        "select lo_import('/etc/hostname')",
        "create extension file_fdw",
        "create extension dblink",
        "create function f() returns int language c as 'libc', 'system'",
        "create role mine",
        "alter role microbatch superuser",
        "alter role reader password 'x'",
        "create database mine",
        "alter system set listen_addresses = '*'",
        "set role postgres",
        "set role reader",
        "select * from pg_authid",
        "create tablespace mine location '/tmp'",
        "select pg_reload_conf()",
    ],
)
def test_the_role_that_runs_pipelines_cannot(stack: Stack, statement: str) -> None:
    assert refused(stack.owner_dsn, statement)


# -- the role that reads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "aggregated_sales",
        "aggregated_sales_history",
        "aggregated_sales_contribution",
        "aggregated_sales_as_of(now())",
        *(f"aggregated_sales_{view}" for view in ("batch", "late", "mixed")),
        *(f"microbatch.{view}" for view in ("lag", "gap", "freshness", "batch_history", "lateness")),
        *(f"microbatch.{table}" for table in ("pipeline", "batch", "offset_range", "run", "reject", "failure")),
        *(f"microbatch.{table}" for table in ("merge", "publisher", "partition_progress", "decision")),
    ],
)
def test_the_reading_role_reads(stack: Stack, world: World, query: str) -> None:
    with psycopg.connect(stack.reader_dsn) as reader:
        reader.execute(f"select t::text from {query} as t".encode()).fetchall()


@pytest.mark.parametrize("table", PAYLOADS)
def test_the_reading_role_reads_about_waiting_messages_but_not_the_messages(
    stack: Stack, world: World, table: str
) -> None:
    assert refused(stack.reader_dsn, f"select payload from microbatch.{table}")
    assert refused(stack.reader_dsn, f"select * from microbatch.{table}")
    with psycopg.connect(stack.reader_dsn) as reader:
        assert reader.execute(f"select count(*), max(pipeline_id) from microbatch.{table}".encode()).rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update aggregated_sales set amount_usd = 0",
        "insert into aggregated_sales select * from aggregated_sales",
        "delete from aggregated_sales_history",
        "truncate aggregated_sales",
        "drop table aggregated_sales",
        "alter table aggregated_sales add column mine int",
        "begin; lock table aggregated_sales in exclusive mode",
        "select * from aggregated_sales for update",
        "update microbatch.batch set messages = 0",
        "delete from microbatch.offset_range",
        "insert into microbatch.decision (pipeline_id, kind) values (1, 'recover')",
        "update microbatch.publisher set cursor = 0",
        "create table public.mine (a int)",
        "create table microbatch.mine (a int)",
        "create temporary table mine (a int)",
        "create schema mine",
        "create view public.mine as select 1",
        "create function public.mine() returns int language sql as 'select 1'",
        "select nextval('microbatch.batch_batch_id_seq')",
        "select pg_read_file('/etc/hostname')",
        "copy (select 1) to program 'cat'",
        "set role microbatch",
        "select * from pg_authid",
    ],
)
def test_the_reading_role_cannot(stack: Stack, world: World, statement: str) -> None:
    assert refused(stack.reader_dsn, statement)


def test_the_reading_role_cannot_end_sessions_of_others(stack: Stack) -> None:
    with psycopg.connect(stack.owner_dsn) as owner:
        assert refused(stack.reader_dsn, f"select pg_terminate_backend({owner.info.backend_pid})")


def test_what_a_later_pipeline_makes_is_for_the_reading_role_too(stack: Stack, world: World) -> None:
    """Its tables are there when its pipeline registers; nobody has to grant anything."""
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("create table public.later (answer int)")
    try:
        assert not refused(stack.reader_dsn, "select * from later")
        assert refused(stack.reader_dsn, "delete from later")
    finally:
        with psycopg.connect(stack.owner_dsn) as owner:
            owner.execute("drop table public.later")


def test_what_the_role_makes_without_a_schema_is_no_part_of_the_ledger(stack: Stack, world: World) -> None:
    """The role and the ledger's schema have one name, and PostgreSQL looks first into the schema of that name."""
    with psycopg.connect(stack.owner_dsn) as owner:
        owner.execute("create table mine (answer int)")
        assert owner.execute("select 'mine'::regclass = 'public.mine'::regclass").fetchone() == (True,)
        owner.rollback()


def test_a_pipeline_cannot_run_as_the_reading_role(stack: Stack, world: World) -> None:
    connections = msgspec.structs.replace(world.connections, postgres=stack.reader_dsn)

    with pytest.raises((psycopg.Error, MicrobatchError)):
        World(world.pipeline, connections).run(1)

    assert world.results() == [(0, "ada", 3, 1, True, 1)]
