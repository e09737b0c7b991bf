"""Publish: merge, then send."""

from __future__ import annotations

from collections.abc import Iterator

from model.common import Step, put
from model.consuming import Consume
from model.state import NEVER, Cursor, Ledger, Process, Producer, Result, Row, Segment, Sent, World


class Publish(Consume):
    """The steps of publish, which follow those of consume in a run."""

    # -- merge ---------------------------------------------------------------------------------------------------

    def do_lock(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Take the publish lock, for good; read caught_up_to. Nothing to merge: go on to send."""
        if not self.free(w, "publish") or self.blocked(w, pid, p, "-"):
            return
        ledger, close = w.ledger, self.close(w, p)
        if close == (ledger.closed, ledger.complete) and not ledger.touched and all(s[0] for s in ledger.outbox):
            after = self.end(w, pid) if p.kind == "merge" else self.go(w, pid, p, step="fence", lock="publish")
            yield "takes the publish lock, has nothing to merge", after
            return
        step = "take" if self.has("touched_first") else "sum"
        yield (
            f"takes the publish lock, can close windows {close[1]} to {close[0]}",
            self.go(w, pid, p, step=step, lock="publish", close=close),
        )

    def close(self, w: World, p: Process) -> tuple[int, int]:
        """closed_until and complete_from, as the progress of the partitions allows."""
        until = min(w.ledger.caught_up) if self.has("all_partitions") else p.until
        since = (max if self.has("all_joined") else min)(w.ledger.reach, default=NEVER)
        return max(w.ledger.closed, until), min(w.ledger.complete, since if self.has("complete_from") else 0)

    def do_take(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        after = self.go(w, pid, p, step="sum" if self.has("touched_first") else "commit", taken=w.ledger.touched)
        if not self.has("merge_tx"):
            after = after._replace(ledger=after.ledger._replace(touched=()))
        yield f"takes touched {list(w.ledger.touched)}", after

    def do_sum(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        counted = [c for b in w.ledger.batches for c in b.counted]
        sums = tuple(
            (window, tuple(sorted(c[1] for c in counted if c[0] == window)))
            for window in sorted({c[0] for c in counted})
        )
        waiting = () if self.has("one_statement") else tuple(s for s in w.ledger.outbox if not s.publication)
        yield (
            "sums the contributions",
            self.go(w, pid, p, step="commit" if self.has("touched_first") else "take", sums=sums, lot=waiting),
        )

    def do_commit(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Write what has changed, number the segments, commit."""
        ledger = w.ledger
        closed, complete = p.close if self.has("close_first") else self.close(w, p)
        old, sums = {r.window: r for r in ledger.results}, dict(p.sums)
        touched = {t[2] for t in p.taken}
        rows = []
        for window in sorted(set(sums) | (set(old) if self.has("all_keys") else set(old) & touched)):
            was = old.get(window, Result(window))
            now = was._replace(total=sums.get(window), final=complete <= window < closed)
            shut = window < closed if self.has("closed_partial") else now.final
            opened = self.s.early or (p.behind and self.has("behind"))
            new = shut and (window >= ledger.closed or (now.final and window < ledger.complete))
            changed = (now != was and bool(now.total or was.total)) or not self.has("only_changes")
            if (new or (window in touched and (shut or opened))) and changed:
                goes_on = self.has("revisions_go_on") or was.total is not None
                old[window] = now = now._replace(revision=was.revision + 1 if goes_on else 1)
                rows.append(Row("result", window, now.revision, now.total, now.final))
        waiting = [s for s in (ledger.outbox if self.has("one_statement") else p.lot) if not s.publication]
        ready = sorted((s for s in waiting if self.may_go(ledger, s)), key=lambda s: s.rows[0][1:3])
        new_ones = ready + [Segment(0, tuple(rows))] * bool(rows)
        number = ledger.publication if self.has("numbered_by_merge") else w.sequence
        numbered = [Segment(number + k, s.rows) for k, s in enumerate(new_ones, 1)]
        number += len(numbered)
        outbox = [s for s in ledger.outbox if s not in ready] + numbered
        ledger = ledger._replace(
            results=tuple(old[window] for window in sorted(old)),
            closed=closed,
            complete=complete,
            outbox=tuple(sorted(outbox)),
            touched=tuple(t for t in ledger.touched if t not in p.taken),
            publication=max([number] + [s.publication for s in outbox]),
        )
        w = w._replace(ledger=ledger, sequence=w.sequence if self.has("numbered_by_merge") else number)
        texts = [f"{row.kind} {row.key}:{row.number}" for s in numbered for row in s.rows]
        after = self.go(w, pid, p, step="fence", close=(0, NEVER), taken=(), sums=(), lot=(), behind=False)
        yield (
            f"closes windows {complete} to {closed}, numbers {texts}, commits the merge",
            (self.end(w, pid) if p.kind == "merge" else after),
        )

    def may_go(self, ledger: Ledger, segment: Segment) -> bool:
        """Nothing from first_offset up is missing below it. What is older than first_offset does not wait."""
        _, q, start, *_ = segment.rows[0]
        low = ledger.first[q] if self.has("hold_back_low") else 0
        return not self.has("hold_back") or not self.uncovered(ledger, q, low, start)

    # -- send ----------------------------------------------------------------------------------------------------

    def do_fence(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """init_transactions(): raise the epoch, abort the open transaction or complete one that was decided."""
        slot = self.slot(pid)
        text = "init_transactions()" + (" aborts an open transaction" if w.producers[slot].open else "")
        if w.producers[slot].decided:
            w, text = self.complete(w, slot), "init_transactions() completes a decided transaction"
        w = w._replace(producers=put(w.producers, slot, Producer(pid)))
        yield text, self.go(w, pid, p, step="ask")

    def do_ask(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        if self.has("cluster_check") and w.cluster != 1:
            yield "finds another cluster id and stops with an error", self.stop(w, pid, p, "another cluster")
        elif w.pending is None or not self.has("stable"):
            yield f"is told the cursor {w.cursor}", self.go(w, pid, p, step="settle", asked=w.cursor)

    def do_settle(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """The cursor must be what is marked (not sent) or what is intended (sent)."""
        ledger, asked = w.ledger, p.asked
        if asked is None and self.has("tail_check"):
            asked = max((sent.at for sent in w.log), default=(ledger.uuid, 0))
        sent = ledger.intent is not None and self.same(asked, ledger.intent)
        known = sent or asked is None or self.same(asked, ledger.cursor) or not self.has("cursor")
        if not known:
            yield f"cannot explain the cursor {asked}: stops with an error", self.stop(w, pid, p, "the cursor")
        elif sent and self.has("cursor") and ledger.intent is not None:
            w = w._replace(ledger=self.marked(ledger, ledger.intent))
            yield "finds its intent sent, marks it", self.go(w, pid, p, step="intend", asked=None)
        else:
            yield "finds that nothing was sent", self.go(w, pid, p, step="intend", asked=None)

    def same(self, asked: Cursor | None, known: Cursor) -> bool:
        return asked is not None and (asked == known if self.has("ledger_uuid") else asked[1:] == known[1:])

    def do_intend(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        ledger = w.ledger
        lot = tuple(sorted(s for s in ledger.outbox if s.publication))[: self.s.lot]
        if not lot:
            yield "has nothing to send", self.go(w, pid, p, step="renew", asked=ledger.cursor)
        else:
            intent = (ledger.uuid, lot[-1].publication)
            if self.has("intent"):
                w = w._replace(ledger=ledger._replace(intent=intent))
            yield f"intends to send up to {intent}", self.go(w, pid, p, step="send", lot=lot, asked=intent)

    def do_renew(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Nothing to send: the cursor is written again, so that it does not expire. One step: all or nothing."""
        producer = w.producers[self.slot(pid)]
        if self.has("renew_fenced") and producer.owner != pid:
            yield "is fenced and fails", self.end(w, pid)
        elif not producer.decided:
            yield f"renews the cursor {p.asked}", self.end(w._replace(cursor=p.asked, pending=None), pid)

    def do_send(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        slot = self.slot(pid)
        if w.producers[slot].owner != pid:
            yield "is fenced and fails", self.end(w, pid)
            return
        if w.producers[slot].decided:
            return  # the coordinator makes the next transaction wait for the markers of the last one
        assert p.asked is not None
        messages = tuple(Sent((p.asked[0], s.publication), row) for s in p.lot for row in s.rows)
        opened = w.producers[slot]._replace(open=(messages, p.asked))
        yield (
            f"sends {[f'{m.row.kind} {m.row.key}:{m.row.number}' for m in messages]} and the cursor",
            self.go(w._replace(producers=put(w.producers, slot, opened)), pid, p, step="finish"),
        )

    def do_finish(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        """Ask for the commit. The answer may be lost, and so may the request, or it arrives much later."""
        slot = self.slot(pid)
        producer = w.producers[slot]
        if producer.owner != pid:
            yield "is fenced and fails", self.end(w, pid)
            return
        decided = w._replace(producers=put(w.producers, slot, producer._replace(decided=True)))
        yield "commits its Kafka transaction", self.go(decided, pid, p, step="mark")
        if w.faults < self.s.faults:
            late = w._replace(producers=put(w.producers, slot, producer._replace(late=True)))
            for text, found in (("commits, the answer is lost", decided), ("asks for the commit, no answer", late)):
                after = found._replace(faults=w.faults + 1)
                yield text, self.go(after, pid, p, step="lock", lock="", lot=(), asked=None)

    def do_mark(self, w: World, pid: int, p: Process) -> Iterator[Step]:
        at = p.asked
        assert at is not None
        if not self.has("atomic_offsets"):
            w = w._replace(cursor=at)
        yield (
            f"marks all up to {at} as sent",
            self.go(w._replace(ledger=self.marked(w.ledger, at)), pid, p, step="intend", lot=(), asked=None),
        )

    def marked(self, ledger: Ledger, at: Cursor) -> Ledger:
        outbox = tuple(s for s in ledger.outbox if not s.publication or s.publication > at[1])
        return ledger._replace(cursor=(ledger.uuid, at[1]), intent=None, outbox=outbox)

    def complete(self, w: World, slot: int) -> World:
        """The markers are written: messages become visible, and the cursor soon."""
        producer = w.producers[slot]
        assert producer.open is not None
        messages, cursor = producer.open
        broken = "messages were sent to another cluster" if w.cluster != 1 else w.broken
        w = w._replace(log=w.log + messages, broken=broken, producers=put(w.producers, slot, Producer(producer.owner)))
        return w._replace(pending=cursor) if self.has("atomic_offsets") else w
