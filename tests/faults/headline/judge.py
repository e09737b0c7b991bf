"""What was seen on the output topics against what the input gives. Pure: a function of records and origins."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

Origin = tuple[int, int]
"""Partition and offset of the message of the source that a row, a pair or a dead letter comes from."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A message of an output topic, as a reader saw it.

    Attributes:
        origin: of rows, pairs and dead letters; None: it is a result.
        revision: of results; None: it is none.
        digest: of all of it: key, value, headers, timestamp.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    origin: Origin | None
    revision: int | None
    digest: bytes

    @property
    def where(self) -> str:
        """Topic, partition and offset."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Verdict(msgspec.Struct):
    """What is wrong, one text each."""

    lost: list[str] = []
    twice: list[str] = []
    out_of_order: list[str] = []
    otherwise: list[str] = []

    def add(self, other: "Verdict") -> None:
        """Take in what another one says."""
        self.lost += other.lost
        self.twice += other.twice
        self.out_of_order += other.out_of_order
        self.otherwise += other.otherwise

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.out_of_order or self.otherwise)


_NOBODY: Final = (-1, -1)


def judge(seen: Iterable[Seen], wanted: Mapping[str, Collection[Origin]]) -> Verdict:
    """Each wanted origin once and in order; the revisions of each result 1, 2, 3 and so on.

    Args:
        seen: in the order in which each partition gave them.
        wanted: by topic of rows, pairs and dead letters; other topics have results.
    """
    of_topic: dict[str, list[Seen]] = {topic: [] for topic in wanted}
    for each in seen:
        of_topic.setdefault(each.topic, []).append(each)
    verdict = Verdict()
    for topic, its in of_topic.items():
        verdict.add(_origins(topic, its, wanted[topic]) if topic in wanted else _results(its))
    return verdict


def _origins(topic: str, seen: list[Seen], wanted: Collection[Origin]) -> Verdict:
    count = Counter(each.origin or _NOBODY for each in seen)
    return Verdict(
        lost=[f"{topic}: nothing of {show(origin)}" for origin in sorted(set(wanted) - count.keys())],
        twice=[f"{topic}: {show(origin)} is there {n} times" for origin, n in sorted(count.items()) if n > 1],
        out_of_order=_order(seen),
        otherwise=[
            f"{topic}: {show(origin)}, of which there should be nothing" for origin in count.keys() - set(wanted)
        ],
    )


def _order(seen: list[Seen]) -> list[str]:
    """Of one source partition, on one sink partition: by the source's offsets."""
    wrong, last = [], dict[tuple[int, int], int]()
    for each in seen:
        source, offset = each.origin or _NOBODY
        before = last.get((each.partition, source), -1)
        if offset < before:
            wrong.append(f"{each.where}: {show((source, offset))} after {show((source, before))}")
        last[each.partition, source] = max(offset, before)
    return wrong


def _results(seen: list[Seen]) -> Verdict:
    verdict = Verdict()
    newest: dict[bytes, int] = defaultdict(int)
    for each in seen:
        before, revision, key = newest[each.key or b""], each.revision or 0, (each.key or b"").decode()
        if revision == before:
            verdict.twice.append(f"{each.where}: revision {revision} of {key} once more")
        elif revision < before:
            verdict.out_of_order.append(f"{each.where}: revision {revision} of {key} after {before}")
        elif revision > before + 1:
            verdict.lost.append(f"{each.where}: revision {revision} of {key} comes after {before}")
        newest[each.key or b""] = max(revision, before)
    return verdict


def compare(watched: Iterable[Seen], fresh: Iterable[Seen]) -> Verdict:
    """Whoever read all through the run has seen what is read at its end, and nothing else."""
    before, now = (Counter((each.where, each.digest) for each in seen) for seen in (watched, fresh))
    return Verdict(
        lost=[f"{where}: not seen during the run" for where, _ in sorted((now - before).keys())],
        otherwise=[f"{where}: seen during the run, and not there at its end" for where, _ in sorted(before - now)],
    )


def show(origin: Origin) -> str:
    """An origin, for people."""
    return f"{origin[0]}@{origin[1]}"
