"""Rejects: how many are too many for a batch, and those that a person has accepted."""

from typing import Final

from confluent_kafka import Message as RawMessage

from microbatch.decoding import Reject
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange, places
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

    def read(self, item: OffsetRange, messages: list[RawMessage]) -> None:
        """Count messages of a range."""
        if any(item.partition == accepted.partition for accepted in self._accepted):
            self.messages += sum(self._counts(item.partition, message.offset()) for message in messages)
        else:
            self.messages += len(messages)

    def reject(self, rejects: list[Reject]) -> None:
        """Count what is invalid. Rejects that only broke a rule of the declaration are good messages here."""
        invalid = [reject.message for reject in rejects if reject.is_invalid]
        self.invalid += sum(self._counts(message.partition, message.offset) for message in invalid)

    def is_too_large(self, allowed: float) -> bool:
        """Whether it is more than the allowed share."""
        return self.messages >= REJECTED_SHARE_OF_AT_LEAST and self.invalid > allowed * self.messages

    def _counts(self, partition: int, offset: int | None) -> bool:
        return not any(
            partition == item.partition and offset is not None and item.start <= offset < item.end
            for item in self._accepted
        )


def accepted_rejects(
    connection: Connection, registration: Registration, ranges: list[OffsetRange]
) -> list[OffsetRange]:
    """Offsets whose rejects a person has accepted; of those that meet some ranges."""
    facts = {
        "pipeline_id": registration.pipeline_id,
        "topic_id": registration.topic_id,
        **places(ranges),
    }
    rows = connection.execute(_LEDGER["accepted_rejects"], facts).fetchall()
    return [OffsetRange(*row) for row in rows]
