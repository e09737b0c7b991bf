"""Rejects: how many are too many for a batch, and those that a person has accepted."""

from typing import Final

from microbatch.decoding import Message, Reject
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange
from microbatch.registration import Registration
from microbatch.sql import queries

# Fewer messages than this say nothing about a share.
REJECTED_SHARE_OF_AT_LEAST: Final = 100
_LEDGER: Final = queries("ledger")


class Share:
    """How much of a batch is no valid event; offsets whose rejects a person has accepted are left out of it."""

    def __init__(self, accepted: list[OffsetRange]) -> None:
        self._accepted = accepted
        self.messages = self.invalid = 0

    def add(self, messages: list[Message], rejects: list[Reject]) -> None:
        """Count a chunk. Rejects that only broke a rule of the declaration are good messages here."""
        invalid = [reject.message for reject in rejects if reject.is_invalid]
        self.messages += self._counting(messages)
        self.invalid += self._counting(invalid)

    def is_too_large(self, allowed: float) -> bool:
        """Whether it is more than the allowed share."""
        return self.messages >= REJECTED_SHARE_OF_AT_LEAST and self.invalid > allowed * self.messages

    def _counting(self, messages: list[Message]) -> int:
        if not self._accepted:
            return len(messages)
        return sum(not any(_is_in(message, item) for item in self._accepted) for message in messages)


def accepted_rejects(
    connection: Connection, registration: Registration, ranges: list[OffsetRange]
) -> list[OffsetRange]:
    """Offsets whose rejects a person has accepted; of those that meet some ranges."""
    facts = {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        "partitions": [item.partition for item in ranges],
        "start_offsets": [item.start for item in ranges],
        "end_offsets": [item.end for item in ranges],
    }
    rows = connection.execute(_LEDGER["accepted_rejects"], facts).fetchall()
    return [OffsetRange(*row) for row in rows]


def _is_in(message: Message, item: OffsetRange) -> bool:
    return message.partition == item.partition and item.start <= message.offset < item.end
