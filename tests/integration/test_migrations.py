"""Migrations: the ledger's schema, brought to this engine's version exactly once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import cast

import psycopg
import pytest
from psycopg import sql
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer

from fix_everything import everything
from fix_pipeline import World
from microbatch.errors import SchemaChangedError, SchemaTooNewError
from microbatch.migrations import migrate
from microbatch.output_tables import output_tables
from microbatch.postgres import connect
from microbatch.registration import register
from microbatch.sql import migrations, queries
from microbatch.tables import Templates
from microbatch.topics import create_topics

KNOWN = [migration.name for migration in migrations()]


def migrated(dsn: str) -> list[str]:
    with connect(dsn, "test") as connection:
        return migrate(connection)


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_an_empty_database_gets_all_migrations_and_a_second_call_none(empty: str) -> None:
    assert migrated(empty) == KNOWN
    assert migrated(empty) == []


def test_what_was_applied_is_on_record(empty: str) -> None:
    migrated(empty)

    with psycopg.connect(empty) as connection:
        rows = connection.execute("select version, name, sha256 from microbatch.migration order by 1").fetchall()
    assert rows == [(migration.version, migration.name, migration.sha256) for migration in migrations()]


def test_of_many_that_migrate_at_once_one_does_it(empty: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(migrated, [empty] * 8))

    assert sorted(applied) == [[]] * 7 + [KNOWN]


def test_a_migration_that_fails_leaves_nothing(empty: str) -> None:
    execute(empty, "create schema microbatch; create table microbatch.merge (in_the_way int)")

    with pytest.raises(psycopg.errors.DuplicateTable):
        migrated(empty)

    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regclass('microbatch.pipeline')").fetchone() == (None,)
        assert connection.execute("select to_regclass('microbatch.migration')").fetchone() == (None,)


def test_a_migration_that_was_changed_is_named(empty: str) -> None:
    migrated(empty)
    execute(empty, "update microbatch.migration set sha256 = 'other' where version = 1")

    with pytest.raises(
        SchemaChangedError, match=r"migration 0001_ledger\.sql was applied with other contents; restore"
    ):
        migrated(empty)


def test_a_ledger_of_a_newer_engine_is_refused(warehouse: str) -> None:
    migrated(warehouse)
    execute(warehouse, "insert into microbatch.migration values (9999, '9999_future.sql', 'x')")

    with pytest.raises(SchemaTooNewError, match=rf"schema version 9999, this engine knows {len(KNOWN)}; upgrade"):
        migrated(warehouse)


def test_every_table_and_view_says_what_it_is_for(warehouse: str) -> None:
    migrated(warehouse)

    with psycopg.connect(warehouse) as connection:
        rows = connection.execute(
            "select relname from pg_class where relnamespace = 'microbatch'::regnamespace and relkind in ('r', 'v')"
            " and obj_description(oid, 'pg_class') is null"
        ).fetchall()
    assert rows in ([], [("migration",)])


# -- the queries fit the schema ----------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["ledger", "outbox", "resending", "rebuilding", "maintaining"])
def test_every_named_query_prepares_against_the_migrated_schema(warehouse: str, file: str) -> None:
    with connect(warehouse, "test") as connection:
        migrate(connection)
        connection.execute('create temporary table passed_before (partition int, "offset" bigint)')
        for name, query in queries(file).items():
            prepare(connection, name, query.encode())


@pytest.mark.parametrize(("output", "file"), list(enumerate(["streams", "windows", "windows", "pairs"])))
def test_every_template_prepares_against_a_registered_pipeline(
    make_world: Callable[..., World], output: int, file: str
) -> None:
    made = make_world()
    world = World(everything("templates", 2), made.connections)
    create_topics([world.pipeline], world.connections)
    tables = cast("Templates", output_tables(world.pipeline)[output])
    with connect(world.connections.postgres, "test") as connection:
        register(world.pipeline, world.connections, connection)
        with connection.transaction():
            if file == "streams":
                connection.execute(tables.compose("create_candidates"))
                connection.execute(tables.compose("create_passed_before"))
            for name in queries(file):
                query = tables.compose(name, pipeline=sql.Literal("everything"))
                prepare(connection, name, query.as_bytes(connection))


def prepare(connection: psycopg.Connection, name: str, query: bytes) -> None:
    """Let the server parse and plan it: unknown columns, types and functions are errors."""
    if query.lower().startswith((b"create", b"copy")):
        return
    converted = PostgresQuery(Transformer(connection))
    names = {part.partition(b")")[0].decode() for part in query.split(b"%(")[1:]}
    converted.convert(query, dict.fromkeys(names))
    result = connection.pgconn.prepare(name.encode(), converted.query)
    assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, f"{name}: {result.error_message.decode()}"


def test_the_files_of_migrations_are_all_found() -> None:
    folder = files("microbatch").joinpath("sql", "migrations")

    assert sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")) == KNOWN
