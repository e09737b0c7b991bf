"""Background processes that outlive the command that started them, known by pid and time of birth."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from local.errors import ComponentDiedError, ComponentSlowError, ComponentStuckError
from local.files import read_json, write_json

POLL_S = 0.05
KILL_DEADLINE_S = 10.0
TAIL_WIDTH = 250
TAIL_BYTES = 262_144
TAIL_ERRORS = 5
_ERROR = re.compile(r"\b(ERROR|FATAL|PANIC|CRITICAL)\b|^Caused by: ")
"""As Kafka, PostgreSQL and Airflow mark them."""

OWNER_ONLY = 0o077
"""The umask of every component: what it writes is for its own account."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that this very process started: it has to reap them, or they stay as zombies."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a component: its whole environment is given, nothing secret belongs into `arguments`."""

    component: str
    arguments: list[str]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    port: int | None = None
    os_user: str | None = None
    stop_signal: int = signal.SIGTERM
    stop_deadline_s: float = 20.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a started component; `birth` tells its pid from a later process with the same one."""

    component: str
    pid: int
    birth: str
    started_at: datetime
    log: str
    port: int | None
    stop_signal: int
    stop_deadline_s: float


def start(home: Path, launch: Launch) -> Record:
    """Start a component in a session of its own, detached from the terminal, and record it."""
    _keep_previous_log(launch.log)
    with launch.log.open("ab") as log:
        child = subprocess.Popen(
            launch.arguments,
            cwd=launch.folder,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=launch.os_user,
            group=launch.os_user,
            extra_groups=[] if launch.os_user else None,
            umask=OWNER_ONLY,
        )
    _children[child.pid] = child
    record = Record(
        component=launch.component,
        pid=child.pid,
        birth=birth_of(child.pid) or "",
        started_at=datetime.now(UTC),
        log=str(launch.log),
        port=launch.port,
        stop_signal=launch.stop_signal,
        stop_deadline_s=launch.stop_deadline_s,
    )
    write_json(_pid_file(home, launch.component), record)
    return record


def ensure(home: Path, component: str, start_it: Callable[[], Record]) -> Record:
    """The component if it runs; else it is started, after what a crash left is gone."""
    record = load(home, component)
    if record is not None and is_alive(record):
        return record
    stop(home, component)
    return start_it()


def load(home: Path, component: str) -> Record | None:
    """The record of a component that was started and not stopped since, whether it is still alive or not."""
    return read_json(_pid_file(home, component), Record)


def is_alive(record: Record) -> bool:
    """Whether that very process still runs; a zombie does not, and neither does a later owner of its pid."""
    child = _children.get(record.pid)
    if child is not None and child.poll() is not None:
        return False
    return bool(record.birth) and birth_of(record.pid) == record.birth


def wait_until_ready(record: Record, answers: Callable[[], str | None], timeout_s: float) -> None:
    """Wait until `answers()` gives None; what it gives instead says what is missing."""
    deadline = time.monotonic() + timeout_s
    while True:
        reason = answers()
        if reason is None:
            return
        facts = {"component": record.component, "log": record.log}
        if not is_alive(record):
            raise ComponentDiedError(**facts, tail=tail(Path(record.log)))
        if time.monotonic() > deadline:
            raise ComponentSlowError(**facts, timeout_s=timeout_s, reason=reason, tail=tail(Path(record.log)))
        time.sleep(POLL_S)


def stop(home: Path, component: str, strays: Callable[[], list[psutil.Process]] = list) -> bool:
    """Stop a component and all that it started: asked first, killed after its deadline.

    Works as well for what is left of a component whose first process died; `strays` finds those that left its
    session. Returns whether there was anything to stop. Processes that we did not start are never touched.
    """
    for child in _children.values():
        child.poll()
    record = load(home, component)
    if record is None:
        return False
    left = members(record) + strays()
    if is_alive(record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, record.stop_signal)
        _wait_gone(left, record.stop_deadline_s)
    kill(members(record) + strays() + left, component)
    _reap(record.pid)
    _pid_file(home, component).unlink(missing_ok=True)
    return bool(left)


def kill(processes: Iterable[psutil.Process], component: str) -> None:
    """End processes with SIGKILL and wait until they are gone."""
    for process in (alive := [process for process in processes if _runs(process)]):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    left = _wait_gone(alive, KILL_DEADLINE_S)
    if left:
        raise ComponentStuckError(component=component, pids=",".join(str(process.pid) for process in left))


def members(record: Record) -> list[psutil.Process]:
    """The component's processes: its first one, all descendants, and whatever else is in its session.

    A session's number is not given to a new process while any member lives, so members found by it are ours.
    """
    found: dict[int, psutil.Process] = {}
    if is_alive(record):
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(record.pid)
            found = {process.pid: process for process in [leader, *leader.children(recursive=True)]}
    elif birth_of(record.pid) is not None:
        return []  # the pid is somebody else's by now, so nobody of the session was left
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == record.pid:
                found.setdefault(pid, psutil.Process(pid))
    return [process for process in found.values() if _runs(process)]


def birth_of(pid: int) -> str | None:
    """When a process was born, independent of the clock if possible; None if there is none, or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        fields = Path(f"/proc/{pid}/stat")
        if fields.exists():  # Linux: clock ticks since this boot
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            ticks = fields.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
            return f"{boot}/{ticks}"
        return f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for a person; above it, the last errors that are further up.

    A Kafka that cannot start says why, and then, in 200 lines, how it shuts down.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    all_lines = [line[:TAIL_WIDTH] for line in text.splitlines()]
    errors = [line for line in all_lines[:-lines] if _ERROR.search(line)][-TAIL_ERRORS:]
    above = [*errors, "[…]"] if errors else []
    return "\n".join(above + all_lines[-lines:]) or "(empty)"


def _keep_previous_log(log: Path) -> None:
    """Each start has a log of its own; the one before is kept beside it."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)


def _pid_file(home: Path, component: str) -> Path:
    return home / "run" / f"{component}.json"


def _runs(process: psutil.Process) -> bool:
    child = _children.get(process.pid)
    if child is not None:
        child.poll()
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _reap(pid: int) -> None:
    child = _children.pop(pid, None)
    if child is not None:
        child.wait(KILL_DEADLINE_S)


def _wait_gone(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_s
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return left
