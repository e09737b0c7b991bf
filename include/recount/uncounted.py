"""What of the input was not counted again, and what was never counted at all, for the report."""

from collections import defaultdict
from collections.abc import Iterable

from recount.ledger import Range
from recount.picture import Picture
from recount.report import Part
from recount.scope import LOSS, Why
from recount.spans import merged


def on_trust(picture: Picture) -> tuple[Part, ...]:
    """Ranges of batches that could not be counted again; neighbours are put together."""
    found = []
    for why in (Why.DELETED, Why.RETIRED, Why.STRANGE, Why.FORMER, Why.ARCHIVED):
        ranges = [each for each in _all(picture) if picture.scope.unread.get(each.batch_id) is why]
        found += [
            Part(why.value, where, start, end, tuple(sorted(batches)))
            for where, mine in _by_place(picture, ranges).items()
            for start, end, batches in _together(mine)
        ]
    return tuple(found)


def losses(picture: Picture) -> tuple[Part, ...]:
    """Ranges of accepted losses."""
    batches = picture.ledger.batches
    return tuple(
        Part("", where, each.start, each.end, (each.batch_id,), batches[each.batch_id].decision_id)
        for where, ranges in _by_place(picture, _all(picture)).items()
        for each in ranges
        if each.batch_id in batches and batches[each.batch_id].kind == LOSS
    )


def _all(picture: Picture) -> tuple[Range, ...]:
    return (*picture.ledger.elsewhere, *picture.ledger.ranges)


def _by_place(picture: Picture, ranges: Iterable[Range]) -> dict[str, list[Range]]:
    """By topic and partition; a log that is no more is named with its id."""
    found: dict[str, list[Range]] = defaultdict(list)
    for each in sorted(ranges, key=lambda each: (str(each.topic_id), each.partition, each.start)):
        log = "" if each.topic_id == picture.source.topic_id else f" of log {each.topic_id}"
        found[f"{picture.ledger.definition.topic}[{each.partition}]{log}"].append(each)
    return dict(found)


def _together(ranges: Iterable[Range]) -> Iterable[tuple[int, int, set[int]]]:
    """Spans without gaps, and the batches that have them; the ranges are sorted."""
    left = list(ranges)
    at = 0
    for start, end in merged((each.start, each.end) for each in left):
        batches = set()
        while at < len(left) and left[at].start < end:
            batches.add(left[at].batch_id)
            at += 1
        yield start, end, batches
