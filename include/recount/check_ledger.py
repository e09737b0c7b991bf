"""The ledger against the input: every message is in exactly one range, and the counts are right."""

from collections import defaultdict
from itertools import pairwise

from recount import redriven
from recount.counted import NO_COUNTS, Counts
from recount.ledger import Batch, Progress, Range
from recount.picture import Picture
from recount.report import Finding
from recount.scope import ARCHIVE


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    findings = [_source(picture), _ranges(picture), _coverage(picture), _counts(picture), _rejects(picture)]
    return [*findings, redriven.check(picture)] if picture.ledger.redriven or picture.redriven else findings


def _source(picture: Picture) -> Finding:
    """The topic is the one that was read, and what should be there to be counted is there."""
    topic = picture.ledger.definition.topic
    wrong = [
        f"{topic} has id {picture.source.topic_id}, the ledger has {topic_id}"
        for topic_id in sorted(picture.ledger.others - picture.ledger.retired)
    ]
    gone = "were deleted before they were counted" if picture.is_audit else "are gone and cannot be counted again"
    wrong += [
        f"{topic}[{partition}]: offsets {start}..{end - 1} {gone}" for partition, start, end in picture.source.lost
    ]
    wrong += [
        f"{topic}[{progress.partition}]: registered, but not in the topic"
        for progress in picture.ledger.progress
        if progress.partition not in picture.source.ends
    ]
    return Finding("source topic", len(picture.source.ends), tuple(wrong))


def _ranges(picture: Picture) -> Finding:
    """Ranges of a partition are disjoint, have a batch and lie inside the log."""
    wrong = []
    for partition, ranges in _by_partition(picture.ledger.ranges).items():
        for left, right in pairwise(ranges):
            if right.start < left.end:
                wrong.append(f"partition {partition}: {_show(left)} and {_show(right)} overlap")
        ends = picture.source.ends.get(partition)
        wrong += [
            f"partition {partition}: {_show(found)} is beyond the high watermark {ends.high}"
            for found in ranges
            if ends is not None and found.end > ends.high
        ]
    wrong += [
        f"{_show(found)} has no batch"
        for found in picture.ledger.ranges
        if found.batch_id not in picture.ledger.batches
    ]
    return Finding("offset ranges are disjoint", len(picture.ledger.ranges), tuple(wrong))


def _coverage(picture: Picture) -> Finding:
    """No gap below what the ledger says is covered, and nothing uncovered at all where all is settled."""
    ranges = _by_partition(picture.ledger.ranges)
    wrong = []
    for progress in picture.ledger.progress:
        wrong += _gaps(progress, ranges.get(progress.partition, []))
    registered = {progress.partition: progress for progress in picture.ledger.progress}
    if picture.settled:
        wrong += _unread(picture, registered)
    wrong += [
        f"partition {partition}: the message at {offset} was stepped over"
        for partition, offset in picture.counted.uncovered
        if partition in registered
        and registered[partition].first_offset <= offset < registered[partition].covered_until
    ]
    return Finding("offset ranges have no gap", len(registered), tuple(wrong))


def _gaps(progress: Progress, ranges: list[Range]) -> list[str]:
    """Gaps above first_offset, and a covered_until that is not the end of what is covered without one."""
    wrong, end = [], progress.first_offset
    for found in ranges:
        if found.start > end:
            break
        end = max(end, found.end)
    if end != progress.covered_until:
        wrong.append(f"partition {progress.partition}: covered without a gap up to {end}, not {progress.covered_until}")
    return wrong


def _unread(picture: Picture, registered: dict[int, Progress]) -> list[str]:
    wrong = []
    for partition, ends in picture.source.ends.items():
        covered = registered[partition].covered_until if partition in registered else None
        if covered is None or covered < ends.last_stable:
            wrong.append(f"partition {partition}: covered up to {covered}, last stable offset {ends.last_stable}")
    return wrong


