"""What all processes of the model have in common: locks, offsets, and where they go next."""

from __future__ import annotations

from typing import Any, TypeVar

from model.state import Ledger, Message, Process, Range, Rules, Scenario, World

IN_TRANSACTION = ("insert", "store", "replace", "take", "sum", "commit")
AT_KAFKA = ("fence", "ask", "renew", "send", "finish")  # steps of publish that do not need Postgres
SENDING = (*AT_KAFKA, "settle", "intend", "mark")
T = TypeVar("T")
Step = tuple[str, World]  # what happened, and the world after it


def put(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])


def offsets(ranges: tuple[Range, ...]) -> list[Message]:
    return [(partition, o) for partition, start, end in ranges for o in range(start, end)]


class Common:
    """A scenario, with some protections taken away."""

    def __init__(self, scenario: Scenario, without: Rules = frozenset()) -> None:
        self.s = scenario
        self.without = without
        self.logs = {1: scenario.logs, 2: scenario.redefined or scenario.logs, 3: scenario.logs}

    def has(self, name: str) -> bool:
        return name not in self.without

    @property
    def intervals(self) -> list[Process]:
        """The runs of an interval that begin in this scenario, or have begun."""
        return [p for p in (*self.s.before, *self.s.starts) if p.kind == "interval"]

    def slot(self, pid: int) -> int:
        return 0 if self.has("fencing") else pid

    def free(self, w: World, lock: str) -> bool:
        return not self.has("publish_lock") or all(p is None or p.lock != lock for p in w.processes)

    def go(self, w: World, pid: int, p: Process, **changes: Any) -> World:
        return w._replace(processes=put(w.processes, pid, p._replace(**changes)))

    def end(self, w: World, pid: int) -> World:
        return w._replace(processes=put(w.processes, pid, None))

    def stable(self, w: World, q: int) -> int:
        """The last stable offset of a partition."""
        mine = [o for at, o in self.s.foreign if at == q] if w.foreign == "open" else []
        return min([w.arrived[q], *mine])

    def uncovered(self, ledger: Ledger, q: int, start: int, end: int) -> list[int]:
        covered = {o for b in ledger.batches for r in b.ranges if r[0] == q for o in range(r[1], r[2])}
        return [o for o in range(start, end) if o not in covered]

    def blocked(self, w: World, pid: int, p: Process, lock: str) -> bool:
        """Whether a transaction has to wait: for the shard's lock, or for the definition's."""
        others = [o for i, o in enumerate(w.processes) if o is not None and i != pid and o.lock]
        if self.has("shard_lock") and any(o.lock == lock for o in others):
            return True
        sharing = [o for o in others if o.step in IN_TRANSACTION]
        newest = max(o.definition for o in (p, *sharing))
        return self.has("definition_lock") and bool(sharing) and newest > w.ledger.definition

    def aborted(self, w: World, m: Message) -> bool:
        return w.foreign == "aborted" and m in self.s.foreign

    def ahead(self) -> int:
        return 1 if self.s.early_events and self.has("ahead") else 0
