"""Dead letters that were sent to their topic again: messages of the source like any other, but for two headers."""

import re
from typing import Final

from recount import cursor
from recount.kafka import Message
from recount.pairing import Place
from recount.picture import REDRIVEN, Picture
from recount.report import Finding

_ORIGIN: Final = re.compile(r"(.+)\[([0-9]{1,9})\]@([0-9]{1,18})", re.ASCII)
_NAME: Final = "redriven messages"


def check(picture: Picture) -> Finding:
    """Each reject that was to be sent to the source again is there once more, once, and no other is."""
    wanted = picture.ledger.redriven
    if picture.scope.interval is not None:
        return Finding(_NAME, 0, (), "not judged with --from/--to: they may be anywhere on the source")
    sent: dict[Place, list[Message]] = {}
    for message in picture.redriven:
        if (place := _origin(picture, message)) is not None:
            sent.setdefault(place, []).append(message)
    deleted = picture.is_audit and any(ends.low for ends in picture.source.ends.values())
    aside = picture.ledger.set_aside.get(picture.ledger.definition.topic, 0)
    missing = sorted(wanted - sent.keys())
    wrong = [] if deleted or len(missing) == aside else [f"{_at(place)}: not on the source again" for place in missing]
    wrong += [
        f"{_at(place)}: {len(found)} times on the source again, {', '.join(m.where for m in found)}"
        for place, found in sorted(sent.items())
        if len(found) > 1
    ]
    wrong += [
        f"{sent[place][0].where}: says that it is {_at(place)} again, which nobody has redriven"
        for place in sorted(sent.keys() - wanted)
    ]
    note = f"{len(missing)} are not on the source any more" if missing and deleted else ""
    return Finding(_NAME, len(wanted), tuple(wrong), note)


def _origin(picture: Picture, message: Message) -> Place | None:
    """Which reject this message is, if this ledger has sent it. A dead letter that somebody copied is none."""
    match = _ORIGIN.fullmatch(message.header(REDRIVEN) or "")
    found = cursor.parse(message.header(cursor.HEADER))
    if match is None or match[1] != message.topic or found is None or not picture.ledger.is_ours(found.ledger):
        return None
    if message.header("microbatch.offset") is not None or message.header("microbatch.pipeline") not in picture.names:
        return None
    return int(match[2]), int(match[3])


def _at(place: Place) -> str:
    return f"partition {place[0]}, offset {place[1]}"
