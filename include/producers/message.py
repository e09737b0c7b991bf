"""What is sent to Kafka."""

from datetime import datetime

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A message for Kafka.

    Attributes:
        at: its timestamp in Kafka, aware.
    """

    key: bytes | None
    value: bytes | None
    at: datetime
