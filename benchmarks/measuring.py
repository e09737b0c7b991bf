"""What commands take: wall time, CPU of their whole process trees, PostgreSQL's CPU, and peak memory (Linux).

CPU seconds are the operating system's figures for processes that have ended, so nothing is missed: this process makes
itself the reaper of all orphans below it, and waits for them. Memory is looked at 20 times a second, for the whole tree
at once, as proportional set size: pages that processes share count once.
"""

import ctypes
import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import psutil
from benchmarks.own_stack import OwnStack

LOOK_S: Final = 0.05
ORPHAN_S: Final = 30.0
_PR_SET_CHILD_SUBREAPER: Final = 36
_MIB: Final = 1024 * 1024


class Figures(msgspec.Struct, frozen=True):
    """What one or several commands took.

    Attributes:
        wall_s: seconds, one after the other.
        cpu_s: CPU seconds of the commands' processes.
        postgres_cpu_s: CPU seconds of PostgreSQL's processes in the meantime.
        peak_mib: the most memory that the processes of one command had at once, in MiB.
    """

    wall_s: float
    cpu_s: float
    postgres_cpu_s: float
    peak_mib: float

    @property
    def total_cpu_s(self) -> float:
        """CPU seconds with PostgreSQL's."""
        return self.cpu_s + self.postgres_cpu_s

    def then(self, after: "Figures") -> "Figures":
        """Both, one after the other."""
        return Figures(
            self.wall_s + after.wall_s,
            self.cpu_s + after.cpu_s,
            self.postgres_cpu_s + after.postgres_cpu_s,
            max(self.peak_mib, after.peak_mib),
        )


def measured(command: Sequence[str | os.PathLike[str]], stack: OwnStack, **more: str) -> tuple[Any, Figures]:
    """Run a command, with `more` in its environment; gives the last line that it prints, as JSON, and what it took.

    Raises:
        CalledProcessError: it failed.
        ValueError: it printed no JSON last.
    """
    _reap_orphans()
    children = {child.pid for child in psutil.Process().children()}
    postgres_from_s, reaped_from_s, began_s = _tree_s(stack.server("postgres")), _reaped_s(), time.monotonic()
    process = subprocess.Popen(command, env={**stack.environment, **more}, stdout=subprocess.PIPE, text=True)
    memory = _Memory(process.pid)
    memory.start()
    output, _ = process.communicate()
    wall_s = time.monotonic() - began_s
    memory.end()
    _wait_for_orphans(children)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)), output)
    cpu_s, postgres_cpu_s = _reaped_s() - reaped_from_s, _tree_s(stack.server("postgres")) - postgres_from_s
    found = json.loads(output.strip().splitlines()[-1])
    return found, Figures(wall_s, cpu_s, postgres_cpu_s, memory.peak / _MIB)


class _Memory(threading.Thread):
    """Looks at the memory of a process and all below it, until it is told to end."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(psutil.NoSuchProcess):
                tree = [self._root, *self._root.children(recursive=True)]
                self.peak = max(self.peak, sum(_pss(process) for process in tree))

    def end(self) -> None:
        self._ended.set()
        self.join()


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


def _reap_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _wait_for_orphans(before: set[int]) -> None:
    """Wait for what a command has left behind, such as a JVM that notices only now that nobody needs it."""
    left = [child for child in psutil.Process().children() if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=ORPHAN_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive)


def _reaped_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_s(root: psutil.Process) -> float:
    """CPU seconds of a server's processes, ended ones included."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system if process == root else 0
    return total
