"""Dead letters against the rejects of the input: none missing, none twice, whole, in order."""

from collections.abc import Callable
from typing import Final

from recount import cursor, origins
from recount.counted import Reject
from recount.kafka import Message
from recount.origins import Wanted
from recount.pairing import Place
from recount.picture import Picture, Sink
from recount.report import Finding

_NAMES: Final = ("reason", "topic", "partition", "offset", "pipeline", "batch", "cursor")
_HEADERS: Final = tuple(f"microbatch.{name}" for name in _NAMES)

Letters = dict[Place, list[Message]]


def check(picture: Picture) -> list[Finding]:
    """The comparisons of this module."""
    topic = picture.ledger.definition.dead_letters
    sink = picture.sinks[topic]
    if sink is None:
        return [Finding(f"topic {topic}", 0, ("the topic does not exist",))]
    mine, wrong = _mine(picture, topic, sink)
    mine = origins.judged(picture, mine)
    gone = origins.deleted(picture, topic, sink, mine)
    letters = origins.by_place(mine)
    return [
        _all_there(picture, topic, letters, gone),
        _whole(picture, topic, letters),
        Finding(f"topic {topic}: order", len(mine), (*wrong, *origins.order(picture, topic, sink, mine))),
    ]


def _mine(picture: Picture, topic: str, sink: Sink) -> tuple[list[Message], list[str]]:
    """The dead letters of this pipeline and ledger (the topic may be shared), and those without origin."""
    mine, wrong = [], []
    for message in sink.messages:
        if message.header("microbatch.pipeline") not in picture.names:
            continue
        found = cursor.parse(message.header(cursor.HEADER))
        if found is None or origins.place_of(message) == origins.NOWHERE:
            wrong.append(f"{message.where}: no cursor, or no origin, in its headers")
        elif picture.ledger.is_ours(found.ledger) or picture.was_sent_before(topic, origins.place_of(message)):
            mine.append(message)
    return mine, wrong


def resolved(picture: Picture) -> dict[Place, Reject]:
    """Messages that count now, and that an earlier attempt rejected: their letters stay."""
    return {
        place: Reject(picture.counted.origins[place], row.batch_id, row.reason)
        for place, row in picture.ledger.rejects.items()
        if row.resolved and place in picture.counted.origins and picture.ledger.is_redone(row.batch_id)
    }


def _all_there(picture: Picture, topic: str, letters: Letters, gone: Callable[[Place], bool]) -> Finding:
    """Each reject whose turn has come is there once; a resolved one may be, or one that retention can have deleted."""
    accepted = resolved(picture)
    rejects = {place: reject for place, reject in picture.counted.rejects.items() if not gone(place)}
    accepted = {place: reject for place, reject in accepted.items() if not gone(place)}
    wanted = {
        place: Wanted(reject.message.where, f" ({reject.reason})")
        for place, reject in (*accepted.items(), *rejects.items())
    }
    wrong = origins.presence(picture, topic, wanted, letters, excused=accepted.keys() - rejects.keys())
    wrong += [
        f"{letters[place][0].where}: a dead letter of {place[0]}@{place[1]}, which is no reject"
        for place in sorted(letters.keys() - wanted.keys())
    ]
    deleted = len(picture.counted.rejects) - len(rejects)
    notes = [f"{len(accepted)} resolved"] if accepted else []
    notes += [f"{deleted} are not there any more: retention"] if deleted else []
    note = ", ".join(notes)
    return Finding(f"topic {topic} = rejects", len(rejects), tuple(wrong), note)


def _whole(picture: Picture, topic: str, letters: Letters) -> Finding:
    """Key, value, headers and timestamp are the source's; our headers follow and are right."""
    wrong = []
    count = 0
    for place, reject in sorted((resolved(picture) | picture.counted.rejects).items()):
        for letter in letters.get(place, []):
            count += 1
            wrong += [f"{letter.where}: {text}" for text in _differences(picture, reject, letter)]
    return Finding(f"topic {topic}: whole", count, tuple(wrong))


def _differences(picture: Picture, reject: Reject, letter: Message) -> list[str]:
    source = reject.message
    wrong = origins.source_differences(source, letter, ("key", "value"))
    kept, added = letter.headers[: -len(_HEADERS)], letter.headers[-len(_HEADERS) :]
    if kept != source.headers:
        wrong.append(f"headers {kept!r:.120}, the source has {source.headers!r:.120}")
    if tuple(name for name, _ in added) != _HEADERS:
        wrong.append(f"our headers are {', '.join(name for name, _ in added)}")
    return wrong + _origin_differences(picture, reject, letter)


def _origin_differences(picture: Picture, reject: Reject, letter: Message) -> list[str]:
    """Headers against the ledger: the reason, the topic and the batch. A redo may have found another reason.

    What was sent before this ledger knew of it has the batch, and perhaps the reason, of then.
    """
    place = reject.message.partition, reject.message.offset
    row = picture.ledger.rejects.get(place)
    should = {"topic": reject.message.topic}
    was_sent_before = picture.was_sent_before(picture.ledger.definition.dead_letters, place)
    if not was_sent_before:
        should["batch"] = str(reject.batch_id)
    if not was_sent_before and not picture.ledger.is_redone(reject.batch_id):
        should["reason"] = row.reason if row else ""
    wrong = [
        f"microbatch.{name} is {letter.header(f'microbatch.{name}')!a}, should be {text!a}"
        for name, text in should.items()
        if letter.header(f"microbatch.{name}") != text
    ]
    return wrong if letter.header("microbatch.reason") else [*wrong, "no reason in its headers"]
