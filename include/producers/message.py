"""What generators and senders have in common."""

import random
from collections.abc import Callable
from datetime import datetime

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A message for Kafka.

    Attributes:
        at: its timestamp in Kafka, aware; the event time of a live event.
    """

    key: bytes
    value: bytes
    at: datetime


Generator = Callable[[random.Random, datetime, float], Message]
"""Makes the event that happens now: `(chance, now, bad_share) -> Message`.

Pure: the same state of `chance` and the same arguments give the same message. A share `bad_share` of them, from 0
to 1, is bad in one of the ways that real producers are.
"""
