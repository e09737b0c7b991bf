"""A child process that does one task of a pipeline, so that a test can kill it or stop it on its way.

Children are forked from a server that has imported the engine and never made a Kafka client: each costs some
milliseconds. `fix_child.py` starts them.
"""

import contextlib
import logging
import os
import resource
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import psutil

from fix_pipeline import World
from microbatch import Pipeline, recovering, sending
from microbatch.clock import Clock
from microbatch.consume import consume
from microbatch.crash import MICROBATCH_CRASH
from microbatch.deciding import Why, known, session
from microbatch.errors import MicrobatchError, TransientError
from microbatch.maintaining import maintain
from microbatch.publish import publish
from microbatch.rebuild_work import Redoing
from microbatch.rebuilding import Interval, Rebuild
from microbatch.renaming import rename
from microbatch.runs import Run
from microbatch.settings import Connections
from microbatch.sql import queries

Task = Literal["consume", "publish", "run", "rename", "recover", "rebuild", "maintain"]
Protection = Literal["shard lock", "publish lock", "fencing", "settling"]

LONG_AFTER: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""When everything is as old as it need be."""

IMPATIENT: Final[dict[str, float]] = {
    "kafka.KAFKA_TIMEOUT_S": 5,
    "reading.STALLED_S": 5,
    "sending.KAFKA_TIMEOUT_S": 5,
    "sending.FENCE_TIMEOUT_S": 5,
    "settling.FENCE_TIMEOUT_S": 5,
    "sending.TRANSACTION_TIMEOUT_S": 5,
}
"""Constants of the engine: with a dead broker, every wait ends at its timeout."""


class Order(msgspec.Struct, frozen=True):
    """What a child is to do.

    Attributes:
        world: its pipeline and connections.
        run: who it is.
        task: one task of the run, or all of them, as a DAG does it; or to rename `sales` to the world's pipeline, or to
            recover it, or to maintain it, long after.
        shards: which ones consume works on; empty: all.
        crash: the value of MICROBATCH_CRASH; empty: nothing happens.
        constants: of the engine's modules, to be changed: `{"postgres.IDLE_SESSION_S": 5}`.
        without: protections to be taken away, to show that they are needed.
    """

    world: World
    run: Run
    task: Task = "run"
    shards: tuple[int, ...] = ()
    crash: str = ""
    constants: dict[str, float] = {}
    without: tuple[Protection, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """How a child ended that was not killed.

    Attributes:
        error: the name of what it raised; empty: it succeeded.
        text: what the error says.
        is_ours: it is a MicrobatchError.
        is_transient: and one that may pass by itself.
        sent: messages that publish sent.
        log: what the engine has logged.
        peak_mib: the most memory that it has had.
        left: processes and threads that were not there before.
    """

    error: str
    text: str
    is_ours: bool
    is_transient: bool
    sent: int
    log: list[str]
    peak_mib: int
    left: list[str]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def work(order: Order, answer: Connection) -> None:
    """The child's main function: carry out the order and send the outcome."""
    lines = _Lines()
    logging.getLogger("microbatch").addHandler(lines)
    logging.getLogger("microbatch").setLevel(logging.INFO)
    for name, value in order.constants.items():
        module, _, constant = name.partition(".")
        setattr(import_module(f"microbatch.{module}"), constant, value)
    for protection in order.without:
        _TAKE_AWAY[protection]()
    if order.crash:
        os.environ[MICROBATCH_CRASH] = order.crash
    sent = 0
    before = _running()
    error: Exception | None = None
    try:
        sent = _carry_out(order)
    except Exception as raised:  # noqa: BLE001 - whatever it is, the test judges it
        error = raised
    answer.send(
        Outcome(
            error=type(error).__name__ if error else "",
            text=str(error or ""),
            is_ours=isinstance(error, MicrobatchError),
            is_transient=isinstance(error, TransientError),
            sent=sent,
            log=lines.lines,
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            left=sorted(_running() - before),
        )
    )


def _running() -> set[str]:
    """The threads and child processes of this process, also those of libraries."""
    threads = set()
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            threads.add(f"thread {path.parent.name}: {path.read_text().strip()}")
    return threads | {f"process {child}" for child in psutil.Process().children(recursive=True)}


def _carry_out(order: Order) -> int:
    pipeline, connections = order.world.pipeline, order.world.connections
    if order.task == "rename":
        rename("sales", pipeline, connections)
    if order.task == "recover":
        _recover(pipeline.name, connections)
    if order.task == "maintain":
        maintain(pipeline.name, connections, LONG_AFTER)
    if order.task == "rebuild":
        _rebuild(pipeline, connections)
    if order.task in ("consume", "run"):
        for shard in order.shards or range(pipeline.shards):
            consume(pipeline, shard, order.run, connections)
    if order.task in ("publish", "run"):
        return publish(pipeline, order.run, connections).sent
    return 0


def _recover(name: str, connections: Connections) -> None:
    with session(connections, "recover") as connection:
        registered = known(connection, connections.deployment, name)
        case = recovering.look(connection, registered, connections)
        assert case is not None, "there is nothing to recover"
        recovering.recover(connection, registered, connections, case, Why("somebody", "a test"))


def _rebuild(pipeline: Pipeline, connections: Connections) -> None:
    with session(connections, "rebuild") as connection:
        registered = known(connection, connections.deployment, pipeline.name)
        asked = Rebuild(connection, pipeline, registered, connections, Interval())
        decision_id = asked.decide(asked.look(Clock().now()), Why("somebody", "a test"))
    Redoing(pipeline, registered, connections, Interval(), decision_id, lambda _: None, Clock()).work()


def _no_lock(name: str) -> Callable[[], None]:
    def take_away() -> None:
        queries("ledger")[name] = "select 1"

    return take_away


def _no_fencing() -> None:
    fence: Callable[..., Any] = sending.Sender._fence

    def with_an_id_of_its_own(sender: Any, **config: Any) -> Any:
        name = sender._name
        sender._name = f"{name}.{os.getpid()}"
        producer = fence(sender, **config)
        sender._name = name
        return producer

    _replace("_fence", with_an_id_of_its_own)


def _no_settling() -> None:
    def believe_postgres(_sender: Any, _group: Any) -> None:
        """The outbox is sent as it is, whatever the cursor says."""

    _replace("_settle", believe_postgres)


def _replace(method: str, by: Callable[..., Any]) -> None:
    assert hasattr(sending.Sender, method)
    setattr(sending.Sender, method, by)


_TAKE_AWAY: Final[dict[Protection, Callable[[], None]]] = {
    "shard lock": _no_lock("lock_shard"),
    "publish lock": _no_lock("lock_publish"),
    "fencing": _no_fencing,
    "settling": _no_settling,
}
