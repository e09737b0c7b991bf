"""The dead letters of a pipeline as Kafka has them: in their topic, or set aside because that did not take them."""

import re
from collections.abc import Iterable, Iterator
from time import monotonic, sleep
from typing import Any, Final
from uuid import UUID

import msgspec

from microbatch.deciding import Known
from microbatch.decoding import Message, whole
from microbatch.kafka import KAFKA_TIMEOUT_S, Broker, Ends
from microbatch.outbox import BATCH, CURSOR, OFFSET, PARTITION, PIPELINE, TOPIC, Cursor, OutMessage, decode_segment
from microbatch.postgres import Connection, one_row
from microbatch.ranges import OffsetRange
from microbatch.reading import open_reader
from microbatch.settings import Connections
from microbatch.sql import queries

_REDRIVING: Final = queries("redriving")
_PLACE: Final = re.compile(r"[0-9]{1,18}")


class Letter(msgspec.Struct, frozen=True):
    """A dead letter of the pipeline.

    Attributes:
        message: as the source had it: at its partition and offset, with the headers of the letter.
        batch_id: which rejected it; None: the letter was sent by another ledger.
    """

    message: Message
    batch_id: int | None


class DeadLetters:
    """Reads the dead letters of one pipeline.

    Attributes:
        topic: where they are.
    """

    def __init__(self, connection: Connection, pipeline: Known, connections: Connections, broker: Broker) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._connections = connections
        self._broker = broker
        self.topic: str = pipeline.definition["dead_letters"]
        self._names = {pipeline.name, *pipeline.former_names}
        self._facts: dict[str, Any] = {"pipeline_id": pipeline.pipeline_id, "letters": self.topic}

    def chunks(self, ranges: list[OffsetRange]) -> Iterator[list[Letter]]:
        """The pipeline's dead letters: those in their topic, and those that it did not take."""
        if ranges:
            with open_reader(self.topic, self._connections) as reader:
                for _, messages in reader.read(ranges):
                    yield list(self._ours(map(whole, messages)))
        # One by one: they are what was too large.
        for row in self._connection.execute(_REDRIVING["letters_set_aside"], self._facts).fetchall():
            place = dict(zip(("publication", "position"), row, strict=True))
            (payload,) = one_row(self._connection, _REDRIVING["letter_set_aside"], {**self._facts, **place})
            yield [letter for message in decode_segment(payload) if (letter := _letter(message, None))]

    def stored(self) -> tuple[list[OffsetRange], bool]:
        """All that the dead-letter topic has (nothing if there is no such topic), and whether all of it is stable.

        The markers of a transaction come after the answer to its commit: they are waited for, but not for ever.
        """
        facts = self._broker.topic(self.topic)
        if facts is None:
            return [], True
        deadline_s = monotonic() + KAFKA_TIMEOUT_S
        ends = wanted = self._broker.ends(self.topic, range(facts.partitions))
        while not (is_stable := _is_stable(ends, wanted)) and monotonic() < deadline_s:
            sleep(0.05)
            ends = self._broker.ends(self.topic, range(facts.partitions))
        ranges = [OffsetRange(partition, at.low_watermark, at.last_stable) for partition, at in ends.items()]
        return [item for item in ranges if item.size], is_stable

    def _ours(self, messages: Iterable[Message]) -> Iterator[Letter]:
        """Those of this pipeline and source: the topic may be shared."""
        for message in messages:
            headers = dict(message.headers)
            is_ours = _text(headers.get(PIPELINE)) in self._names
            if is_ours and _text(headers.get(TOPIC)) == self._pipeline.source_topic:
                letter = _letter(message, self._pipeline.ledger)
                if letter is not None:
                    yield letter


def _is_stable(ends: dict[int, Ends], wanted: dict[int, Ends]) -> bool:
    """Whether all is stable that was there at the first look."""
    return all(ends[partition].last_stable >= at.high_watermark for partition, at in wanted.items())


def _letter(message: Message | OutMessage, ledger: UUID | None) -> Letter | None:
    """A dead letter; None if its headers say no place. With `ledger`, its batch counts if that ledger has sent it."""
    headers = dict(message.headers)
    texts = [_text(headers.get(name)) for name in (PARTITION, OFFSET, BATCH)]
    # Anybody can write into the topic: what PostgreSQL cannot hold as a number is no place either.
    if not all(_PLACE.fullmatch(text) for text in texts):
        return None
    partition, offset, batch_id = map(int, texts)
    is_known = ledger is None or _ledger(headers.get(CURSOR)) == str(ledger)
    source = Message(partition, offset, message.timestamp_ms, message.key, message.value, message.headers)
    return Letter(source, batch_id if is_known else None)


def _ledger(cursor: bytes | None) -> str:
    try:
        return msgspec.json.decode(cursor or b"", type=Cursor).ledger
    except msgspec.DecodeError:
        return ""


def _text(header: bytes | None) -> str:
    return (header or b"").decode(errors="replace")
