"""Redrive: dead letters go back to their topic, once each, by way of the outbox.

The dead-letter topic is read twice in bounded memory: first to show what would go, then to write it, in one transaction
with the decision. The next publish sends it as it sends everything. A redriven message is a new message of its topic;
at its old offset it stays rejected, whoever reads that again.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from microbatch.accepting import source_id
from microbatch.dead_letters import DeadLetters
from microbatch.deciding import Known, Why, record
from microbatch.decoding import Message
from microbatch.errors import NotAsShownError
from microbatch.event import EPOCH
from microbatch.kafka import Broker
from microbatch.outbox import OutMessage, encode_segment, redriven_message, segments
from microbatch.postgres import Connection, acquire, one_row
from microbatch.ranges import OffsetRange
from microbatch.settings import Connections
from microbatch.sql import queries

MAX_REASONS: Final = 1_000
"""So many reasons are counted apart; each may contain a value, so that there can be as many as messages."""
OTHER_REASONS: Final = "(other reasons)"
_REDRIVING: Final = queries("redriving")


class Choice(msgspec.Struct, frozen=True):
    """Which dead letters are meant.

    Attributes:
        rejected_for: what is in their reasons, whatever the case of its letters; empty: any.
        start: Kafka's timestamp from which on, included; None: from the first.
        end: until which, excluded; None: to the last.
    """

    rejected_for: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def has(self, timestamp_ms: int) -> bool:
        """Whether that time is meant."""
        after_start = self.start is None or timestamp_ms >= _ms(self.start)
        return after_start and (self.end is None or timestamp_ms < _ms(self.end))


class Found(msgspec.Struct):
    """What there is to be sent again.

    Attributes:
        ranges: what of the dead-letter topic was read.
        reasons: of the chosen dead letters, how many each.
        oldest_ms: the lowest of their timestamps.
        newest_ms: the highest.
        redriven_before: those that are meant too, but have gone back already.
        missing: rejects of such a reason whose message is neither in the topic nor set aside.
        unsent: dead letters still wait in the outbox, or in a transaction that is open.
    """

    ranges: list[OffsetRange]
    reasons: dict[str, int] = {}
    oldest_ms: int | None = None
    newest_ms: int | None = None
    redriven_before: int = 0
    missing: int = 0
    unsent: bool = False

    @property
    def messages(self) -> int:
        """How many would go."""
        return sum(self.reasons.values())

    def add(self, reason: str, timestamp_ms: int) -> None:
        """Count a dead letter."""
        known = reason if reason in self.reasons or len(self.reasons) < MAX_REASONS else OTHER_REASONS
        self.reasons[known] = self.reasons.get(known, 0) + 1
        self.oldest_ms = timestamp_ms if self.oldest_ms is None else min(self.oldest_ms, timestamp_ms)
        self.newest_ms = timestamp_ms if self.newest_ms is None else max(self.newest_ms, timestamp_ms)


class _Match(msgspec.Struct, frozen=True):
    """A reject of the ledger, and the message of its dead letter."""

    message: Message
    topic_id: UUID
    reason: str
    is_redriven: bool


class Redrive:
    """Looks for the dead letters of a pipeline, and sends them to their topic again."""

    def __init__(self, connection: Connection, pipeline: Known, connections: Connections, choice: Choice) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._connections = connections
        self._choice = choice
        self._broker = Broker(connections)
        self._letters = DeadLetters(connection, pipeline, connections, self._broker)
        self._facts: dict[str, Any] = {
            "pipeline_id": pipeline.pipeline_id,
            "rejected_for": choice.rejected_for,
            "letters": self._letters.topic,
        }

    def look(self) -> Found:
        """What would go; nothing is written.

        Raises:
            OtherClusterError, TopicRecreatedError: the source is not the log that was read.
        """
        source_id(self._pipeline, self._broker, self._connections)
        ranges, is_stable = self._letters.stored()
        found = Found(ranges)
        (waiting,) = one_row(self._connection, _REDRIVING["waiting_rejects"], self._facts)
        (is_waiting,) = one_row(self._connection, _REDRIVING["letters_unsent"], self._facts)
        found.unsent = is_waiting or not is_stable
        found.missing = waiting
        for match in self._matches(found.ranges):
            is_meant = self._choice.has(match.message.timestamp_ms)
            found.redriven_before += match.is_redriven and is_meant
            found.missing -= not match.is_redriven
            if is_meant and not match.is_redriven:
                found.add(match.reason, match.message.timestamp_ms)
        # Some may have come into the ledger or left it meanwhile; it only is a note.
        found.missing = max(0, found.missing)
        return found

    def send(self, found: Found, why: Why) -> int:
        """Write what was found into the outbox, with the decision, or nothing; returns the decision's number.

        Raises:
            NotAsShownError: there is less or more to be sent than was found; nothing was written.
        """
        source_id(self._pipeline, self._broker, self._connections)
        with self._connection.transaction():
            acquire(self._connection, _REDRIVING["lock_rejecting_batches"], self._facts, self._pipeline.pipeline_id)
            decision_id = record(self._connection, self._pipeline.pipeline_id, "redrive", self._details(found), why)
            count = 0
            for messages in segments(self._redriven(found.ranges, decision_id)):
                count += len(messages)
                facts = {"decision_id": decision_id, "messages": len(messages), "payload": encode_segment(messages)}
                self._connection.execute(_REDRIVING["insert_redriven_segment"], {**self._facts, **facts})
            if count != found.messages:
                raise NotAsShownError(pipeline=self._pipeline.name, command="redrive")
        return decision_id

    def _details(self, found: Found) -> dict[str, Any]:
        """What was agreed to, and where the source ends: redriven messages lie at or above that."""
        source = self._pipeline.source_topic
        ends = self._broker.ends(source, range(self._source_partitions()))
        return {
            **msgspec.to_builtins(self._choice),
            "messages": found.messages,
            "reasons": found.reasons,
            "source_ends": {str(partition): at.high_watermark for partition, at in ends.items()},
        }

    def _redriven(self, ranges: list[OffsetRange], decision_id: int) -> Iterator[OutMessage]:
        """The messages for the source, each once it is booked as redriven."""
        name, topic, partitions = self._pipeline.name, self._pipeline.source_topic, self._source_partitions()
        for chunk in self._matched_chunks(ranges):
            chosen = [
                match for match in chunk if not match.is_redriven and self._choice.has(match.message.timestamp_ms)
            ]
            facts = {
                "decision_id": decision_id,
                "topic_ids": [match.topic_id for match in chosen],
                "partitions": [match.message.partition for match in chosen],
                "offsets": [match.message.offset for match in chosen],
            }
            booked = set(self._connection.execute(_REDRIVING["insert_redriven"], {**self._facts, **facts}).fetchall())
            for match in chosen:
                if (match.topic_id, match.message.partition, match.message.offset) in booked:
                    yield redriven_message(name, topic, partitions, match.message)

    def _source_partitions(self) -> int:
        facts = self._broker.topic(self._pipeline.source_topic)
        return facts.partitions if facts else 0

    # -- dead letters and their rejects ----------------------------------------------------------------------------

    def _matches(self, ranges: list[OffsetRange]) -> Iterator[_Match]:
        for chunk in self._matched_chunks(ranges):
            yield from chunk

    def _matched_chunks(self, ranges: list[OffsetRange]) -> Iterator[list[_Match]]:
        """Dead letters with their rejects. Each chunk asks the ledger, an empty one too: the session never idles."""
        for letters in self._letters.chunks(ranges):
            places = {
                "partitions": [letter.message.partition for letter in letters],
                "offsets": [letter.message.offset for letter in letters],
                "batches": [letter.batch_id for letter in letters],
            }
            rows = self._connection.execute(_REDRIVING["rejects_of"], {**self._facts, **places}).fetchall()
            yield [
                _Match(letters[place - 1].message, topic_id, reason, is_redriven)
                for place, topic_id, _, _, reason, is_redriven in rows
            ]


def _ms(moment: datetime) -> float:
    return (moment - EPOCH).total_seconds() * 1000