def _counts(picture: Picture) -> Finding:
    """Messages, rejects, repeats and what was filtered, of each range and of each batch."""
    wrong = []
    sums: dict[int, Counts] = defaultdict(lambda: NO_COUNTS)
    for found in picture.ledger.ranges:
        if not picture.scope.reads(found.batch_id):
            continue
        counted = picture.counted.counts.get((found.batch_id, found.partition, found.start), NO_COUNTS)
        if counted != _said(found):
            wrong.append(f"{_show(found)} says {_counted(_said(found))}; the topic has {_counted(counted)}")
        sums[found.batch_id] = _plus(sums[found.batch_id], counted)
    for batch_id, batch in picture.ledger.batches.items():
        if picture.scope.reads(batch_id) and _said(batch) != sums[batch_id]:
            wrong.append(f"batch {batch_id} says {_counted(_said(batch))}; really {_counted(sums[batch_id])}")
    wrong += _archives(picture)
    return Finding("messages of ranges and batches counted", picture.counted.messages, tuple(wrong))


def _archives(picture: Picture) -> list[str]:
    """Archives are taken on trust, but each says what its ranges say together."""
    ledger = picture.ledger
    said = {batch_id: NO_COUNTS for batch_id, batch in ledger.batches.items() if batch.kind == ARCHIVE}
    for found in (*ledger.ranges, *ledger.elsewhere):
        if found.batch_id in said:
            said[found.batch_id] = _plus(said[found.batch_id], _said(found))
    return [
        f"archive {batch_id} says {_counted(_said(ledger.batches[batch_id]))}; its ranges say {_counted(counts)}"
        for batch_id, counts in said.items()
        if counts != _said(ledger.batches[batch_id])
    ]


def _plus(a: Counts, b: Counts) -> Counts:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def _said(found: Range | Batch) -> Counts:
    return found.messages, found.rejected, found.repeated, found.filtered


def _counted(counts: Counts) -> str:
    return "{} messages, {} rejected, {} repeated, {} filtered".format(*counts)


def _rejects(picture: Picture) -> Finding:
    """One row per rejected offset, with its batch and a reason; a resolved one must be of a message that counts now."""
    said = {place: row for place, row in picture.ledger.rejects.items() if picture.scope.reads(row.batch_id)}
    counted = picture.counted.rejects
    open_ = {place for place, row in said.items() if not row.resolved}
    wrong = [f"partition {p}, offset {o}: rejected, but valid" for p, o in sorted(open_ - counted.keys())]
    wrong += [
        f"partition {p}, offset {o}: not rejected, but {counted[p, o].reason}"
        for p, o in sorted(counted.keys() - open_)
    ]
    for place in sorted(open_ & counted.keys()):
        row, should = said[place], counted[place]
        if row.batch_id != should.batch_id or not row.reason or (should.is_exact and row.reason != should.reason):
            wrong.append(
                f"partition {place[0]}, offset {place[1]}: batch {row.batch_id}, reason {row.reason!a}; "
                f"should be batch {should.batch_id}, reason {should.reason!a}"
            )
    resolved = sorted(said.keys() - open_)
    wrong += [
        f"partition {p}, offset {o}: resolved, but batch {said[p, o].batch_id} was never redone, or has it not"
        for p, o in resolved
        if not picture.ledger.is_redone(said[p, o].batch_id) or (p, o) not in picture.counted.origins
    ]
    return Finding("rejected offsets", len(counted), tuple(wrong), f"{len(resolved)} resolved" if resolved else "")


def _by_partition(ranges: tuple[Range, ...]) -> dict[int, list[Range]]:
    found: dict[int, list[Range]] = defaultdict(list)
    for each in sorted(ranges, key=lambda each: (each.partition, each.start)):
        found[each.partition].append(each)
    return found


def _show(found: Range) -> str:
    return f"batch {found.batch_id}'s range {found.partition}:[{found.start}, {found.end})"
