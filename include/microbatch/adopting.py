"""Adopting: what Kafka has of a pipeline, and its ledger does not know, becomes the ledger's own.

Postgres is a copy from before, or a new one; what the lost ledger has sent since is on the topics, exactly once, and
stays there. So this ledger learns it from them, and sends only what they do not have:

    results   each message becomes a revision of the history, and the newest of each key the result: Postgres then has
              as published exactly what Kafka has. Revisions that were made here since and never sent are forgotten,
              and all of their windows are looked at again: the next merge publishes what differs, in the next revision
    rows and  the source messages that they stand for are booked in `already_sent`: their batch, whenever it comes,
    letters   stores them in Postgres and does not send them; from what waits in the outbox they are taken out
    redriven  what went to the source again is there, and counts there: it is not sent again either
    numbers   publications go on above the highest one that Kafka has; what waits is numbered anew

It does not matter when the copy was made, nor what was numbered before or since: what Kafka has is known by the source
messages that it stands for, by keys and revisions, never by numbers of publications.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, LiteralString

import msgspec
from psycopg import sql

from microbatch.deciding import Known
from microbatch.decoding import Message, whole
from microbatch.diagnosing import Ahead, outlet
from microbatch.errors import RecoverRefusedError
from microbatch.event import EPOCH
from microbatch.kafka import Broker
from microbatch.known_windows import KnownWindow, known_windows, waiting_messages
from microbatch.outbox import (
    CURSOR,
    PIPELINE,
    REVISION,
    Cursor,
    OutMessage,
    encode_segment,
    place_of,
)
from microbatch.postgres import Connection, one_row
from microbatch.ranges import OffsetRange
from microbatch.reading import open_reader
from microbatch.settings import Connections
from microbatch.settling import Whose
from microbatch.sql import queries
from microbatch.tables import copy_all

_RECOVERING: Final = queries("recovering")


def refuse_adopting(pipeline: Known, case: Ahead) -> None:
    """Refuse where this ledger would not come to the same rows as the lost one, or has not read as far yet.

    Raises:
        RecoverRefusedError: it is so.
    """
    for output in pipeline.definition["outputs"]:
        if output["kind"] == "pairs" or output.get("unique"):
            what = "pairs its events" if output["kind"] == "pairs" else "keeps the first event of each key"
            raise RecoverRefusedError(
                pipeline=pipeline.name,
                reason=f"it {what} in the order in which batches booked them, which may be another one now than what "
                "was published",
                remedy="Give the pipeline another name, or set MICROBATCH_DEPLOYMENT, with sinks of its own",
            )
    if case.behind:
        places = ", ".join(
            f"{pipeline.source_topic}[{partition}] up to {covered} of {position}"
            for partition, (covered, position) in sorted(case.behind.items())
        )
        raise RecoverRefusedError(
            pipeline=pipeline.name,
            reason=f"this ledger has counted less than what was published: {places}",
            remedy=f"Let it count on with `microbatch run {pipeline.name}`, which sends nothing yet and ends with the "
            "same error; then recover",
        )


class Adoption:
    """One adoption: first what Kafka has is read into temporary tables, then the ledger is changed."""

    def __init__(self, connection: Connection, pipeline: Known, connections: Connections, case: Ahead) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._connections = connections
        self._case = case
        self._windows = known_windows(connection, pipeline)
        self._facts: dict[str, Any] = {"pipeline_id": pipeline.pipeline_id}
        # The end of a shared topic does not show all of it: see TAIL_OFFSETS.
        self._publication = case.publication if case.is_ours else case.marked

    # -- read --------------------------------------------------------------------------------------------------------

    def read(self, whose: Whose) -> None:
        """Read the output topics whole; memory is bounded by a chunk. Nobody may send meanwhile."""
        self._connection.execute(_RECOVERING["create_found_results"])
        self._connection.execute(_RECOVERING["create_found_places"])
        self._connection.execute(_RECOVERING["create_unsent_results"])
        results = {window.topic for window in self._windows}
        broker = Broker(self._connections)
        for topic in [*outlet(self._connection, self._pipeline).topics, self._pipeline.source_topic]:
            facts = broker.topic(topic)
            ends = broker.ends(topic, range(facts.partitions)) if facts else {}
            ranges = [OffsetRange(p, at.low_watermark, at.last_stable) for p, at in ends.items()]
            with open_reader(topic, self._connections) as reader:
                for _, messages in reader.read([item for item in ranges if item.size]):
                    found = [message for message in map(whole, messages) if self._is_unknown(message, whose)]
                    # Also without any: a session that is idle for long is ended.
                    if topic in results:
                        self._copy_results(topic, found)
                    else:
                        self._copy_places(topic, found)
        self._connection.execute(_RECOVERING["index_found_places"])

    def _is_unknown(self, message: Message, whose: Whose) -> bool:
        """Whether the pipeline has sent it, and this ledger does not know of that."""
        headers = dict(message.headers)
        if (headers.get(PIPELINE) or b"").decode(errors="replace") not in whose.names:
            return False
        try:
            cursor = msgspec.json.decode(headers.get(CURSOR) or b"", type=Cursor)
        except msgspec.DecodeError:
            return False
        if cursor.ledger == whose.ledger:
            self._publication = max(self._publication, cursor.publication)
            return cursor.publication > self._case.marked
        return cursor.ledger == self._case.ledger

    def _copy_results(self, topic: str, messages: Iterable[Message]) -> None:
        rows = (
            (
                topic,
                (message.key or b"").decode(),
                None if message.value is None else message.value.decode(),
                int(dict(message.headers)[REVISION] or b""),
                EPOCH + timedelta(milliseconds=message.timestamp_ms),
            )
            for message in messages
        )
        self._copy(_RECOVERING["copy_found_results"], ["text", "text", "text", "int4", "timestamptz"], rows)

    def _copy_places(self, topic: str, messages: Iterable[Message]) -> None:
        rows = (place for message in messages if (place := place_of(topic, message.headers)))
        self._copy(_RECOVERING["copy_found_places"], ["text", "int4", "int8"], rows)

    def _copy(self, query: LiteralString, types: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
        copy_all(self._connection, sql.SQL(query).format(), types, rows)

    # -- write -------------------------------------------------------------------------------------------------------

    def write(self, decision_id: int) -> None:
        """Change the ledger, inside the transaction of the decision."""
        case, decision = self._case, {**self._facts, "decision_id": decision_id}
        self._connection.execute(_RECOVERING["take_numbers"], self._facts)
        self._forget_unsent()
        merge_id, merged_at = one_row(self._connection, _RECOVERING["insert_adoption"], decision)
        for window in self._windows:
            self._adopt(window, {**self._facts, "merge_id": merge_id, "merged_at": merged_at, "topic": window.topic})
        places = {**decision, "topic_id": self._pipeline.topic_id}
        self._connection.execute(_RECOVERING["insert_already_sent"], {**places, "source": self._pipeline.source_topic})
        self._connection.execute(_RECOVERING["insert_redriven"], {**places, "source": self._pipeline.source_topic})
        for (segment_id,) in self._connection.execute(_RECOVERING["segments"], self._facts).fetchall():
            self._shorten(segment_id)
        self._connection.execute(_RECOVERING["set_publisher"], {**self._facts, "number": self._publication})
        if not case.is_ours:
            self._connection.execute(_RECOVERING["add_former_ledger"], {**self._facts, "ledger": case.ledger})

    def _forget_unsent(self) -> None:
        """Take the segments of results out of the outbox, and note which revisions they have."""
        for (segment_id,) in self._connection.execute(_RECOVERING["unsent_results"], self._facts).fetchall():
            rows = (
                (message.topic, (message.key or b"").decode(), int(dict(message.headers)[REVISION] or b""))
                for message in waiting_messages(self._connection, segment_id)
            )
            self._copy(_RECOVERING["copy_unsent_results"], ["text", "text", "int4"], rows)
            self._connection.execute(_RECOVERING["delete_segment"], {"segment_id": segment_id})

    def _adopt(self, window: KnownWindow, facts: dict[str, Any]) -> None:
        execute = self._connection.execute
        execute(window.compose("affect_results", topic=sql.Literal(window.topic)))
        execute(window.compose("forget_unsent"), facts)
        execute(window.compose("adopt_revisions"), facts)
        execute(window.compose("chain_revisions"))
        execute(window.compose("name_batches"), facts)
        execute(window.compose("erase_results"))
        execute(window.compose("restore_results"))
        execute(window.compose("touch_affected"), {**facts, "output": window.state})
        (closed_until,) = one_row(self._connection, window.compose("final_until"), facts)
        if closed_until is not None:
            execute(_RECOVERING["close_as_published"], {**facts, "closed_until": closed_until})
        execute("drop table affected")

    def _shorten(self, segment_id: int) -> None:
        """Take out of a segment what its topic has."""
        segment = {"segment_id": segment_id}
        messages = waiting_messages(self._connection, segment_id)
        left = self._not_found(messages)
        if not left:
            self._connection.execute(_RECOVERING["delete_segment"], segment)
        elif len(left) < len(messages):
            payload = {"messages": len(left), "payload": encode_segment(left)}
            self._connection.execute(_RECOVERING["shorten_segment"], {**segment, **payload})

    def _not_found(self, messages: list[OutMessage]) -> list[OutMessage]:
        places = [place_of(message.topic, message.headers) for message in messages]
        if not any(places):
            return messages  # results that are published again
        topics, partitions, offsets = (list(each) for each in zip(*filter(None, places), strict=True))
        wanted = {"topics": topics, "partitions": partitions, "offsets": offsets}
        found = set(self._connection.execute(_RECOVERING["found_among"], wanted).fetchall())
        return [message for message, place in zip(messages, places, strict=True) if place not in found]
