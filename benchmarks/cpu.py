"""CPU seconds of a live stack by kind of process, read from /proc (Linux) without disturbing what is measured.

Most of Airflow's work is done by processes that live for a second, so that looking at living processes misses much of
it. Two sources together miss nothing:

- Every look (two a second) reads the times of each process in the trees of the stack's components, and credits what
  is new to the process's kind, which its title tells: LocalExecutor's workers carry the id of their task instance,
  PostgreSQL's backends their role and database.
- Linux adds the times of a process that has ended to its parent's. So the times of a whole tree are those of its
  living processes and of all children that these have reaped: the component's total is exact. What the looks have
  missed of it, the last moments of processes that ended, is shared out over the kinds by how many of each have ended.

What the processors did besides (/proc/stat less all of this) is shown as the rest of the machine. It is small if
nothing else runs: the kernel's own threads, and the rounding of both sources. Orphans, whose parent ended before them,
are among it; the stack has none.
"""

import os
import re
from collections import Counter, defaultdict
from typing import Final

import msgspec
import psycopg

from local import airflow_services, postgres, process, roles, stack

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
WORKERS: Final = "LocalExecutor's workers"
READERS: Final = "postgres: who measures"
MEASURING: Final = "the measuring itself"
_TASK: Final = re.compile(r"airflow worker -- .*\b([0-9a-f-]{36})$")
_BACKEND: Final = re.compile(r"postgres: (\w+) (\w+) 127\.0\.0\.1")
# user, nice, system, irq, softirq of /proc/stat; the other columns are waiting.
_BUSY: Final = (1, 2, 3, 6, 7)


class Process(msgspec.Struct, frozen=True):
    """One process as /proc/PID/stat has it; `born`, in ticks since the boot, tells it from a later one with its pid."""

    pid: int
    parent: int
    born: int
    own_s: float
    reaped_s: float

    @property
    def key(self) -> tuple[int, int]:
        """What no other process of this boot has."""
        return self.pid, self.born


class Row(msgspec.Struct, frozen=True):
    """CPU seconds of one kind of process, and how many of the kind have ended meanwhile."""

    kind: str
    cpu_s: float
    ended: int


class Measured(msgspec.Struct, frozen=True):
    """CPU seconds over one stretch of time: by kind, and of the whole machine."""

    rows: list[Row]
    machine_s: float

    @property
    def rest_s(self) -> float:
        """What the machine did besides."""
        return self.machine_s - sum(row.cpu_s for row in self.rows)


class Meter:
    """Measures from the moment at which it is made, as long as `look` is called every now and then."""

    def __init__(self, running: stack.Running) -> None:
        self._running = running
        self._trees = [_Tree(component, pid) for component, pid in _first_processes(running).items()]
        self._own_from_s = sum(os.times()[:2])
        self._machine_from_s = _busy_s()
        self.look()

    def look(self) -> None:
        """Read the times of all processes of the stack."""
        processes = _processes()
        children: dict[int, list[Process]] = {}
        for found in processes.values():
            children.setdefault(found.parent, []).append(found)
        for tree in self._trees:
            tree.look(processes, children)

    def measured(self) -> Measured:
        """CPU seconds since this was made."""
        self.look()
        machine_s, own_s = _busy_s() - self._machine_from_s, sum(os.times()[:2]) - self._own_from_s
        rows = [row for tree in self._trees for row in tree.rows()]
        return Measured([*_named(rows, self._running), Row(MEASURING, own_s, 0)], machine_s)


