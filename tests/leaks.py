"""What a stack shows to others: files that they may open, addresses that it listens on, texts with its secrets."""

import contextlib
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from psycopg import sql

from local import process
from local.credentials import load_credentials
from local.home import database_user

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(home: Path) -> list[tuple[str, str]]:
    """What in the folder somebody else than its owner may read, write or pass through: path and mode."""
    found = []
    for path in (home, *home.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # the database deletes files while we look
            found.append((path, path.lstat().st_mode))
    return [
        (str(path.relative_to(home)), stat.filemode(mode))
        for path, mode in found
        if mode & _OTHERS and not stat.S_ISLNK(mode)
    ]


def must_be_open() -> list[tuple[str, str]]:
    """PostgreSQL does not run as root; under root its account's group passes through the folder, and reads nothing."""
    return [(".", "drwx--x---")] if database_user() else []


def members(home: Path, components: Iterable[str]) -> list[psutil.Process]:
    """All processes of some components, which run."""
    records = [process.load(home, component) for component in components]
    assert all(records)
    return [member for record in records if record for member in process.members(record)]


def command_lines(processes: Iterable[psutil.Process]) -> list[str]:
    """What the process list shows of them to everybody."""
    return [" ".join(each.cmdline()) for each in processes if each.is_running()]


def listening(processes: Iterable[psutil.Process]) -> list[str]:
    """The addresses on which they wait for connections."""
    return [address for each in processes for address in _listening(each)]


def _listening(one: psutil.Process) -> list[str]:
    """Of one process; of none, if it has ended meanwhile."""
    try:
        connections = one.net_connections("inet")
    except psutil.NoSuchProcess:
        return []
    return [str(found.laddr.ip) for found in connections if found.status == psutil.CONN_LISTEN]


def with_secrets(home: Path, texts: Iterable[str]) -> list[str]:
    """Those texts that have one of the stack's secrets in them."""
    secrets = msgspec.structs.astuple(load_credentials(home))
    return [text for text in texts if any(secret in text for secret in secrets)]


def rows_with_secrets(home: Path, dsn: str) -> dict[str, tuple[int, int]]:
    """Of each table of a database: how many rows it has, and in how many one of the stack's secrets stands."""
    secrets = list(msgspec.structs.astuple(load_credentials(home)))
    found: dict[str, tuple[int, int]] = {}
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for table in tables:
            counts: Any = connection.execute(
                sql.SQL(
                    "select count(*), count(*) filter (where exists ("
                    "select from unnest(%s::text[]) as secret where position(secret in t::text) > 0)) from {} as t"
                ).format(sql.Identifier(*table)),
                [secrets],
            ).fetchone()
            found[".".join(table)] = counts
    return found
