"""The header `microbatch.cursor` and the group's metadata: `{"ledger": uuid, "publication": n}`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from recount.kafka import Message

HEADER = "microbatch.cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a ledger's outbox was sent, as Kafka says it."""

    ledger: UUID
    publication: int


def parse(text: str | None) -> Cursor | None:
    """The cursor; None if the text is not one."""
    try:
        plain = json.loads(text or "")
        if set(plain) != {"ledger", "publication"} or type(plain["publication"]) is not int:
            return None
        return Cursor(UUID(plain["ledger"]), plain["publication"])
    except (ValueError, TypeError, AttributeError):
        return None


def order(messages: Iterable[Message], ledger: UUID, sent: int) -> list[str]:
    """Where the cursors of a ledger's messages decrease along a partition, or lie beyond what was sent."""
    wrong = []
    last: dict[int, int] = {}
    for message in messages:
        cursor = parse(message.header(HEADER))
        if cursor is None or cursor.ledger != ledger:
            continue
        if cursor.publication < last.get(message.partition, 0):
            wrong.append(f"{message.where}: publication {cursor.publication} after {last[message.partition]}")
        if cursor.publication > sent:
            wrong.append(f"{message.where}: publication {cursor.publication}, but {sent} is the last one sent")
        last[message.partition] = cursor.publication
    return wrong
