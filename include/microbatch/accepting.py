"""Ways out of two errors that trying again does not end: messages that retention deleted, and too many rejects.

Both show what they found first. What a person then accepts is written in one transaction, which finds it anew under
the definition's lock: no batch is at work then, and if something else is found than was shown, nothing is written.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from microbatch.deciding import Known, Why, record
from microbatch.errors import NotAsShownError, OtherClusterError, TopicRecreatedError
from microbatch.kafka import Broker
from microbatch.postgres import Connection, acquire, one_row
from microbatch.ranges import OffsetRange, places
from microbatch.settings import Connections
from microbatch.sql import queries

_DECIDING: Final = queries("deciding")
_LEDGER: Final = queries("ledger")


class Loss(msgspec.Struct, frozen=True):
    """Messages that retention deleted before they were read.

    Attributes:
        topic_id: of the source.
        ranges: their offsets; not each had a message.
        low_watermarks: by partition, where Kafka begins now.
    """

    topic_id: UUID
    ranges: list[OffsetRange]
    low_watermarks: dict[int, int]

    @property
    def offsets(self) -> int:
        """How many: at least as many as there were messages."""
        return sum(item.size for item in self.ranges)


class Refused(msgspec.Struct, frozen=True):
    """What batches failed on because too much of it was rejected, and no batch has stored since.

    Attributes:
        topic_id: of the source.
        ranges: their offsets.
        failure_id: of the last batch that failed so.
        failed_at: when that was.
        error: what it said.
    """

    topic_id: UUID
    ranges: list[OffsetRange]
    failure_id: int
    failed_at: datetime
    error: str


def source_id(pipeline: Known, broker: Broker, connections: Connections) -> UUID:
    """The id of the source topic, if it is the one that the pipeline has read so far.

    Raises:
        OtherClusterError, TopicRecreatedError: it is not.
    """
    cluster_id = broker.cluster_id()
    if cluster_id != pipeline.cluster_id:
        raise OtherClusterError(
            pipeline=pipeline.name,
            registered=pipeline.cluster_id,
            found=cluster_id,
            bootstrap=connections.bootstrap,
        )
    found = broker.topic(pipeline.source_topic)
    if found is None or found.topic_id != pipeline.topic_id:
        raise TopicRecreatedError(
            pipeline=pipeline.name,
            topic=pipeline.source_topic,
            found=found.topic_id if found else "none",
            registered=pipeline.topic_id,
        )
    return found.topic_id


# -- accept-loss -----------------------------------------------------------------------------------------------


def find_loss(connection: Connection, pipeline: Known, broker: Broker, connections: Connections) -> Loss | None:
    """What is uncovered below Kafka's low watermarks; None: nothing.

    Raises:
        OtherClusterError, TopicRecreatedError: the source is not the log that was read.
    """
    topic_id = source_id(pipeline, broker, connections)
    rows = connection.execute(_DECIDING["partitions"], {**_facts(pipeline), "topic_id": topic_id}).fetchall()
    ends = broker.ends(pipeline.source_topic, [partition for (partition,) in rows])
    lows = {partition: at.low_watermark for partition, at in ends.items()}
    ranges = _below(connection, pipeline, topic_id, lows)
    return Loss(topic_id, ranges, lows) if ranges else None


def accept_loss(connection: Connection, pipeline: Known, loss: Loss, why: Why) -> int:
    """Let the ledger cover what was lost, as a batch without messages; returns the batch's number.

    Raises:
        NotAsShownError: something else is uncovered by now; nothing was written.
    """
    with connection.transaction():
        acquire(connection, _LEDGER["lock_definition"], _facts(pipeline), pipeline.pipeline_id)
        if _below(connection, pipeline, loss.topic_id, loss.low_watermarks) != loss.ranges:
            raise NotAsShownError(pipeline=pipeline.name, command="accept-loss")
        details = {"topic_id": str(loss.topic_id), "ranges": msgspec.to_builtins(loss.ranges)}
        decision_id = record(connection, pipeline.pipeline_id, "accept-loss", details, why)
        facts = {**_facts(pipeline), "definition_hash": pipeline.definition_hash, "decision_id": decision_id}
        (batch_id,) = one_row(connection, _DECIDING["insert_loss"], facts)
        place = {
            "batch_id": batch_id,
            "topic": pipeline.source_topic,
            "topic_id": loss.topic_id,
            **places(loss.ranges),
        }
        connection.execute(_LEDGER["insert_ranges"], {**_facts(pipeline), **place})
    return int(batch_id)


def _below(connection: Connection, pipeline: Known, topic_id: UUID, ends: dict[int, int]) -> list[OffsetRange]:
    """What is uncovered below an end of each partition."""
    facts = {
        **_facts(pipeline),
        "topic_id": topic_id,
        "partitions": list(ends),
        "start_offsets": [None] * len(ends),
        "end_offsets": list(ends.values()),
    }
    rows = connection.execute(_LEDGER["uncovered"], facts).fetchall()
    return sorted(OffsetRange(*row) for row in rows)


# -- accept-rejects --------------------------------------------------------------------------------------------


def find_refused(connection: Connection, pipeline: Known) -> Refused | None:
    """What batches failed on with too many rejects, and is still to be stored; None: nothing."""
    facts = {**_facts(pipeline), "topic_id": pipeline.topic_id}
    ranges = [OffsetRange(*row) for row in connection.execute(_DECIDING["refused_ranges"], facts).fetchall()]
    if not ranges:
        return None
    return Refused(pipeline.topic_id, ranges, *one_row(connection, _DECIDING["last_refusal"], facts))


def accept_rejects(connection: Connection, pipeline: Known, refused: Refused, why: Why) -> None:
    """Let rejects at these offsets not count as too many, whatever batches read them.

    Raises:
        NotAsShownError: some of them are stored by now, or were accepted by somebody else; nothing was written.
    """
    with connection.transaction():
        acquire(connection, _LEDGER["lock_definition"], _facts(pipeline), pipeline.pipeline_id)
        now = find_refused(connection, pipeline)
        if now is None or not all(any(_contains(found, item) for found in now.ranges) for item in refused.ranges):
            raise NotAsShownError(pipeline=pipeline.name, command="accept-rejects")
        details = {"failure_id": refused.failure_id, "ranges": msgspec.to_builtins(refused.ranges)}
        decision_id = record(connection, pipeline.pipeline_id, "accept-rejects", details, why)
        for item in refused.ranges:
            place = {
                "decision_id": decision_id,
                "topic_id": refused.topic_id,
                "partition": item.partition,
                "start_offset": item.start,
                "end_offset": item.end,
            }
            connection.execute(_DECIDING["insert_accepted_rejects"], {**_facts(pipeline), **place})


def _facts(pipeline: Known) -> dict[str, Any]:
    return {"pipeline_id": pipeline.pipeline_id}


def _contains(outer: OffsetRange, inner: OffsetRange) -> bool:
    return outer.partition == inner.partition and outer.start <= inner.start and inner.end <= outer.end
