"""Blows against the servers: Kafka, PostgreSQL, Airflow's scheduler and its tasks; each is started again."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import psutil
import psycopg

from faults.headline.plan import Blow
from faults.headline.work import OverError
from fix_stack import Stack
from local import airflow_services, process
from local import stack as local_stack
from local.errors import StackError

_POLL_S: Final = 0.02
_PAUSE_S: Final = 1.0
# A task lasts a second or two, so that some are killed late in their work.
_TASK_S: Final = 2.0
_WORKER: Final = "airflow worker"


class Servers:
    """What is hit, and who makes it work again."""

    def __init__(self, stack: Stack, is_over: threading.Event, *, airflow: bool) -> None:
        self._stack = stack
        self._is_over = is_over
        self._has_airflow = airflow

    def strike(self, blow: Blow) -> None:
        """Hit a server and wait until all work again.

        Raises:
            OverError: the run is over.
        """
        if blow.victim in ("kafka", "postgres"):
            self._strike_data(blow)
        elif blow.victim == "airflow scheduler":
            self._strike_scheduler(blow)
        else:
            self._strike_task(blow)
        self.repair()

    def repair(self) -> None:
        """Start what has died, as `microbatch up` does it: Airflow's own database is in the PostgreSQL that was hit."""
        if self._has_airflow:
            self._start(lambda: local_stack.up(self._stack.home, _silence))

    def _start(self, start: Callable[[], object]) -> None:
        """Try again what a busy machine has not started in time; the run's deadline ends it."""
        while True:
            try:
                start()
            except StackError:
                self._pause(_PAUSE_S)
            else:
                return

    def has_closed(self, minute: datetime) -> bool:
        """Whether Airflow's runs have closed all windows of all pipelines up to a minute."""
        with psycopg.connect(self._stack.reader_dsn) as reader:
            row = reader.execute("select bool_and(closed_until >= %s) from microbatch.pipeline", [minute]).fetchone()
        return row == (True,)

    def stop_airflow(self) -> None:
        """End the scheduler with all its tasks, so that nothing moves any more."""
        process.stop(self._stack.home, airflow_services.SCHEDULER)

    def _strike_data(self, blow: Blow) -> None:
        if blow.signal == "stop":
            with _stopped(_family(self._stack.pid(blow.victim))):
                self._pause(blow.stopped_s)
            return
        self._stack.kill(blow.victim)
        self._start(lambda: self._stack.start(blow.victim))

    def _strike_scheduler(self, blow: Blow) -> None:
        scheduler = self._scheduler()
        if blow.signal == "stop":
            with _stopped([scheduler]):
                self._pause(blow.stopped_s)
            return
        process.kill([scheduler], blow.victim)

    def _strike_task(self, blow: Blow) -> None:
        """One of the tasks that run, some time after there was one."""
        while not self._is_hit(blow):
            self._pause(_POLL_S)

    def _is_hit(self, blow: Blow) -> bool:
        if not self._tasks():
            return False
        self._pause(blow.moment * _TASK_S)
        tasks = self._tasks()
        if not tasks:
            return False
        victim = tasks[int(blow.moment * len(tasks))]
        if blow.signal == "stop":
            with _stopped([victim]):
                self._pause(blow.stopped_s)
            return True
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def _tasks(self) -> list[psutil.Process]:
        """Processes that carry out a task: children of the executor's workers."""
        return [task for worker in _workers(self._scheduler()) for task in _workers(worker)]

    def _scheduler(self) -> psutil.Process:
        """It may have ended by itself some time after PostgreSQL was killed."""
        while True:
            record = process.load(self._stack.home, airflow_services.SCHEDULER)
            if record is not None and process.is_alive(record):
                return psutil.Process(record.pid)
            self.repair()

    def _pause(self, seconds: float) -> None:
        if self._is_over.wait(seconds):
            raise OverError


@contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    try:
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        yield
    finally:
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()


def _family(pid: int) -> list[psutil.Process]:
    """A server's first process and all that it has started."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _workers(parent: psutil.Process) -> list[psutil.Process]:
    """Those children of a process that Airflow calls workers."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in parent.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(each.cmdline()).startswith(_WORKER):
                    found.append(each)
    return found


def _silence(_line: str) -> None:
    """What happens to the stack is in its logs."""
