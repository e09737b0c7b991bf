"""Child processes that can be killed and stopped, and the check that every such story ends with."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import Any, Final

import psutil
import pytest

import recount
from child import Order, Outcome, work
from fix_pipeline import World
from microbatch.runs import Run
from recount import Report

PATIENCE_S: Final = 240.0
"""No step of a story takes as long on a machine that is not broken; pytest gives a test 300 s."""
_POLL_S: Final = 0.02


def check(world: World, *, settled: bool = True) -> Report:
    """The independent check: nothing lost, nothing twice, nothing left open; and there was something to judge."""
    report = look(world, settled=settled)
    assert report.ok, report.render()
    assert report.messages > 0, report.render()
    return report


def look(world: World, *, settled: bool = True, patience_s: float = 5.0) -> Report:
    """The report of the independent check, to be judged by the test itself."""
    connections, transform = world.connections, world.pipeline.transform
    return recount.check(
        world.pipeline.name,
        connections.bootstrap,
        connections.postgres,
        connections.deployment,
        settled,
        patience_s=patience_s,
        transform=transform.function if transform else None,
    )


def wait_for(what: str, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as the condition holds; fail with its name if it never does."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"still not after {timeout_s:g} s: {what}"
        time.sleep(_POLL_S)


def sessions(world: World) -> list[tuple[Any, ...]]:
    """The engine's sessions in the world's database: name, state, wait event."""
    return world.rows(
        "select application_name, state, wait_event from pg_stat_activity"
        " where datname = current_database() and application_name like 'microbatch%%'"
    )


def waiting(world: World) -> list[str]:
    """The locks that the engine's sessions wait for, as wait events."""
    found = world.rows(
        "select wait_event from pg_stat_activity where datname = current_database()"
        " and application_name like 'microbatch%%' and wait_event_type = 'Lock'"
    )
    return [event for (event,) in found]


class Child:
    """A process that carries out one order."""

    def __init__(self, process: BaseProcess, answer: Connection) -> None:
        self._process = process
        self._answer = answer
        self._outcome: Outcome | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def outcome(self) -> Outcome:
        """Wait until it has ended by itself; how."""
        if self._outcome is None:
            assert self._answer.poll(PATIENCE_S), f"child {self.pid} does not end"
            try:
                self._outcome = self._answer.recv()
            except EOFError:
                self._process.join(PATIENCE_S)
                raise AssertionError(f"the child ended with status {self._process.exitcode}") from None
            self._process.join(PATIENCE_S)
        assert isinstance(self._outcome, Outcome)
        return self._outcome

    def died_by_kill(self) -> bool:
        """Wait until it has ended; whether a SIGKILL ended it, and not its own end."""
        self._process.join(PATIENCE_S)
        return self._process.exitcode == -signal.SIGKILL

    def death(self) -> signal.Signals | None:
        """Wait until it has ended; the signal that ended it, if one did."""
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        return signal.Signals(-code) if code is not None and code < 0 else None

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself. Fails if it ends instead."""
        wait_for("the child is stopped", lambda: not self._process.is_alive() or self.is_stopped())
        assert self._process.is_alive(), f"the child ended instead of stopping: {self.outcome()}"

    def is_stopped(self) -> bool:
        """Whether it is stopped now."""
        with suppress(psutil.NoSuchProcess):  # it ended just now
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        return False

    def is_running(self) -> bool:
        """Whether it has not ended; a stopped one has not."""
        return self._process.is_alive()

    def is_done_within(self, seconds: float) -> bool:
        """Wait until it has ended, or for so long; whether it has."""
        return self._answer.poll(seconds)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, which ends a stopped process too, and wait until it is gone."""
        self._process.kill()
        self._process.join(PATIENCE_S)
        self._answer.close()


class Children:
    """Starts children."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self.started: list[Child] = []

    def start(self, world: World, run: Run, **order: Any) -> Child:
        """Start one; `order` are the other attributes of `child.Order`."""
        receiver, sender = self._context.Pipe(duplex=False)
        process: ForkServerProcess = self._context.Process(target=work, args=(Order(world, run, **order), sender))
        process.start()
        sender.close()
        child = Child(process, receiver)
        self.started.append(child)
        return child

    def do(self, world: World, run: Run, **order: Any) -> Outcome:
        """Start one and wait for its end."""
        return self.start(world, run, **order).outcome()

    def succeed(self, world: World, run: Run, **order: Any) -> Outcome:
        """Start one that has to succeed."""
        outcome = self.do(world, run, **order)
        assert not outcome.error, f"{outcome.error}: {outcome.text}"
        return outcome

    def retry(self, world: World, run: Run) -> Outcome:
        """As Airflow does it: run again after errors that may pass, until it succeeds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (outcome := self.do(world, run)).error:
            assert outcome.is_transient, f"{outcome.error}: {outcome.text}"
            assert time.monotonic() < deadline_s, f"{outcome.error}: {outcome.text}"
        return outcome

    def end(self) -> None:
        """End all that are left, also stopped ones."""
        for child in self.started:
            child.kill()


@pytest.fixture(scope="session")
def _fork_server() -> None:
    """The server that children are forked from: it imports once. It ends with this process."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["child"])
    with pytest.MonkeyPatch.context() as patch:
        # The server imports before it is told our sys.path.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()


@pytest.fixture
def children(_fork_server: None) -> Iterator[Children]:
    """Starts children, and leaves none behind."""
    started = Children()
    yield started
    started.end()


@pytest.fixture(scope="module")
def module_children(_fork_server: None) -> Iterator[Children]:
    """As `children`, for stories that are told at the same time and judged one after the other."""
    started = Children()
    yield started
    started.end()
