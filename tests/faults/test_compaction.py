"""A source that Kafka compacts: what is there is counted exactly, and what has gone is noticed."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from fix_child import check, wait_for
from fix_others import admin
from fix_pipeline import T0, Message, World, interval, sale
from microbatch.errors import BatchShrunkError
from microbatch.runs import Run
from outside import on_topic

_ANSWER_S = 30


def configure(world: World, kind: ResourceType, name: str, **settings: str | None) -> None:
    """Change settings of a topic or of the broker; None: as it was."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        if value is not None
        else ConfigEntry(key.replace("_", "."), "", incremental_operation=AlterConfigOpType.DELETE)
        for key, value in settings.items()
    ]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin(world).incremental_alter_configs([resource])[resource].result(_ANSWER_S)


@pytest.fixture
def eager(world: World) -> Iterator[World]:
    """The broker looks for something to compact all the time."""
    configure(world, ResourceType.BROKER, "1", log_cleaner_backoff_ms="50")
    yield world
    configure(world, ResourceType.BROKER, "1", log_cleaner_backoff_ms=None)


def send_keyed(world: World) -> None:
    """Eight sales in partition 0; of those with the keys a and b, compaction leaves the last."""
    keys = [b"a", b"a", b"b", b"c", b"b", b"a", b"d", b"d"]
    world.send(*(Message(sale("ada", 10**n), key=key) for n, key in enumerate(keys)))


def compact(world: World) -> None:
    """Let the broker compact what was sent; the newest segment stays as it is."""
    topic = world.pipeline.source.name
    before = len(on_topic(world, topic))
    settings = {"segment_ms": "1", "min_cleanable_dirty_ratio": "0.001", "min_compaction_lag_ms": "0"}
    configure(world, ResourceType.TOPIC, topic, cleanup_policy="compact", **settings)
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
