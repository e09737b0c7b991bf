"""The exactly-once protocol of docs/design.md, sections 3 to 5, as a state machine: Postgres first, Kafka second.

A process is a sequence of atomic steps (one statement, or one request to Kafka), and between two steps anything else
may happen. A *stopped* process is one that is not scheduled for a while; the server may meanwhile end its transaction
or its session. A *killed* one is never scheduled again. A lost answer of Postgres is a kill right after the commit; a
lost answer of Kafka is a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from model.common import AT_KAFKA, SENDING, Step, put
from model.publishing import Publish
from model.state import RESET, Ledger, Process, Producer, World


class Model(Publish):
    """All transitions of one scenario."""

    def begin_with(self) -> World:
        s, zeros = self.s, (0,) * len(self.s.logs)
        ledger = Ledger(1, zeros, tuple(() for _ in s.logs), (1, 0))
        if not s.latest:
            ledger = ledger._replace(first=zeros, reach=zeros)
        slots = 1 if self.has("fencing") else len(s.starts) + 1
        w = World(
            s.arrived,
            ledger,
            (),
            None,
            None,
            (Producer(),) * slots,
            (None,) * (len(s.starts) + 1),
            foreign="open" if s.foreign else "",
            promised=ledger.first,
        )
        for process in s.before:
            w, _ = self.run_alone(w, process)
        return w._replace(alarm="")

    def run_alone(self, w: World, process: Process) -> tuple[World, list[str]]:
        pid, trace = len(w.processes) - 1, list[str]()
        w = self.look(w, pid, process)
        for _ in range(200):
            p = w.processes[pid]
            if p is None:
                return w, trace
            step = next(self.advance(w, pid, p), None) or next(self.kafka(w), None)
            if step is None:
                break
            trace.append(step[0])
            w = step[1]
        return w._replace(broken=f"the clean run is stuck at {p.step}" if p else ""), trace

    def steps(self, w: World) -> Iterator[Step]:
        s = self.s
        if w.started < len(s.starts):
            pid, p = w.started, s.starts[w.started]
            text = f"P{pid} begins: {p.kind}, shard {p.shard} of {p.shards}, until {p.until}, "
            text += f"definition {p.definition}"
            yield text, self.look(w, pid, p)._replace(started=w.started + 1)
        for q, messages in enumerate(s.logs):
            if w.arrived[q] < len(messages):
                yield f"message {q}:{w.arrived[q]} arrives", w._replace(arrived=put(w.arrived, q, w.arrived[q] + 1))
        if w.foreign == "open" and all(o < w.arrived[q] for q, o in s.foreign):
            for outcome in ("committed", "aborted"):
                yield f"the foreign transaction is {outcome}", w._replace(foreign=outcome)
        for pid, process in enumerate(w.processes):
            if process is not None:
                for text, after in self.advance(w, pid, process):
                    yield f"P{pid} {text}", after
                if process.lock:
                    yield f"P{pid} is killed", self.end(w, pid)
                if process.lock and process.step in SENDING and self.has("session_timeout"):
                    lost = process._replace(lock="", session=not self.has("one_session"))
                    yield (
                        f"P{pid} is stopped for long, Postgres ends its session",
                        w._replace(processes=put(w.processes, pid, lost)),
                    )
        yield from self.kafka(w)
        if w.producers[0].open and not w.producers[0].decided and w.faults < s.faults:
            yield (
                "Kafka aborts a transaction after its timeout",
                w._replace(producers=put(w.producers, 0, Producer()), faults=w.faults + 1),
            )
        yield from self.outside(w)

    def look(self, w: World, pid: int, p: Process) -> World:
        """A run begins, after the grace: the only time that it asks for the high watermarks."""
        ends = w.arrived if self.has("high_watermark") else tuple(self.stable(w, q) for q in range(len(w.arrived)))
        return w._replace(processes=put(w.processes, pid, p._replace(high=w.arrived, ends=ends)))

    def kafka(self, w: World) -> Iterator[Step]:
        if w.pending is not None:
            yield "the coordinator shows the new cursor", w._replace(cursor=w.pending, pending=None)
        for slot, producer in enumerate(w.producers):
            if producer.decided:
                yield "Kafka completes a transaction", self.complete(w, slot)
            elif producer.late:
                decided = producer._replace(decided=True, late=False)
                yield "a delayed commit reaches Kafka", w._replace(producers=put(w.producers, slot, decided))

    def outside(self, w: World) -> Iterator[Step]:
        """What people and disks do to us. Postgres' sessions end when it is restored or another one answers."""
        if "restored" in self.s.events and w.backup is None and not w.outside:
            yield "a backup of Postgres is made", w._replace(backup=w.ledger)
        for event in self.s.events:
            if event in w.outside or w.outside.count(";") >= self.s.outside:
                continue
            after = w._replace(outside=f"{w.outside}{event};")
            if event in ("deleted", "reset") and w.cursor is not None:
                yield f"the group's offsets are {event}", after._replace(cursor=RESET if event == "reset" else None)
            elif event == "restored" and w.backup is not None and w.backup != w.ledger:
                yield "Postgres is restored from the backup", self.cut(after._replace(ledger=w.backup))
            elif event == "other ledger" and w.cursor is not None:
                empty = Model(self.s._replace(before=())).begin_with().ledger
                other = empty._replace(uuid=2, cursor=(2, w.cursor[1]), publication=w.cursor[1])
                yield (
                    "a ledger with the same names and numbers meets this group",
                    self.cut(after._replace(ledger=other)),
                )
            elif event == "other cluster":
                yield (
                    "another Kafka answers at the same address",
                    after._replace(
                        cluster=2, log=(), cursor=None, pending=None, producers=tuple(Producer() for _ in w.producers)
                    ),
                )

    def cut(self, w: World) -> World:
        """Postgres ends all sessions. Only who has still something to ask of Kafka gets any further."""
        steps, session = (AT_KAFKA, False) if self.has("one_session") else (SENDING, True)
        return w._replace(
            processes=tuple(
                p._replace(lock="", session=session) if p and p.step in steps else None for p in w.processes
            )
        )

    def advance(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        if not p.session and p.step not in AT_KAFKA:
            yield "finds its Postgres session ended and fails", self.end(w, pid)
            return
        yield from getattr(self, "do_" + p.step)(w, pid, p)
