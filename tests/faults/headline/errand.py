"""What a child is sent to do. It imports no more than that takes, for each child does."""

import tempfile
from multiprocessing.connection import Connection
from typing import Final

import msgspec

import child
from child import Order, Task
from faults.headline.pipelines import one
from fix_pipeline import World
from microbatch.runs import Run
from microbatch.settings import Connections

CONSTANTS: Final[dict[str, float]] = {
    "kafka.KAFKA_TIMEOUT_S": 5,
    "reading.STALLED_S": 5,
    "sending.KAFKA_TIMEOUT_S": 5,
    "sending.FENCE_TIMEOUT_S": 5,
    "settling.FENCE_TIMEOUT_S": 5,
    "sending.TRANSACTION_TIMEOUT_S": 5,
    "postgres.IDLE_IN_TRANSACTION_S": 4,
    "postgres.IDLE_SESSION_S": 7,
    "postgres.LOCK_PATIENCE_S": 2,
}
"""So that the servers soon give up a process that is stopped, and a process a server that is gone."""


class Errand(msgspec.Struct, frozen=True):
    """Whose run, on which stack, and where it is hit, in words that can be pickled.

    Attributes:
        prefix: of the pipeline's topics.
        crash: the value of MICROBATCH_CRASH; empty: it is not hit, or from outside.
        folder: for temporary files, which a process that is killed leaves behind.
    """

    pipeline: str
    prefix: str
    connections: Connections
    run: Run
    task: Task
    crash: str
    folder: str


def carry_out(errand: Errand, answer: Connection) -> None:
    """The child's main function."""
    tempfile.tempdir = errand.folder
    world = World(one(errand.pipeline, errand.prefix), errand.connections)
    child.work(Order(world, errand.run, errand.task, crash=errand.crash, constants=CONSTANTS), answer)
