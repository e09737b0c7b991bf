"""What always has to hold, and what a clean run has to leave."""

from __future__ import annotations

from model.common import offsets
from model.protocol import Model
from model.scenarios import LAST, live, redo
from model.state import NEVER, NOBODY, Row, Total, World


class Checker:
    """Looks at one state: what always holds, and what a clean run makes of it if everything is killed here."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.known: dict[World, tuple[str, list[str]]] = {}

    def problem(self, w: World) -> tuple[str, list[str]]:
        """The violation, if any, and the steps of the clean run that showed it."""
        found = self.always(w)
        if found:
            return found, []
        frozen = tuple(p if p is not None and self.keeps(p.lock) else None for p in w.processes)
        producers = tuple(p._replace(owner=NOBODY) for p in w.producers)
        bare = w._replace(
            processes=frozen, producers=producers, started=0, faults=self.model.s.faults, alarm="", backup=None
        )
        if bare not in self.known:
            self.known[bare] = self.clean_run(bare)
        return self.known[bare]

    def keeps(self, lock: str) -> bool:
        """Whether a process that is stopped and not killed holds this lock for ever."""
        return bool(lock) and not self.model.has("session_timeout" if lock == "publish" else "idle_timeout")

    def clean_run(self, w: World) -> tuple[str, list[str]]:
        trace = ["everything is killed; a clean run follows"]
        definition, batches = w.ledger.definition, len(w.ledger.batches)
        # History that is not read is no fault; but all of it, read at last in whatever pieces, has to be complete.
        history = [p._replace(definition=definition) for p in self.model.intervals if self.model.s.latest]
        for process in (redo(definition=definition), *history, live(until=LAST, definition=definition)):
            if process.kind != "redo" or any(b.definition != definition for b in w.ledger.batches):
                w, steps = self.model.run_alone(w, process)
                trace += steps
                if self.always(w):
                    return self.always(w), trace
        while step := next(self.model.kafka(w), None):
            trace.append(step[0])
            w = step[1]
        if w.alarm:
            return "" if w.outside else f"a false alarm that needs a person: {w.alarm}", trace
        return self.always(w) or self.at_the_end(w, batches), trace

    def always(self, w: World) -> str:
        ledger = w.ledger
        ranges = [m for b in ledger.batches for m in offsets(b.ranges)]
        counted = [c[1][:2] for b in ledger.batches for c in b.counted]
        if len(set(ranges)) < len(ranges) or len(set(counted)) < len(counted):
            return "an offset is counted twice"
        if ledger.first and ledger.first != w.promised:
            return "a message that arrived after the first run had registered will not be read"
        return w.broken or self.topic(w) or self.final(w)

    def topic(self, w: World) -> str:
        """What a reader of the output topics sees: each row once and in order, each revision after the one before."""
        last: dict[tuple[str, int], Row] = {}
        seen: set[tuple[str, int, int]] = set()
        for _, row in w.log:
            before = last.get(row[:2], Row(row.kind, row.key, 0))
            if row[:3] in seen:
                return f"{row.kind} {row.key}:{row.number} is there twice"
            if row.kind == "result" and row.number != before.number + 1:
                return f"window {row.key}: revision {row.number} comes after {before.number} in the topic"
            if row.kind == "result" and row[3:] == before[3:]:
                return f"window {row.key}: revision {row.number} repeats the one before"
            if row.kind == "result" and before.final and not row.final:
                return f"window {row.key}: revision {row.number} is open again"
            if row.kind != "result" and row.number < w.promised[row.key]:
                continue  # history: a backfill publishes it as it comes
            if row.number < before.number and not (row.kind == "dead letter" and self.model.s.redefined):
                return f"{row.kind} {row.key}:{row.number} comes after {before.number}"
            last[row[:2]] = row
            seen.add(row[:3])
        return ""

    def final(self, w: World) -> str:
        """A final window is complete.

        It counts every message of its event time that had been appended to any partition when that partition was
        looked at for it, at whatever offset, also below first_offset; also if its transaction was still open then,
        unless it was aborted since.
        """
        ledger = w.ledger
        counts = {r.window: {c[:2] for c in r.total or ()} for r in ledger.results}
        for window in range(ledger.complete, ledger.closed):
            for q, looked in enumerate(ledger.looked):
                if len(looked) <= window:
                    return f"window {window} is final before partition {q} was caught up"
                for o in range(looked[window]):
                    if self.steady(w, q, o, window) and (q, o) not in counts.get(window, ()):
                        return f"window {window} is final without message {q}:{o}, which was there in time"
        return ""

    def steady(self, w: World, q: int, o: int, window: int) -> bool:
        return not self.model.aborted(w, (q, o)) and all(log[q][o] == str(window) for log in self.model.logs.values())

    def at_the_end(self, w: World, batches: int) -> str:
        """What has to be true after a clean run, which has added the batches from this number on."""
        return self.left_over(w) or self.shown(w, batches) or self.complete(w) or self.sent(w)

    def complete(self, w: World) -> str:
        """Whatever is closed, and not from before what was read, is final at the end, and nothing else."""
        ledger, model = w.ledger, self.model
        since = ledger.complete
        if model.s.latest and model.intervals:
            begins = [
                min(
                    [p.since for p in model.intervals if not model.uncovered(ledger, q, p.span[q][0], ledger.first[q])],
                    default=NEVER,
                )
                for q in range(len(w.arrived))
            ]
            since = min(since, max(begins) + (1 if model.s.early_events else 0))
        for r in ledger.results:
            if r.total and r.final != (since <= r.window < ledger.closed):
                return f"window {r.window} is {'final' if r.final else 'not final'}, complete from {since}"
        return ""

    def left_over(self, w: World) -> str:
        """What a clean run has not read, or not finished."""
        ledger, model = w.ledger, self.model
        ends = [model.stable(w, q) for q in range(len(w.arrived))]
        if any(model.uncovered(ledger, q, ledger.first[q], end) for q, end in enumerate(ends)):
            return "an offset was never read"
        is_open = model.has("fencing") and bool(w.producers[0].open)
        if any(s.publication for s in ledger.outbox) or ledger.intent or ledger.touched or is_open:
            return "something is left in the outbox, the intent, touched or an open transaction"
        if any(all(o >= ledger.first[q] for _, q, o, *_ in s.rows) for s in ledger.outbox if not model.intervals):
            return "a segment waits although nothing is missing"
        if ends == list(w.arrived) and ledger.closed < LAST:
            return f"windows from {ledger.closed} stay open"
        return ""

    def shown(self, w: World, batches: int) -> str:
        """Closed windows, and those of the batches from this number on, show what their messages say."""
        ledger = w.ledger
        totals: dict[int, list[tuple[int, int, int]]] = {}
        for b in ledger.batches:
            for q, o in offsets(b.ranges):
                written = self.model.logs[b.definition][q][o]
                if written != "x" and not self.model.aborted(w, (q, o)):
                    totals.setdefault(int(written), []).append((q, o, b.definition))
        due = set(range(ledger.closed)) | {c[0] for b in ledger.batches[batches:] for c in b.counted}
        found: dict[int, Total | None] = {r.window: r.total for r in ledger.results}
        for window in sorted(due):
            if (found.get(window) or ()) != tuple(sorted(totals.get(window, ()))):
                return f"window {window} shows {found.get(window)}, but its messages are {totals.get(window)}"
        return ""

    def sent(self, w: World) -> str:
        """The output topics have each row once, and the newest revisions are those in Postgres."""
        ledger, model, rows = w.ledger, self.model, list[Row]()
        for b in ledger.batches:
            for q, o in offsets(b.ranges):
                rejected = [model.logs[d][q][o] == "x" for d in b.attempts]
                if not model.aborted(w, (q, o)):
                    rows += [Row("dead letter", q, o)] if any(rejected) else []
                    rows += [Row("stream", q, o)] if model.s.rows and not rejected[0] else []
        if sorted(m.row for m in w.log if m.row.kind != "result") != sorted(rows):
            return "a stream row or dead letter is missing or there twice"
        newest = {m.row.key: m.row[2:] for m in w.log if m.row.kind == "result"}
        if newest != {r.window: r[1:] for r in ledger.results if r.revision}:
            return "the newest revisions in the topic are not those in Postgres"
        return ""
