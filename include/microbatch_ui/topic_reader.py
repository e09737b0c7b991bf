"""Reading parts of a topic: the first messages from some offsets on, or the last ones before some.

Nothing is subscribed and no offset is ever committed, so no pipeline notices.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as RawMessage
from fastapi import HTTPException, status

from microbatch.kafka import KAFKA_TIMEOUT_S, READER, client_config, reaching, warm_up
from microbatch.ranges import OffsetRange
from microbatch.settings import Connections
from microbatch_ui.messages import MOST_BYTES, Look

_POLL_MESSAGES: Final = 1_000
# `consume` waits so long for as many: at a partition's end that is lost time.
_POLL_S: Final = 0.02
# Steps back get wider where markers, aborted or compacted messages were, up to so many offsets of a partition.
_WIDEST: Final = 20_000


class _Lot:
    """What arrives of one span; see its subclasses for what is kept."""

    def __init__(self, span: OffsetRange, most: int) -> None:
        self.span = span
        self.most = most
        self.messages: deque[RawMessage] = deque()
        self.bytes = 0
        self.is_at_end = False

    @property
    def is_done(self) -> bool:
        """Whether nothing more has to be read."""
        return self.is_at_end

    def arrived(self, message: RawMessage) -> None:
        """A message of its partition, which may be past the end."""
        offset = cast("int", message.offset())
        if self.span.start <= offset < self.span.end:
            self.keep(message)
        self.passed(offset + 1)

    def passed(self, position: int) -> None:
        """All below this position has arrived."""
        self.is_at_end = self.is_at_end or position >= self.span.end

    def keep(self, message: RawMessage) -> None:
        self.messages.append(message)
        self.bytes += _size(message)

    def look(self) -> Look:
        """The messages, and of which offsets they are all that there is."""
        raise NotImplementedError


class _First(_Lot):
    """Keeps the first messages."""

    @property
    def is_done(self) -> bool:
        return self.is_at_end or self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self.messages) >= self.most or self.bytes >= MOST_BYTES

    def keep(self, message: RawMessage) -> None:
        if not self._is_full:
            super().keep(message)

    def passed(self, position: int) -> None:
        # Once it is full, later messages of the same poll are not kept, so the end counts as not reached.
        ...
