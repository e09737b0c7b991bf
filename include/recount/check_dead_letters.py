"""Dead letters against the rejects of the input: none missing, none twice, whole, in order."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from recount import cursor
from recount.counted import Reject
from recount.kafka import Message
from recount.picture import Picture, Sink
from recount.report import Finding

_NAMES: Final = ("reason", "topic", "partition", "offset", "pipeline", "batch", "cursor")
_HEADERS: Final = tuple(f"microbatch.{name}" for name in _NAMES)

Place = tuple[int, int]


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    topic = picture.ledger.definition.dead_letters
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    mine, wrong = _mine(picture, sink)
    letters: dict[Place, list[Message]] = defaultdict(list)
    for message in mine:
        letters[_place(message)].append(message)
    return [
        _all_there(picture, topic, letters),
        _whole(picture, topic, letters),
        Finding(f"topic {topic}: order", len(mine), tuple(wrong + _order(picture, sink, mine))),
    ]


def _mine(picture: Picture, sink: Sink) -> tuple[list[Message], list[str]]:
    """The dead letters of this pipeline and ledger (the topic may be shared), and those without origin."""
    mine, wrong = [], []
    for message in sink.messages:
        if message.header("microbatch.pipeline") != picture.pipeline:
            continue
        found = cursor.parse(message.header(cursor.HEADER))
        if found is None or _place(message) == (-1, -1):
            wrong.append(f"{message.where}: no cursor, or no origin, in its headers")
        elif found.ledger == picture.ledger.ledger:
            mine.append(message)
    return mine, wrong


def _place(message: Message) -> Place:
    """The source partition and offset that the headers name; -1 where they do not."""
    texts = (message.header("microbatch.partition") or "", message.header("microbatch.offset") or "")
    if not all(text.isdecimal() for text in texts):
        return -1, -1
    return int(texts[0]), int(texts[1])


def _all_there(picture: Picture, topic: str, letters: dict[Place, list[Message]]) -> Finding:
    """Each reject whose turn has come is there once. A reject above a gap waits until the gap is filled."""
    wrong, missing = [], []
    rejects = picture.counted.rejects
    for place, reject in sorted(rejects.items()):
        found = letters.get(place, [])
        if not found and _is_due(picture, place):
            missing.append(f"{reject.message.where}: no dead letter ({reject.reason})")
        if found and not _is_due(picture, place):
            wrong.append(f"{reject.message.where}: sent as {found[0].where} before what is uncovered below it")
        if len(found) > 1:
            wrong.append(f"{reject.message.where}: {len(found)} dead letters, {', '.join(m.where for m in found)}")
    wrong += [
        f"{letters[place][0].where}: a dead letter of {place[0]}@{place[1]}, which is no reject"
        for place in sorted(letters.keys() - rejects.keys())
    ]
    aside = picture.ledger.set_aside.get(topic, 0)
    if len(missing) != aside:
        wrong += [*missing, f"{len(missing)} are missing, {aside} were set aside"]
    return Finding(f"topic {topic} = rejects", len(rejects), tuple(wrong))


def _is_due(picture: Picture, place: Place) -> bool:
    for progress in picture.ledger.progress:
        if progress.partition == place[0]:
            return place[1] < max(progress.covered_until, progress.first_offset)
    return False


def _whole(picture: Picture, topic: str, letters: dict[Place, list[Message]]) -> Finding:
    """Key, value, headers and timestamp are the source's; our headers follow and are right."""
    wrong = []
    count = 0
    for place, reject in sorted(picture.counted.rejects.items()):
        for letter in letters.get(place, []):
            count += 1
            wrong += [f"{letter.where}: {text}" for text in _differences(picture, reject, letter)]
    return Finding(f"topic {topic}: whole", count, tuple(wrong))


def _differences(picture: Picture, reject: Reject, letter: Message) -> list[str]:
    source = reject.message
    wrong = [
        f"{name} is {getattr(letter, name)!r:.60}, the source has {getattr(source, name)!r:.60}"
        for name in ("key", "value", "timestamp_ms")
        if getattr(letter, name) != getattr(source, name)
    ]
    kept, added = letter.headers[: -len(_HEADERS)], letter.headers[-len(_HEADERS) :]
    if kept != source.headers:
        wrong.append(f"headers {kept!r:.120}, the source has {source.headers!r:.120}")
    if tuple(name for name, _ in added) != _HEADERS:
        wrong.append(f"our headers are {', '.join(name for name, _ in added)}")
    return wrong + _origin_differences(picture, reject, letter)


def _origin_differences(picture: Picture, reject: Reject, letter: Message) -> list[str]:
    """Headers against the ledger: the reason, the topic and the batch."""
    _, reason = picture.ledger.rejects.get((reject.message.partition, reject.message.offset), (0, None))
    should = {"reason": reason, "topic": reject.message.topic, "batch": str(reject.batch_id)}
    return [
        f"microbatch.{name} is {letter.header(f'microbatch.{name}')!a}, should be {text!a}"
        for name, text in should.items()
        if letter.header(f"microbatch.{name}") != text
    ]


def _order(picture: Picture, sink: Sink, mine: Sequence[Message]) -> list[str]:
    """The order of the source partition, on the sink partition that belongs to it; cursors never decrease."""
    publisher = picture.ledger.publisher
    sent = max(publisher.cursor, publisher.intent or 0) if publisher else 0
    wrong = cursor.order(mine, picture.ledger.ledger, sent)
    first = {progress.partition: progress.first_offset for progress in picture.ledger.progress}
    partitions = picture.ledger.sink_partitions.get(picture.ledger.definition.dead_letters, len(sink.ends))
    last: dict[int, int] = {}
    for letter in mine:
        partition, offset = _place(letter)
        if letter.partition != partition % partitions:
            wrong.append(f"{letter.where}: of source partition {partition}, belongs on {partition % partitions}")
        if offset < first.get(partition, 0):
            continue  # history is sent as it comes
        if offset < last.get(partition, -1):
            wrong.append(f"{letter.where}: {partition}@{offset} after {partition}@{last[partition]}")
        last[partition] = offset
    return wrong
