"""Consume: register, plan, insert, store; and redo."""

from __future__ import annotations

from collections.abc import Iterator

from model.common import Common, Step, offsets, put
from model.state import NEVER, Batch, Ledger, Message, Note, Process, Range, Row, Segment, World


class Consume(Common):
    """The steps of consume."""

    def register(self, w: World, p: Process) -> Ledger:
        """`latest`: what has arrived is history. The first whole window after now is the first that can be complete."""
        seen = [(q, o) for q, end in enumerate(w.arrived) for o in range(end) if self.logs[1][q][o] != "x"]
        now = max([p.until] + [int(self.logs[1][q][o]) - ((q, o) in self.s.early_events) for q, o in seen])
        first = w.ledger.first or p.first or w.arrived
        return w.ledger._replace(first=first, reach=tuple(now + 1 + self.ahead() if o else 0 for o in first))

    def do_plan(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Register if nobody has. Take the shard's lock, read the ledger, decide on ranges."""
        lock, first = f"shard {p.shard}", w.ledger.first or p.first
        if w.cluster != 1:
            yield "finds another cluster id and stops with an error", self.stop(w, pid, p, "another cluster")
        elif not first:
            text, w = f"registers from {w.arrived}", w._replace(promised=w.promised or w.arrived)
            if self.has("register"):
                yield text, w._replace(ledger=self.register(w, p))
            else:
                yield text, self.go(w, pid, p, first=w.arrived)
        elif not self.blocked(w, pid, p, lock):
            if p.definition != w.ledger.definition:
                yield "has another definition and fails", self.to_publish(w, pid, p)
                return
            found: list[Range] = []
            for q in range(p.shard, len(first), p.shards):
                for o in self.plan(w, p, q, first[q])[: self.s.records]:
                    start = found.pop()[1] if found and found[-1][::2] == (q, o) else o
                    found.append((q, start, o + 1))
            step = "insert" if found else "store"
            after = self.go(w, pid, p, step=step, ranges=tuple(found), lock=lock if self.has("shard_lock") else "-")
            yield f"takes the lock of {lock}, plans {found}", after

    def plan(self, w: World, p: Process, q: int, first: int) -> list[int]:
        """The uncovered offsets of a partition that this run is to read and may read now."""
        end = self.stable(w, q) if self.has("read_committed") else w.arrived[q]
        if p.kind == "interval":
            return self.uncovered(w.ledger, q, p.span[q][0], min(end, p.span[q][1]))
        covered = [r[2] for b in w.ledger.batches for r in b.ranges if r[0] == q]
        return self.uncovered(w.ledger, q, first if self.has("complement") else max([first, *covered]), end)

    def do_insert(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """The exclusion constraint: wait for an uncommitted range that overlaps, fail at a committed one."""
        wanted = set(offsets(p.ranges))
        if self.has("exclusion"):
            for i, o in enumerate(w.processes):
                if o is not None and i != pid and o.step == "store" and wanted & set(offsets(o.ranges)):
                    return
            if any(wanted & set(offsets(b.ranges)) for b in w.ledger.batches):
                yield "is refused its ranges by the constraint and fails", self.to_publish(w, pid, p)
                return
        number = 0
        if not self.has("numbered_by_merge"):
            number, w = w.sequence + 1, w._replace(sequence=w.sequence + len(p.ranges))
        yield "inserts its ranges", self.go(w, pid, p, step="store", number=number)

    def do_store(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Commit the batch with all that was computed from it, and how far each partition has been looked at."""
        ledger = w.ledger if w.ledger.first else self.register(w, p)
        segments: tuple[Segment, ...] = ()
        if p.ranges:
            batch = self.compute(w, p.ranges, p.definition, ())
            new = tuple((len(ledger.batches), 1, window) for window in sorted({c[0] for c in batch.counted}))
            parts = sorted({r if self.has("one_range") else r[:1] for r in p.ranges})
            rows = [self.rows(w, batch, offsets(tuple(r for r in p.ranges if r[: len(a)] == a))) for a in parts]
            segments = tuple(Segment(p.number and p.number + k, a) for k, a in enumerate(rows) if a)
            ledger = ledger._replace(batches=(*ledger.batches, batch), touched=ledger.touched + new)
        ledger = self.progress(ledger, p)
        if self.has("segments_tx"):
            ledger = ledger._replace(outbox=ledger.outbox + segments)
        broken = "a task with an old definition has written" if p.definition < ledger.definition else w.broken
        w = w._replace(ledger=ledger, broken=broken)
        text = f"commits {list(p.ranges) or 'nothing to read'}, caught up to {list(ledger.caught_up)}"
        if segments and not self.has("segments_tx"):
            yield text, self.go(w, pid, p, step="segments", lot=segments)
        else:
            yield text, self.next_batch(w, pid, p)

    def do_segments(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        w = w._replace(ledger=w.ledger._replace(outbox=w.ledger.outbox + p.lot))
        yield "writes its segments", self.next_batch(w, pid, p)

    def progress(self, ledger: Ledger, p: Process) -> Ledger:
        caught_up, looked = ledger.caught_up, ledger.looked
        for q in range(p.shard, len(p.ends), p.shards) if p.kind != "interval" else ():
            if not self.has("caught_up") or not self.uncovered(ledger, q, ledger.first[q], p.ends[q]):
                caught_up = put(caught_up, q, max(caught_up[q], p.until))
                looked = put(looked, q, looked[q] + (p.high[q],) * (caught_up[q] - len(looked[q])))
        return ledger._replace(caught_up=caught_up, looked=looked)

    def do_note(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """An interval is read: note where it starts; partitions reach back as far as notes have no hole above them."""
        reach, notes = w.ledger.reach, set(w.ledger.notes)
        for q in range(p.shard, len(p.ends), p.shards):
            mine = Note(q, p.since + self.ahead(), p.span[q][0])
            notes.add(mine)
            looked_at = [note for note in notes if note.partition == q] if self.has("notes") else [mine]
            whole = [note.reach for note in looked_at if not self.has("joined") or self.joined(w.ledger, note)]
            reach = put(reach, q, min([reach[q], *whole]))
        left = tuple(sorted(note for note in notes if note.reach < reach[note.partition]))
        ledger = w.ledger._replace(reach=reach, notes=left)
        yield f"notes its start, is complete from {list(reach)}", self.to_publish(w._replace(ledger=ledger), pid, p)

    def joined(self, ledger: Ledger, note: Note) -> bool:
        """Whether nothing from where an interval starts to first_offset is uncovered."""
        return not self.uncovered(ledger, note.partition, note.start, ledger.first[note.partition])

    def compute(self, w: World, ranges: tuple[Range, ...], definition: int, attempts: tuple[int, ...]) -> Batch:
        """What comes from these messages, and from nothing else."""
        seen = [(m, self.logs[definition][m[0]][m[1]]) for m in offsets(ranges) if not self.aborted(w, m)]
        counted = tuple((int(window), (*m, definition)) for m, window in seen if window != "x")
        rejected = tuple(m for m, window in seen if window == "x")
        return Batch(ranges, definition, counted, rejected, (*attempts, definition))

    def rows(self, w: World, batch: Batch, messages: list[Message]) -> tuple[Row, ...]:
        return tuple(
            Row("dead letter" if m in batch.rejected else "stream", *m)
            for m in messages
            if not self.aborted(w, m) and (self.s.rows or m in batch.rejected)
        )

    def next_batch(self, w: World, pid: int, p: Process) -> World:
        """Go on until caught up, or the interval is read, or the budget is spent."""
        left = [o for q in range(p.shard, len(p.ends), p.shards) for o in self.plan(w, p, q, w.ledger.first[q])]
        if left and p.ranges and p.batches > 1:
            budget = p.batches - 1 if p.batches < NEVER else NEVER
            return self.go(w, pid, p, step="plan", lock="", ranges=(), number=0, lot=(), batches=budget)
        if p.kind == "interval":
            return self.go(w, pid, p, step="note", lock="", ranges=(), number=0, lot=())
        return self.to_publish(w, pid, p)

    def to_publish(self, w: World, pid: int, p: Process) -> World:
        if p.kind not in ("live", "merge"):
            return self.end(w, pid)
        behind = any(self.uncovered(w.ledger, q, o, p.ends[q]) for q, o in enumerate(w.ledger.first))
        return self.go(
            w, pid, p, step="lock", lock="", ranges=(), high=(), ends=(), number=0, first=(), lot=(), behind=behind
        )

    def stop(self, w: World, pid: int, p: Process, alarm: str) -> World:
        """An error for a person. `publish` runs even if consume failed."""
        w = w._replace(alarm=alarm)
        return self.to_publish(w, pid, p) if p.step == "plan" else self.end(w, pid)

    # -- redo a batch ---------------------------------------------------------------------------------------------

    def do_redo(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """The DELETE of the old rows begins: what it can delete is what is committed now."""
        mine = range(p.shard, len(w.arrived), p.shards)
        todo = p.todo
        if todo is None:
            todo = tuple(i for i, b in enumerate(w.ledger.batches) if any(r[0] in mine for r in b.ranges))
        lock = f"shard {p.shard}"
        if not todo or p.definition < w.ledger.definition:
            yield "has nothing (more) to redo, or an old definition", self.end(w, pid)
        elif not self.blocked(w, pid, p, lock):
            others = [o for i, o in enumerate(w.processes) if o is not None and i != pid and o.lock and o.todo]
            if self.has("redo_row") and any(o.todo and o.todo[0] == todo[0] for o in others):
                return
            after = self.go(
                w, pid, p, step="replace", lock=lock, todo=todo, attempt=len(w.ledger.batches[todo[0]].attempts)
            )
            yield f"takes the lock of {lock}, begins to redo batch {todo[0]}", after

    def do_replace(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Commit the redo. Rows that another redo has put there since the DELETE began are not deleted."""
        assert p.todo is not None
        ledger, index = w.ledger, p.todo[0]
        old = ledger.batches[index]
        new = self.compute(w, old.ranges, p.definition, old.attempts)
        if not self.has("replace") or len(old.attempts) != p.attempt:
            new = new._replace(counted=old.counted + new.counted)
        windows = {c[0] for c in new.counted} | ({c[0] for c in old.counted} if self.has("touch_old") else set())
        touched = ledger.touched + tuple((index, len(new.attempts), window) for window in sorted(windows))
        ever = {m for d in old.attempts for m in self.compute(w, old.ranges, d, ()).rejected}
        letters = [m for m in new.rejected if m not in ever or not self.has("new_rejects")]
        number = 0 if self.has("numbered_by_merge") else w.sequence + 1
        segments = tuple(Segment(number, (Row("dead letter", *m),)) for m in letters)
        broken = "a task with an old definition has written" if p.definition < ledger.definition else w.broken
        ledger = ledger._replace(
            batches=put(ledger.batches, index, new),
            touched=touched,
            outbox=ledger.outbox + segments,
            definition=max(p.definition, ledger.definition),
        )
        w = w._replace(ledger=ledger, broken=broken, sequence=w.sequence + 1 if segments and number else w.sequence)
        yield f"commits the redo of batch {index}", self.go(w, pid, p, step="redo", lock="", todo=p.todo[1:], attempt=0)
