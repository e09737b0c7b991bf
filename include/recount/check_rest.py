"""Nothing is left to do or half done, and the group says how far the pipeline is."""

from recount import cursor
from recount.kafka import Committed
from recount.picture import Picture
from recount.report import Finding


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    return [
        Finding("one moment", 1, picture.moved),
        Finding("engine at rest, nothing waits", 1, picture.ledger.unrest),
        _no_open_transaction(picture),
        _group(picture),
    ]


def _no_open_transaction(picture: Picture) -> Finding:
    """The client cannot list transactions, but an open one holds the last stable offset of what it wrote."""
    wrong = [
        f"{topic}[{partition}]: last stable offset {ends.last_stable}, high watermark {ends.high}"
        for topic, sink in picture.sinks.items()
        for partition, ends in (sink.ends.items() if sink else ())
        if ends.last_stable < ends.high
    ]
    return Finding("no open Kafka transaction", sum(len(s.ends) for s in picture.sinks.values() if s), tuple(wrong))


def _group(picture: Picture) -> Finding:
    """Positions are the contiguous covered ends; the cursor beside partition 0's is the ledger's."""
    name = "committed offsets of the group"
    if picture.committed is None:
        return Finding(name, 0, ("the broker does not tell them: a transaction of the group is open",))
    wrong = []
    for progress in picture.ledger.progress:
        found = picture.committed.get(progress.partition)
        if found is None or found.offset != progress.covered_until:
            said = found.offset if found else None
            wrong.append(f"partition {progress.partition}: committed {said}, covered up to {progress.covered_until}")
    wrong += _cursor(picture, picture.committed.get(0))
    return Finding(name, len(picture.ledger.progress), tuple(wrong))


def _cursor(picture: Picture, found: Committed | None) -> list[str]:
    said = cursor.parse(found.metadata) if found else None
    if said is None:
        return [f"partition 0: no cursor in the metadata {found.metadata if found else None!a}"]
    if said.ledger != picture.ledger.ledger:
        return [f"the cursor is of ledger {said.ledger}, this is {picture.ledger.ledger}"]
    publisher = picture.ledger.publisher
    sent = publisher.cursor if publisher else None
    return [] if said.publication == sent else [f"the cursor says publication {said.publication}, the ledger {sent}"]
