"""Bringing the ledger's schema to this engine's version."""

from typing import Final

from microbatch.errors import SchemaChangedError, SchemaTooNewError
from microbatch.postgres import Connection
from microbatch.sql import Migration, migrations, queries

_LEDGER: Final = queries("ledger")


def migrate(connection: Connection) -> list[str]:
    """Apply the migrations that are missing, all in one transaction; returns their names.

    Two processes that do it at once: one waits for the other and finds nothing to do.

    Raises:
        SchemaTooNewError: a newer engine was here.
        SchemaChangedError: an applied migration was other than the file that this engine has.
    """
    if not _missing(connection):
        return []
    with connection.transaction():
        connection.execute(_LEDGER["lock_migrations"])
        connection.execute("create schema if not exists microbatch")
        connection.execute(_LEDGER["create_migration_table"])
        missing = _missing(connection)
        for migration in missing:
            connection.execute(migration.text)
            facts = {"version": migration.version, "name": migration.name, "sha256": migration.sha256}
            connection.execute(_LEDGER["record_migration"], facts)
    return [migration.name for migration in missing]


def _missing(connection: Connection) -> list[Migration]:
    known = migrations()
    there = connection.execute("select to_regclass('microbatch.migration') is not null").fetchone()
    if there != (True,):
        return known
    applied = connection.execute(_LEDGER["applied_migrations"]).fetchall()
    for version, name, sha256 in applied:
        file = next((migration for migration in known if migration.version == version), None)
        if file is None:
            raise SchemaTooNewError(found=version, known=known[-1].version)
        if file.sha256 != sha256:
            raise SchemaChangedError(name=name)
    return known[len(applied) :]
