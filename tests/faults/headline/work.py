"""Processes that run the pipelines, and are killed and stopped."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Final

import msgspec
import psutil

from child import Task
from faults.headline.errand import Errand, carry_out
from faults.headline.feed import Feed
from faults.headline.plan import Blow
from fix_child import Child
from microbatch.runs import Run
from microbatch.settings import Connections

_POLL_S: Final = 0.01
_PAUSE_S: Final = 1.0
# Far longer than all timeouts that a process has.
_PATIENCE_S: Final = 180.0
_MINUTE: Final = timedelta(minutes=1)
# Popen objects may not be asked by two threads at a time, and starting one asks all of them.
_ONE_AT_A_TIME: Final = threading.Lock()


class HangsError(Exception):
    """A process neither works nor ends."""


class OverError(Exception):
    """The run is over before this was done."""


class Where(msgspec.Struct, frozen=True):
    """What all lanes share.

    Attributes:
        prefix: of the pipelines' topics.
        folder: for temporary files.
        is_over: set when all have to end.
        hits: how many processes were hit, by step and signal.
        troubles: errors that no retry mends.
        deaths: processes that a signal ended which nobody had sent.
    """

    prefix: str
    folder: str
    connections: Connections
    feed: Feed
    is_over: threading.Event
    hits: Counter[tuple[str, str]]
    troubles: list[str]
    deaths: list[str]


class Lane:
    """One pipeline, whose processes are hit one after the other; between two blows it gets some `messages`.

    Attributes:
        doing: for people: the blow that it is at.
    """

    def __init__(self, name: str, messages: int, where: Where) -> None:
        self.doing = ""
        self._name = name
        self._messages = messages
        self._where = where
        self._numbers = itertools.count(1)
        self._children: list[Child] = []
        self._takes_s = 1.0

    def strike(self, blow: Blow) -> None:
        """Start processes until one of them is hit, and let others go on.

        Raises:
            OverError: the run is over.
        """
        self.doing = f"{self._name}: {blow.signal} {blow.step}"
        while True:
            run = self._prepare(blow)
            # What comes before a renewal of offsets is a run with nothing left to send.
            task: Task = "publish" if blow.point == "publish.before_renew" else "run"
            crash = f"{blow.point}:{blow.signal}" if blow.point else ""
            started_s = time.monotonic()
            victim = self._start(run, task, crash)
            if self._is_hit(victim, blow):
                break
            self._takes_s = time.monotonic() - started_s
            self._has_succeeded(victim)
            self._where.feed.sources[self._name].let_more()
        self._count(blow.step, blow.signal)
        if blow.signal == "stop":
            self._go_on_with(victim, blow, run)
        elif blow.retry:
            self.finish(run)
        self.doing = ""

    def finish(self, run: Run | None = None) -> None:
        """One run, tried again until it succeeds, as Airflow does it."""
        given = run or self._new_run()
        while True:
            started_s = time.monotonic()
            done = self._start(given)
            self._await(done)
            if self._has_succeeded(done):
                self._takes_s = time.monotonic() - started_s
                return
            self._pause(_PAUSE_S)

    def end(self) -> None:
        """Kill what is left."""
        for each in self._children:
            each.kill()

    # -- one blow ------------------------------------------------------------------------------------------------

    def _prepare(self, blow: Blow) -> Run:
        """Bring about what the point needs; the run that will visit it."""
        if blow.point == "publish.before_settled":
            self._kill_after_sending()
        if blow.point == "publish.before_renew" or blow.is_of_redo:
            self.finish()
        return self._new_run(blow)

    def _kill_after_sending(self) -> None:
        """A process that is killed when Kafka has its messages and Postgres does not know it; it counts too."""
        while True:
            victim = self._start(self._new_run(), crash="publish.after_kafka_commit:kill")
            self._await(victim)
            if victim.died_by_kill():
                self._count("publish.after_kafka_commit", "kill")
                return
            self._has_succeeded(victim)

    def _is_hit(self, victim: Child, blow: Blow) -> bool:
        """Whether the victim was killed, or is stopped; else it has ended by itself."""
        if not blow.point:
            self._strike_at(victim, blow)
        self._await(victim, or_stop=blow.signal == "stop")
        return _is_running(victim) or (blow.signal == "kill" and victim.died_by_kill())

    def _strike_at(self, victim: Child, blow: Blow) -> None:
        moment_s = time.monotonic() + blow.moment * self._takes_s
        while _is_running(victim) and time.monotonic() < moment_s:
            self._pause(_POLL_S)
        if _is_running(victim):
            os.kill(victim.pid, signal.SIGKILL if blow.signal == "kill" else signal.SIGSTOP)

    def _go_on_with(self, victim: Child, blow: Blow, run: Run) -> None:
        """Another process does the work, waiting for the servers' timeouts; the one that was stopped goes on."""
        again = run if blow.retry else self._new_run()
        if blow.meanwhile:
            other = self._start(again)
            moment_s = time.monotonic() + blow.moment * self._takes_s
            while _is_running(other) and time.monotonic() < moment_s:
                self._pause(_POLL_S)
            victim.go_on()
            self._await(other)
            self._has_succeeded(other)
        else:
            self.finish(again)
            victim.go_on()
        self._await(victim)
        self._has_succeeded(victim)

    # -- children ------------------------------------------------------------------------------------------------

    def _new_run(self, blow: Blow | None = None) -> Run:
        """A run that catches up and closes the newest minute; for a point of a redo, one that redoes what is new."""
        first, last = self._where.feed.span(self._name)
        minute = last.replace(second=0, microsecond=0)
        is_redo = blow is not None and blow.is_of_redo
        return msgspec.structs.replace(
            self.last_run(),
            mode="reprocess" if is_redo else "catch up",
            interval=(first, last) if is_redo else (minute - _MINUTE, minute),
            max_records=self._max_records(blow) if blow else None,
        )

    def _max_records(self, blow: Blow) -> int:
        """A few batches, and not one only for the point that is between two."""
        batches = 4 if blow.point == "consume.between_batches" else blow.batches
        return max(1, self._messages // batches)

    def last_run(self) -> Run:
        """A run that catches up and closes all windows up to now."""
        return Run(f"{self._name} by hand", f"run {next(self._numbers)}")

    def _start(self, run: Run, task: Task = "run", crash: str = "") -> Child:
        if self._where.is_over.is_set():
            raise OverError
        errand = Errand(self._name, self._where.prefix, self._where.connections, run, task, crash, self._where.folder)
        context = multiprocessing.get_context("forkserver")
        with _ONE_AT_A_TIME:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=carry_out, args=(errand, sender))
            process.start()
            sender.close()
        started = Child(process, receiver)
        self._children = [each for each in self._children if _is_running(each)] + [started]
        return started

    def _await(self, started: Child, *, or_stop: bool = False) -> None:
        """Wait for its end, or until it is stopped.

        Raises:
            HangsError: it has none.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        while _is_running(started) and not (or_stop and _is_stopped(started)):
            self._pause(_POLL_S)
            if time.monotonic() > deadline_s:
                raise HangsError(f"{self.doing or self._name}: a process does not end within {_PATIENCE_S:g} s")

    def _pause(self, seconds: float) -> None:
        if self._where.is_over.wait(seconds):
            raise OverError

    def _count(self, step: str, sent: str) -> None:
        with _ONE_AT_A_TIME:
            self._where.hits[step, sent] += 1

    def _has_succeeded(self, ended: Child) -> bool:
        """Whether it has. Else its error has to be one that may pass: the next run goes on."""
        if (death := ended.death()) is not None:
            # Such as an assertion of the Kafka client that aborts. As good as any other kill.
            with _ONE_AT_A_TIME:
                self._where.deaths.append(f"{self._name}: {death.name}")
            return False
        outcome = ended.outcome()
        if outcome.error and not outcome.is_transient:
            self._where.troubles.append(f"{self._name}: {outcome.error}: {outcome.text}")
        return not outcome.error


def _is_running(started: Child) -> bool:
    with _ONE_AT_A_TIME:
        return started.is_running()


def _is_stopped(started: Child) -> bool:
    try:
        return started.is_stopped()
    except psutil.NoSuchProcess:
        return False
