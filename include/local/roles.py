"""The two databases and their roles: Airflow's, and the warehouse, which one role fills and one reads."""

import re
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from local.credentials import Credentials
from local.postgres import admin_dsn, dsn

WAREHOUSE = "warehouse"
AIRFLOW = "airflow"


def owner_dsn(port: int, credentials: Credentials) -> str:
    """How pipelines connect to the warehouse."""
    return dsn(port, "microbatch", credentials.microbatch_role, WAREHOUSE)


def reader_dsn(port: int, credentials: Credentials) -> str:
    """How people and tools that only read connect to the warehouse."""
    return dsn(port, "reader", credentials.reader_role, WAREHOUSE)


def airflow_dsn(port: int, credentials: Credentials) -> str:
    """How Airflow connects to its own database."""
    return dsn(port, "airflow", credentials.airflow_role, AIRFLOW)


def create_roles(port: int, credentials: Credentials) -> None:
    """Make what is missing of roles and databases; harmless when all is there."""
    passwords = {
        "airflow": credentials.airflow_role,
        "microbatch": credentials.microbatch_role,
        "reader": credentials.reader_role,
    }
    with psycopg.connect(admin_dsn(port, credentials), autocommit=True) as server:
        for role, password in passwords.items():
            _create_role(server, role, password)
        _create_database(server, AIRFLOW, "airflow")
        _create_database(server, WAREHOUSE, "microbatch")
        _run(server, "close_the_rest")
        _run(server, "limit_roles")
    with psycopg.connect(admin_dsn(port, credentials, WAREHOUSE), autocommit=True) as warehouse:
        _run(warehouse, "show_reader")


def _create_role(server: psycopg.Connection, role: str, password: str) -> None:
    if server.execute("select from pg_roles where rolname = %s", [role]).rowcount == 0:
        _run(server, "create_role", role=sql.Identifier(role))
    verifier = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    _run(server, "set_password", role=sql.Identifier(role), verifier=sql.Literal(verifier))


def _create_database(server: psycopg.Connection, database: str, role: str) -> None:
    if server.execute("select from pg_database where datname = %s", [database]).rowcount == 0:
        _run(server, "create_database", database=sql.Identifier(database), role=sql.Identifier(role))
    _run(server, "close_database", database=sql.Identifier(database))


def _run(connection: psycopg.Connection, name: str, **parts: Any) -> None:
    connection.execute(sql.SQL(_queries()[name]).format(**parts))


def _queries() -> dict[str, LiteralString]:
    """The named statements of roles.sql."""
    text = Path(__file__).with_name("roles.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], cast("list[LiteralString]", parts[2::2]), strict=True))
