"""A source that Kafka compacts: what is there is counted exactly, and what has gone is noticed."""

from collections.abc import Iterator

import msgspec
import pytest
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from fix_child import check, wait_for
from fix_others import admin
from fix_pipeline import T0, Message, World, interval, sale
from microbatch.errors import BatchShrunkError
from microbatch.kafka import Broker
from microbatch.runs import Run
from microbatch.topics import create_topics
from outside import on_topic

_ANSWER_S = 120


def look_for_work_every(world: World, backoff_ms: str | None) -> None:
    """Change how often the broker looks for something to compact; None: as it was."""
    name, operation = (
        "log.cleaner.backoff.ms",
        AlterConfigOpType.DELETE if backoff_ms is None else AlterConfigOpType.SET,
    )
    entry = ConfigEntry(name, backoff_ms or "", incremental_operation=operation)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    admin(world).incremental_alter_configs([resource])[resource].result(_ANSWER_S)


@pytest.fixture
def eager(world: World) -> Iterator[World]:
    """A pipeline whose source is compacted, by a broker that looks for something to compact all the time.

    The topic is made with its settings: a broker begins to go by changed ones only some time after it has said yes.
    """
    name = f"{world.pipeline.source.name}-compacted"
    compacted = {
        "cleanup.policy": "compact",
        "segment.ms": "1",
        "min.cleanable.dirty.ratio": "0.001",
        "min.compaction.lag.ms": "0",
    }
    Broker(world.connections).create([NewTopic(name, world.pipeline.source.partitions, config=compacted)])
    look_for_work_every(world, "50")
    compacting = world.replace(source=msgspec.structs.replace(world.pipeline.source, name=name))
    create_topics([compacting.pipeline], world.connections)
    yield compacting
    look_for_work_every(world, None)


def send_keyed(world: World) -> None:
    """Eight sales in partition 0; of those with the keys a and b, compaction leaves the last."""
    keys = [b"a", b"a", b"b", b"c", b"b", b"a", b"d", b"d"]
    world.send(*(Message(sale("ada", 10**n), key=key) for n, key in enumerate(keys)))


def compact(world: World) -> None:
    """Let the broker compact what was sent, which it does to all but the newest segment."""
    topic = world.pipeline.source.name
    before = len(on_topic(world, topic))
    world.send(Message(sale("bob", 1), key=b"e", at_s=T0 + 1))  # begins a new segment
    wait_for("the broker has compacted the log", lambda: len(on_topic(world, topic)) <= before - 3)


def test_a_compacted_source_is_counted_as_it_is(eager: World) -> None:
    send_keyed(eager)
    compact(eager)
    offsets = [message.offset for message in on_topic(eager, eager.pipeline.source.name)]
    assert offsets == [3, 4, 5, 7, 8], "the log has holes, at its beginning too"

    consumed, _ = eager.run(0)

    assert (consumed[0].messages, consumed[0].behind) == (5, 0)
    assert eager.results() == [(0, "ada", 10_111_000, 4, True, 1), (0, "bob", 1, 1, True, 1)]
    assert check(eager).messages == 5


def test_a_batch_of_a_source_that_was_compacted_since_is_not_redone_and_stays_as_it_is(eager: World) -> None:
    send_keyed(eager)
    eager.run(0)
    before = eager.results(), eager.rows("select * from aggregated_sales_contribution")
    compact(eager)

    with pytest.raises(BatchShrunkError, match="had 8"):
        eager.run_as(Run("sales", "again", mode="reprocess", interval=interval(0)))

    assert (eager.results(), eager.rows("select * from aggregated_sales_contribution")) == before
    eager.run(1)
    assert eager.results() == [(0, "ada", 11_111_111, 8, True, 1), (0, "bob", 1, 1, True, 1)]
