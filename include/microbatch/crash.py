"""Named crash points: where a test kills or stops the process, to show that nothing is lost or doubled.

`MICROBATCH_CRASH=publish.after_kafka_commit` kills the process when it gets there; `…:stop` stops it (SIGSTOP);
a number after it (`consume.reading:kill:3`) waits for that visit.
"""

import os
import signal
from typing import Final, Literal, get_args

MICROBATCH_CRASH: Final = "MICROBATCH_CRASH"

CrashPoint = Literal[
    "consume.before_register",
    "consume.after_register",
    "consume.after_locks",
    "consume.after_claim",
    "consume.reading",
    "consume.inside_copy",
    "consume.before_commit",
    "consume.after_commit",
    "consume.between_batches",
    "consume.before_run_completed",
    "redo.after_lock",
    "redo.before_commit",
    "rebuild.after_decision",
    "rebuild.between_batches",
    "rebuild.before_publish",
    "publish.after_lock",
    "publish.after_closing",
    "publish.after_take",
    "publish.after_totals",
    "publish.after_numbering",
    "publish.after_merge",
    "publish.before_fence",
    "publish.after_fence",
    "publish.before_settled",
    "publish.after_intent",
    "publish.inside_transaction",
    "publish.before_kafka_commit",
    "publish.after_kafka_commit",
    "publish.after_mark",
    "publish.before_renew",
    "recover.after_lock",
    "recover.before_commit",
    "recover.after_commit",
    "recover.after_cursor",
    "fold.after_lock",
    "fold.after_contributions",
    "fold.before_commit",
    "fold.after_commit",
    "rename.after_sent",
    "rename.after_cursor",
    "rename.after_renamed",
]

CRASH_POINTS: Final[tuple[CrashPoint, ...]] = get_args(CrashPoint)
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_visits: dict[str, int] = {}


def crash_point(name: CrashPoint) -> None:
    """Die or stop here, if the environment says so; else nothing."""
    wanted = os.environ.get(MICROBATCH_CRASH)
    if wanted is None:
        return
    point, _, rest = wanted.partition(":")
    if point != name:
        return
    action, _, visit = rest.partition(":")
    _visits[name] = _visits.get(name, 0) + 1
    if _visits[name] == int(visit or 1):
        os.kill(os.getpid(), _SIGNALS[action or "kill"])