class _Tree:
    """A component's first process and all that descend from it."""

    def __init__(self, component: str, pid: int) -> None:
        self._component = component
        self._pid = pid
        self._seen: dict[tuple[int, int], tuple[str, float]] = {}
        self._credited_s: defaultdict[str, float] = defaultdict(float)
        self._ended: Counter[str] = Counter()
        self._from_s: float | None = None
        self._until_s = 0.0

    def look(self, processes: dict[int, Process], children: dict[int, list[Process]]) -> None:
        assert self._pid in processes, f"{self._component} (pid {self._pid}) has ended while it was measured"
        known = {key: kind for key, (kind, _) in self._seen.items()}
        members = _descendants(processes[self._pid], self._component, children, known)
        self._until_s = sum(found.own_s + found.reaped_s for found, _ in members)
        is_first = self._from_s is None
        if is_first:
            self._from_s = self._until_s
        before, self._seen = self._seen, {found.key: (kind, found.own_s) for found, kind in members}
        for found, kind in members:
            seen_s = found.own_s if is_first else before.get(found.key, ("", 0.0))[1]
            self._credited_s[kind] += found.own_s - seen_s
        self._ended.update(before[key][0] for key in before.keys() - self._seen.keys())

    def rows(self) -> list[Row]:
        missed_s = self._until_s - (self._from_s or 0.0) - sum(self._credited_s.values())
        ended = self._ended or Counter([self._component])
        kinds = sorted(self._credited_s.keys() | ended.keys())
        shares = {kind: missed_s * ended[kind] / ended.total() for kind in kinds}
        return [Row(kind, self._credited_s[kind] + shares[kind], self._ended[kind]) for kind in kinds]


def _first_processes(running: stack.Running) -> dict[str, int]:
    records = {component: process.load(running.home, component) for component in stack.ORDER}
    return {component: record.pid for component, record in records.items() if record and process.is_alive(record)}


def _descendants(
    found: Process, kind: str, children: dict[int, list[Process]], known: dict[tuple[int, int], str]
) -> list[tuple[Process, str]]:
    members = [(found, kind)]
    for child in children.get(found.pid, []):
        title = _title(child)
        # What has ended and waits to be reaped has no title any more.
        child_kind = _kind_of_child(kind, title) if title else known.get(child.key, kind)
        members += _descendants(child, child_kind, children, known)
    return members


def _kind_of_child(parent: str, title: str) -> str:
    """Children are of their parent's kind, but for those that have titles which say more."""
    if parent == postgres.COMPONENT and (backend := _BACKEND.match(title)):
        return READERS if backend[1] == "reader" else f"{parent}: {backend[2]}"
    if parent == airflow_services.SCHEDULER and title.startswith("airflow worker -- LocalExecutor"):
        return WORKERS
    if parent == WORKERS and (task := _TASK.match(title)):
        return f"task {task[1]}"
    return parent


def _named(rows: list[Row], running: stack.Running) -> list[Row]:
    """Rows of task instances become one for each task, as Airflow's database names them."""
    ids = [row.kind.removeprefix("task ") for row in rows if row.kind.startswith("task ")]
    with psycopg.connect(roles.airflow_dsn(running.ports.postgres, running.credentials)) as connection:
        found = connection.execute(
            "select id::text, dag_id, task_id from task_instance where id::text = any(%(ids)s)"
            " union select task_instance_id::text, dag_id, task_id from task_instance_history"
            " where task_instance_id::text = any(%(ids)s)",
            {"ids": ids},
        ).fetchall()
    names = {f"task {id_}": f"task {dag}.{task}" for id_, dag, task in found}
    cpu_s: defaultdict[str, float] = defaultdict(float)
    ended: Counter[str] = Counter()
    for row in rows:
        kind = names.get(row.kind, row.kind)
        cpu_s[kind] += row.cpu_s
        ended[kind] += row.ended
    return [Row(kind, seconds, ended[kind]) for kind, seconds in cpu_s.items()]


def _processes() -> dict[int, Process]:
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - often, so in the cheapest way
        if name.isdecimal() and (text := _read(f"/proc/{name}/stat")):
            # The name of the program, in parentheses, may contain anything.
            cells = text.rpartition(")")[2].split()
            own, reaped = int(cells[11]) + int(cells[12]), int(cells[13]) + int(cells[14])
            pid = int(name)
            found[pid] = Process(pid, int(cells[1]), int(cells[19]), own * TICK_S, reaped * TICK_S)
    return found


def _title(found: Process) -> str:
    return _read(f"/proc/{found.pid}/cmdline").replace("\0", " ").strip()


def _read(path: str) -> str:
    """A file of /proc; nothing if its process has ended meanwhile."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            return file.read(4096).decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _busy_s() -> float:
    cells = _read("/proc/stat").split("\n", 1)[0].split()
    return sum(int(cells[at]) for at in _BUSY) * TICK_S
