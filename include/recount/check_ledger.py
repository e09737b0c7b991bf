"""The ledger against the input: every message is in exactly one range, and the counts are right."""

from collections import defaultdict
from itertools import pairwise

from recount.ledger import Progress, Range
from recount.picture import Picture
from recount.report import Finding


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    return [_source(picture), _ranges(picture), _coverage(picture), _counts(picture), _rejects(picture)]


def _source(picture: Picture) -> Finding:
    """The topic is the one that was read, and all of it is still there to be counted."""
    registered = {progress.topic_id for progress in picture.ledger.progress}
    registered |= {found.topic_id for found in picture.ledger.ranges}
    topic = picture.ledger.definition.topic
    wrong = [
        f"{topic} has id {picture.source.topic_id}, the ledger has {topic_id}"
        for topic_id in registered
        if topic_id != picture.source.topic_id
    ]
    wrong += [
        f"{topic}[{partition}]: offsets {start}..{low - 1} are gone and cannot be counted again"
        for partition, start, low in picture.source.lost
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
    """Messages and rejects, of each range and of each batch."""
    wrong = []
    sums: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for found in picture.ledger.ranges:
        place = (found.batch_id, found.partition, found.start)
        counted = (picture.counted.messages.get(place, 0), picture.counted.rejected.get(place, 0))
        if counted != (found.messages, found.rejected):
            wrong.append(
                f"{_show(found)} says {found.messages} messages, {found.rejected} rejected; "
                f"the topic has {counted[0]}, {counted[1]}"
            )
        sums[found.batch_id] = (sums[found.batch_id][0] + counted[0], sums[found.batch_id][1] + counted[1])
    for batch_id, said in picture.ledger.batches.items():
        if said != sums[batch_id]:
            wrong.append(f"batch {batch_id} says {said[0]} messages, {said[1]} rejected; really {sums[batch_id]}")
    return Finding("messages and rejects counted", sum(picture.counted.messages.values()), tuple(wrong))


def _rejects(picture: Picture) -> Finding:
    """One row per rejected offset, with its batch and a reason."""
    said = picture.ledger.rejects
    counted = picture.counted.rejects
    wrong = [f"partition {p}, offset {o}: rejected, but valid" for p, o in sorted(said.keys() - counted.keys())]
    wrong += [
        f"partition {p}, offset {o}: not rejected, but {counted[p, o].reason}"
        for p, o in sorted(counted.keys() - said.keys())
    ]
    for place in sorted(said.keys() & counted.keys()):
        batch_id, reason = said[place]
        if batch_id != counted[place].batch_id or not reason:
            wrong.append(f"partition {place[0]}, offset {place[1]}: batch {batch_id}, reason {reason!a}")
    return Finding("rejected offsets", len(counted), tuple(wrong))


def _by_partition(ranges: tuple[Range, ...]) -> dict[int, list[Range]]:
    found: dict[int, list[Range]] = defaultdict(list)
    for each in sorted(ranges, key=lambda each: (each.partition, each.start)):
        found[each.partition].append(each)
    return found


def _show(found: Range) -> str:
    return f"batch {found.batch_id}'s range {found.partition}:[{found.start}, {found.end})"
