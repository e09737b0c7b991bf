"""How a pipeline fares, in one word, with the reason and with what a person can do about it."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from microbatch import errors

State = Literal["healthy", "behind", "stopped", "new"]

# Without a look for as long, or for two intervals of the schedule, something keeps runs from coming.
_NO_LOOK_S: Final = 600
# What waiting for the end of an interval, reading and publishing may take.
_RUN_S: Final = 30
_MINUTE_S: Final = 60


class Facts(msgspec.Struct, frozen=True):
    """What a state is judged by. Times are aware.

    Attributes:
        dag_id: the DAG that runs it.
        is_paused: whether Airflow has paused that; None: it has no such DAG, or was not asked.
        now: the database's time.
        period_s: from one scheduled run to the next; None: not known, a minute is taken.
        looked_at: when runs looked last at the source; of partitions that differ, the earliest time. None: never.
        lag: offsets that were there then and are not covered.
        complete_until: windows that end at or before it are closed; None: none is.
        unsent_since: since when the oldest message waits that Kafka has not got yet; None: it has all.
        last_batch_at: when the last batch was committed.
        error: of the newest batch that failed; None: none has, or a retry or a later look at all partitions has made it
            good.
    """

    dag_id: str
    is_paused: bool | None
    now: datetime
    period_s: float | None
    looked_at: datetime | None
    lag: int | None
    complete_until: datetime | None
    unsent_since: datetime | None
    last_batch_at: datetime | None
    error: str | None


class Verdict(msgspec.Struct, frozen=True):
    """A state; a healthy one has neither a reason nor a remedy."""

    state: State
    reason: str | None = None
    remedy: str | None = None


def judge(facts: Facts) -> Verdict:
    """The first of these that holds.

    - stopped: a batch has failed, and nothing has made it good; or the DAG is paused; or nobody has looked for much
      longer than from one run to the next.
    - new: no batch was made yet.
    - behind: the last look saw more than was read then; or windows close, or messages reach Kafka, later than after
      two runs.
    - healthy.
    """
    return _failing(facts) or _idle(facts) or _new(facts) or _behind(facts) or Verdict("healthy")


def _failing(facts: Facts) -> Verdict | None:
    if facts.error is None:
        return None
    reason, remedy = parts_of(facts.error)
    return Verdict("stopped", reason, remedy or f"Read the log of the last failed run of the DAG {facts.dag_id!r}")


def _idle(facts: Facts) -> Verdict | None:
    if facts.looked_at is None:
        return None
    unpause = f"Unpause the DAG {facts.dag_id!r}"
    if facts.is_paused:
        return Verdict("stopped", f"the DAG {facts.dag_id!r} is paused", unpause)
    if facts.now - facts.looked_at <= timedelta(seconds=max(_NO_LOOK_S, 2 * _period_s(facts) + _RUN_S)):
        return None
    reason = f"no run has looked at the source since {_time(facts.looked_at)}"
    if facts.is_paused is None:
        remedy = f"See whether the DAG {facts.dag_id!r} is paused, whether its file can be imported, and whether"
        return Verdict("stopped", reason, f"{remedy} Airflow's scheduler works")
    return Verdict("stopped", reason, f"See whether Airflow's scheduler works, and how runs of {facts.dag_id!r} end")


def _new(facts: Facts) -> Verdict | None:
    if facts.last_batch_at is not None:
        return None
    if facts.looked_at is not None:
        return Verdict("new", "nothing was read yet: its topic has no messages", "Send some to its source")
    start = "Unpause" if facts.is_paused else "Wait for the next run of"
    return Verdict("new", "it is registered, and nothing was read yet", f"{start} the DAG {facts.dag_id!r}")


def _behind(facts: Facts) -> Verdict | None:
    if facts.lag:
        reason = f"{facts.lag:,} offsets that the last look saw are not read yet"
        remedy = (
            "The next run goes on. If it stays behind, give the pipeline more shards; if this number stays the same, "
            "another producer's transaction is open: `microbatch lag` names it"
        )
        return Verdict("behind", reason, remedy)
    usual = timedelta(seconds=2 * (_period_s(facts) + _RUN_S))
    remedy = f"Read the logs of `publish` in the last runs of the DAG {facts.dag_id!r}"
    if facts.complete_until is not None and facts.now - facts.complete_until > usual:
        return Verdict("behind", f"windows are closed until {_time(facts.complete_until)} only", remedy)
    if facts.unsent_since is not None and facts.now - facts.unsent_since > usual:
        return Verdict("behind", f"what was published since {_time(facts.unsent_since)} has not reached Kafka", remedy)
    return None


def parts_of(error: str) -> tuple[str, str | None]:
    """What has happened, on one line, and the remedy that an error of ours ends with; None: it is another's.

    Args:
        error: as the ledger has it, the name of its class first.
    """
    name, _, text = error.partition(": ")
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.MicrobatchError)):
        return error.splitlines()[0], None
    line = " ".join(text.split())
    for end in (". ", "; "):
        reason, found, remedy = line.rpartition(end)
        # What stands in brackets is another program's.
        if found and remedy.count("(") == remedy.count(")"):
            return reason, remedy[0].upper() + remedy[1:]
    return line, None


def _period_s(facts: Facts) -> float:
    return facts.period_s or _MINUTE_S


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
