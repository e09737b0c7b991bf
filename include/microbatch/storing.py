"""Store: all that comes from a batch, in the transaction that claimed it.

Dead letters are stored as the chunks come; contributions gather and are copied once, at the end.
"""

from datetime import datetime
from typing import Final

import msgspec

from microbatch.claiming import Claim
from microbatch.computing import Contributions
from microbatch.crash import crash_point
from microbatch.decoding import Decoded, Reject
from microbatch.errors import TooManyRejectedError
from microbatch.outbox import SEGMENT_BYTES, SEGMENT_MESSAGES, OutMessage, dead_letter, encode_segment
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.ranges import OffsetRange
from microbatch.registration import Registration
from microbatch.sql import queries
from microbatch.tables import ResultTables

# Fewer messages than this say nothing about a share.
REJECTED_SHARE_OF_AT_LEAST: Final = 100
_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


class Counts(msgspec.Struct):
    """Messages of one range, tombstones included, and the rejects among them."""

    messages: int = 0
    rejected: int = 0


class Letters(msgspec.Struct):
    """Dead letters of one range that are not stored yet."""

    messages: list[OutMessage] = msgspec.field(default_factory=list)
    bytes: int = 0

    def add(self, message: OutMessage) -> bool:
        """Add one; True if they now fill a segment."""
        self.messages.append(message)
        self.bytes += message.size
        return len(self.messages) >= SEGMENT_MESSAGES or self.bytes >= SEGMENT_BYTES


class BatchStore:
    """Writes what comes from one claimed batch."""

    def __init__(self, connection: Connection, pipeline: Pipeline, registration: Registration, claim: Claim) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._registration = registration
        self._claim = claim
        self._letters: dict[OffsetRange, Letters] = {}
        self._first_reason = ""
        self.counts: dict[OffsetRange, Counts] = {item: Counts() for item in claim.ranges}

    @property
    def messages(self) -> int:
        """Over all ranges, so far."""
        return sum(counts.messages for counts in self.counts.values())

    @property
    def rejected(self) -> int:
        """Over all ranges, so far."""
        return sum(counts.rejected for counts in self.counts.values())

    def add(self, item: OffsetRange, decoded: Decoded) -> None:
        """Count a chunk of one range, and store its rejects and dead letters."""
        counts = self.counts[item]
        counts.messages += decoded.messages
        counts.rejected += len(decoded.rejects)
        if decoded.rejects:
            self._first_reason = self._first_reason or decoded.rejects[0].reason
            self._copy_rejects(decoded.rejects)
            self._gather_letters(item, decoded.rejects)

    def finish(self, contributions: Contributions) -> int:
        """Store what has gathered; returns the number of windows that the batch contributes to.

        Raises:
            TooManyRejectedError: more than `max_rejected` of the batch are rejects.
        """
        self._refuse_too_many()
        for item in list(self._letters):
            self._flush_letters(item)
        windows: set[datetime] = set()
        for output in self._pipeline.outputs:
            tables = ResultTables(output, self._pipeline.fields)
            rows = contributions.rows(output)
            for count in tables.copy_contributions(self._connection, self._claim.batch_id, rows):
                if count == 1:
                    crash_point("consume.inside_copy")
            touched = contributions.windows(output)
            self._touch(output.table, touched)
            windows.update(touched)
        self._count()
        return len(windows)

    def _copy_rejects(self, rejects: list[Reject]) -> None:
        ours, batch_id = self._registration, self._claim.batch_id
        with self._connection.cursor() as cursor, cursor.copy(_LEDGER["copy_rejects"]) as copy:
            copy.set_types(["int4", "uuid", "int4", "int8", "int8", "text"])
            for reject in rejects:
                at = reject.message
                copy.write_row((ours.pipeline_id, ours.topic_id, at.partition, at.offset, batch_id, reject.reason))

    def _gather_letters(self, item: OffsetRange, rejects: list[Reject]) -> None:
        topic = self._pipeline.dead_letter_topic.name
        for reject in rejects:
            letter = dead_letter(
                reject,
                topic=topic,
                partitions=self._registration.sink_partitions[topic],
                source=self._pipeline.source.name,
                pipeline=self._pipeline.name,
                batch_id=self._claim.batch_id,
            )
            if self._letters.setdefault(item, Letters()).add(letter):
                self._flush_letters(item)

    def _flush_letters(self, item: OffsetRange) -> None:
        messages = self._letters.pop(item).messages
        self._connection.execute(
            _OUTBOX["insert_batch_segment"],
            {
                "pipeline_id": self._registration.pipeline_id,
                "batch_id": self._claim.batch_id,
                "topic_id": self._registration.topic_id,
                "partition": item.partition,
                "start_offset": item.start,
                "messages": len(messages),
                "payload": encode_segment(messages),
            },
        )

    def _refuse_too_many(self) -> None:
        allowed = self._pipeline.max_rejected
        if self.messages >= REJECTED_SHARE_OF_AT_LEAST and self.rejected > allowed * self.messages:
            raise TooManyRejectedError(
                pipeline=self._pipeline.name,
                rejected=self.rejected,
                messages=self.messages,
                ranges=", ".join(map(str, self.counts)),
                allowed=allowed,
                reason=self._first_reason,
            )

    def _touch(self, output: str, windows: list[datetime]) -> None:
        facts = {
            "pipeline_id": self._registration.pipeline_id,
            "output": output,
            "batch_id": self._claim.batch_id,
            "windows": windows,
        }
        self._connection.execute(_LEDGER["touch_windows"], facts)

    def _count(self) -> None:
        batch_id = self._claim.batch_id
        for item, counts in self.counts.items():
            self._connection.execute(
                _LEDGER["count_range"],
                {
                    "batch_id": batch_id,
                    "partition": item.partition,
                    "start_offset": item.start,
                    "messages": counts.messages,
                    "rejected": counts.rejected,
                },
            )
        self._connection.execute(
            _LEDGER["finish_batch"],
            {"batch_id": batch_id, "messages": self.messages, "rejected": self.rejected},
        )
