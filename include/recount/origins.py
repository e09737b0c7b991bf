"""Messages that each stand for one message of the source: dead letters, stream rows, and pairs by their later event."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recount import cursor
from recount.counted import Owners
from recount.formats import is_timestamp
from recount.kafka import Message
from recount.pairing import Place
from recount.picture import Picture, Sink

NOWHERE: Final[Place] = (-1, -1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must be on a topic once: the source message's place, and a word about it."""

    where: str
    word: str = ""


def place_of(message: Message) -> Place:
    """The source partition and offset that the headers name; NOWHERE if they do not."""
    texts = (message.header("microbatch.partition") or "", message.header("microbatch.offset") or "")
    if not all(text.isdecimal() for text in texts):
        return NOWHERE
    return int(texts[0]), int(texts[1])


def by_place(messages: Iterable[Message]) -> dict[Place, list[Message]]:
    """The messages of each place."""
    found: dict[Place, list[Message]] = defaultdict(list)
    for message in messages:
        found[place_of(message)].append(message)
    return dict(found)


def presence(
    picture: Picture,
    topic: str,
    wanted: Mapping[Place, Wanted],
    sent: Mapping[Place, Sequence[Message]],
    excused: Collection[Place] = (),
) -> list[str]:
    """Each is there once, if its turn has come. What is missing must have been set aside, or be excused."""
    wrong, missing, unsure = [], [], 0
    for place, want in sorted(wanted.items()):
        found, is_due = sent.get(place, ()), picture.ledger.is_due(*place)
        if not found and is_due and place in excused:
            unsure += 1
        elif not found and is_due:
            missing.append(f"{want.where}: not there{want.word}")
        if found and not is_due:
            wrong.append(f"{want.where}: sent as {found[0].where} before what is uncovered below it")
        if len(found) > 1:
            wrong.append(f"{want.where}: sent {len(found)} times, {', '.join(m.where for m in found)}")
    aside = picture.ledger.set_aside.get(topic, 0)
    is_part = picture.is_audit or bool(picture.scope.unread)  # what was set aside may be of what is not judged
    if not len(missing) <= aside or (aside > len(missing) + unsure and not is_part):
        wrong += [*missing, f"{len(missing)} are missing, {aside} were set aside"]
    return wrong


def source_differences(source: Message, message: Message, parts: Sequence[str]) -> list[str]:
    """Where parts of a message, or its timestamp, are not the source's."""
    wrong = [
        f"{name} is {getattr(message, name)!r:.60}, the source has {getattr(source, name)!r:.60}"
        for name in parts
        if getattr(message, name) != getattr(source, name)
    ]
    if not is_timestamp(message.timestamp_ms, source.timestamp_ms):
        wrong.append(f"timestamp_ms is {message.timestamp_ms}, the source has {source.timestamp_ms}")
    return wrong


def judged(picture: Picture, messages: Iterable[Message]) -> list[Message]:
    """Those of batches that are counted again, and those of no batch at all: somebody else's doing is ours to find.

    Of a log that the source had before, places mean other messages: the batch in the headers tells them apart.
    """
    owners = Owners(picture.ledger.ranges)
    elsewhere = {each.batch_id for each in picture.ledger.elsewhere}
    return [
        message
        for message in messages
        if _batch_of(picture, message) not in elsewhere
        and ((owner := owners.of(*place_of(message))) is None or picture.scope.reads(owner.batch_id))
    ]


def _batch_of(picture: Picture, message: Message) -> int | None:
    """Where the batch is now that the headers name; None if they name none."""
    text = message.header("microbatch.batch") or ""
    return picture.ledger.archives.now_in(int(text)) if text.isdecimal() else None


def deleted(picture: Picture, topic: str, sink: Sink, sent: Iterable[Message]) -> Callable[[Place], bool]:
    """Whether retention can have deleted the message of a place: nothing older of its source partition is there."""
    partitions = picture.ledger.sink_partitions.get(topic, len(sink.ends))
    lows = {partition: ends.low for partition, ends in sink.ends.items()}
    oldest: dict[int, int] = {}
    for partition, offset in map(place_of, sent):
        oldest[partition] = min(offset, oldest.get(partition, offset))
    return lambda place: (
        picture.is_audit and lows.get(place[0] % partitions, 0) > 0 and place[1] < oldest.get(place[0], place[1] + 1)
    )


def redone(picture: Picture, places: Iterable[Place]) -> set[Place]:
    """Those places whose batch was redone: topics keep what an earlier attempt sent."""
    owners = Owners(picture.ledger.ranges)
    return {
        place
        for place in places
        if (owner := owners.of(*place)) is not None and picture.ledger.is_redone(owner.batch_id)
    }


def order(picture: Picture, topic: str, sink: Sink, messages: Sequence[Message]) -> list[str]:
    """The order of the source partition, on the sink partition that belongs to it; cursors never decrease.

    History, which lies below first_offset, is sent as it comes, and so is what a redone batch sends.
    """
    wrong = cursor.order(messages, picture.ledger.ledger, picture.ledger.sent)
    first = {progress.partition: progress.first_offset for progress in picture.ledger.progress}
    partitions = picture.ledger.sink_partitions.get(topic, len(sink.ends))
    loose = redone(picture, {place_of(message) for message in messages})
    last: dict[int, int] = {}
    for message in messages:
        partition, offset = place_of(message)
        if message.partition != partition % partitions:
            wrong.append(f"{message.where}: of source partition {partition}, belongs on {partition % partitions}")
        if offset < first.get(partition, 0) or (partition, offset) in loose:
            continue
        if offset < last.get(partition, -1):
            wrong.append(f"{message.where}: {partition}@{offset} after {partition}@{last[partition]}")
        last[partition] = offset
    return wrong
