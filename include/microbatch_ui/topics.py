"""Reading topics as people do: the newest messages, those before or from some offsets on, those that came since.

Nothing is subscribed and no offset is ever committed, so neither the pipelines nor anybody else notice.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as RawMessage

from microbatch.errors import KafkaUnreachableError
from microbatch.kafka import KAFKA_TIMEOUT_S, READER, Ends, client_config, reaching, unreachable, warm_up
from microbatch.ranges import OffsetRange
from microbatch.settings import Connections
from microbatch_ui.messages import MOST_BYTES, Look

_POLL_MESSAGES: Final = 1_000
# `consume` waits so long for as many: at a partition's end that is lost time.
_POLL_S: Final = 0.02
# The most offsets of a partition in one step back: where markers, aborted or compacted messages were, steps get wider.
_WIDEST: Final = 20_000


def visible_ends(ends: dict[int, Ends], *, is_committed: bool) -> dict[int, int]:
    """Below which offset of each partition there is what can be read now, with or without open transactions."""
    return {p: at.last_stable if is_committed else at.high_watermark for p, at in ends.items()}


class _Lot:
    """Messages of one partition that are kept: at most `most`, together at most MOST_BYTES, but always one."""

    def __init__(self, most: int) -> None:
        self.messages: deque[RawMessage] = deque()
        self.is_done = False
        self._most = most
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= self._most or self._bytes >= MOST_BYTES

    def add(self, message: RawMessage) -> None:
        self.messages.append(message)
        self._bytes += _size(message)

    def add_and_forget(self, message: RawMessage) -> None:
        """Keep the last ones; the first of them makes it full if others were before it."""
        self.add(message)
        while len(self.messages) > self._most or (self._bytes > MOST_BYTES and len(self.messages) > 1):
            self._bytes -= _size(self.messages.popleft())


class TopicReader:
    """Reads parts of one topic, for KAFKA_TIMEOUT_S at the most; what was not read by then is left for the next page."""

    def __init__(self, consumer: Consumer, topic: str, connections: Connections) -> None:
        self._consumer = consumer
        self._topic = topic
        self._connections = connections
        self._deadline_s = monotonic() + KAFKA_TIMEOUT_S
