"""Going on with another log than the one that was read: the old one is retired, and what was counted of it stays.

A retired log keeps its coverage, but nothing waits for it: it closes no window, has no lag and no gap, and what its
batches left to be sent is sent without waiting for what was never read below it.
"""

from typing import Any, Final
from uuid import uuid4

from microbatch.deciding import Known
from microbatch.diagnosing import NewLog, Truncated
from microbatch.errors import RecoverRefusedError
from microbatch.known_windows import KnownWindow, known_windows, waiting_messages
from microbatch.outbox import encode_segment, segments
from microbatch.postgres import Connection
from microbatch.sql import queries

_OUTBOX: Final = queries("outbox")
_RECOVERING: Final = queries("recovering")


def refuse_retiring(pipeline: Known) -> None:
    """Refuse for outputs that know an event by its partition and offset alone, which the new log gives again.

    Raises:
        RecoverRefusedError: there is one.
    """
    for output in pipeline.definition["outputs"]:
        has_rows = output["kind"] == "stream" and output["schema"] == "public"
        if has_rows or output["kind"] == "pairs":
            raise RecoverRefusedError(
                pipeline=pipeline.name,
                reason=f"rows of {output['table']} are known by their partition and offset, and the new log gives "
                "these again to other messages",
                remedy="Give the pipeline another name, tables and topics of its own: it then begins with the new log, "
                "and the old tables stay as they are",
            )


def retire(connection: Connection, pipeline: Known, case: NewLog, decision_id: int) -> None:
    """Retire the old log and begin with the new one, inside the transaction of the decision."""
    facts: dict[str, Any] = {"pipeline_id": pipeline.pipeline_id, "decision_id": decision_id}
    connection.execute(_RECOVERING["forget_reach"], facts)
    connection.execute(_RECOVERING["retire_log"], facts)
    for partition, first_offset in case.begins.items():
        place = {"topic_id": case.topics[1], "partition": partition, "first_offset": first_offset}
        connection.execute(_RECOVERING["read_log"], {**facts, **place})
    if case.clusters is not None:
        connection.execute(_RECOVERING["set_cluster"], {**facts, "cluster_id": case.clusters[1]})
    if case.sent > 0:
        connection.execute(_OUTBOX["mark"], {**facts, "number": case.sent})
    for window in known_windows(connection, pipeline):
        if window.topic in case.empty:
            _publish_again(connection, window, facts)


def _publish_again(connection: Connection, window: KnownWindow, facts: dict[str, Any]) -> None:
    """Each result as it is now, with the revision that it has, instead of what of them was still to be sent."""
    for (segment_id,) in connection.execute(_RECOVERING["unsent_results"], facts).fetchall():
        if waiting_messages(connection, segment_id)[0].topic == window.topic:
            connection.execute(_RECOVERING["delete_segment"], {"segment_id": segment_id})
    for some in segments(window.messages(connection)):
        payload = {"messages": len(some), "payload": encode_segment(some)}
        connection.execute(_RECOVERING["publish_again"], {**facts, **payload})


def cut_off(connection: Connection, pipeline: Known, case: Truncated, decision_id: int) -> None:
    """Move what was counted of truncated partitions to a log of its own, which is retired."""
    facts: dict[str, Any] = {
        "pipeline_id": pipeline.pipeline_id,
        "decision_id": decision_id,
        "topic_id": case.topic_id,
        # It never was a topic's: whatever is booked under it cannot be read again.
        "retired_id": uuid4(),
    }
    connection.execute(_RECOVERING["forget_reach"], facts)
    for partition, (end, _) in case.ends.items():
        place = {**facts, "partition": partition, "first_offset": end}
        connection.execute(_RECOVERING["move_ranges"], place)
        connection.execute(_RECOVERING["move_rejects"], place)
        connection.execute(_RECOVERING["move_accepted_rejects"], place)
        connection.execute(_RECOVERING["move_already_sent"], place)
        connection.execute(_RECOVERING["move_segments"], place)
        connection.execute(_RECOVERING["retire_partition"], place)
        connection.execute(_RECOVERING["read_log"], place)
