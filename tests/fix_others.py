"""What other people and programs do to a world's Kafka, and what they see of its outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions

from fix_child import wait_for
from fix_pipeline import World
from microbatch.kafka import QUIET
from microbatch.topics import create_topics
from recount.kafka import Committed, committed, ends

_ANSWER_S = 120


@cache
def _admin(bootstrap: str) -> AdminClient:
    """One for all tests: it must live until its answers have come."""
    return AdminClient({"bootstrap.servers": bootstrap, **QUIET})


def admin(world: World) -> AdminClient:
    """A client of nobody in particular."""
    return _admin(world.connections.bootstrap)


def group(world: World) -> str:
    """The name of the pipeline's group."""
    return f"microbatch.{world.connections.deployment}.{world.pipeline.name}"


def cursor(world: World) -> Committed:
    """The group's offset of partition 0 and its metadata."""
    return committed(world.connections.bootstrap, group(world), world.pipeline.source.name, [0])[0]


def overwrite_cursor(world: World, metadata: str) -> None:
    """Commit the offset of partition 0 as anybody can."""
    consumer = Consumer({"bootstrap.servers": world.connections.bootstrap, "group.id": group(world), **QUIET})
    at = TopicPartition(world.pipeline.source.name, 0, cursor(world).offset, metadata)
    consumer.commit(offsets=[at], asynchronous=False)
    consumer.close()


def delete_offsets(world: World) -> None:
    """Delete the pipeline's group, as `kafka-consumer-groups --delete` does."""
    admin(world).delete_consumer_groups([group(world)])[group(world)].result(_ANSWER_S)


def sent(world: World) -> list[int]:
    """How many offsets the result topic and the dead-letter topic have: transactions' markers count too."""
    output = world.pipeline.outputs[0].topic
    assert output is not None
    topics = (output.name, world.pipeline.dead_letter_topic.name)
    return [sum(end.high for end in ends(world.connections.bootstrap, topic).values()) for topic in topics]


def open_transactions(world: World) -> bool:
    """Whether a transaction is open in the result topic."""
    output = world.pipeline.outputs[0].topic
    assert output is not None
    return any(end.last_stable < end.high for end in ends(world.connections.bootstrap, output.name).values())


@contextmanager
def transaction(world: World) -> Iterator[Producer]:
    """Somebody else's transaction in the source; the caller ends it, or leaves it open."""
    name = f"somebody {world.pipeline.source.name}"
    producer = Producer({"bootstrap.servers": world.connections.bootstrap, "transactional.id": name, **QUIET})
    producer.init_transactions(_ANSWER_S)
    producer.begin_transaction()
    yield producer


def write(world: World, producer: Producer, *values: bytes, partition: int = 0) -> None:
    """Send to the source, and wait until all have arrived."""
    for value in values:
        producer.produce(world.pipeline.source.name, value=value, partition=partition)
    assert producer.flush(_ANSWER_S) == 0


def delete_messages(world: World, partition: int, below: int, topic: str = "") -> None:
    """Delete messages below an offset, of the source or another topic, as retention does."""
    futures = admin(world).delete_records([TopicPartition(topic or world.pipeline.source.name, partition, below)])
    for future in futures.values():
        future.result(_ANSWER_S)


def delete_topic(world: World, topic: str) -> None:
    """Delete a topic and wait until it is gone."""
    admin(world).delete_topics([topic])[topic].result(_ANSWER_S)
    wait_for(f"{topic} is gone", lambda: topic not in admin(world).list_topics(timeout=_ANSWER_S).topics)


def recreate_source(world: World) -> None:
    """Delete the source and create it anew."""
    delete_topic(world, world.pipeline.source.name)
    create_topics([world.pipeline], world.connections)


def add_partition(world: World) -> int:
    """Add a partition to the source; returns its number."""
    topic = world.pipeline.source.name
    number = len(ends(world.connections.bootstrap, topic))
    admin(world).create_partitions([NewPartitions(topic, number + 1)])[topic].result(_ANSWER_S)
    wait_for("the new partition is known", lambda: number in ends(world.connections.bootstrap, topic))
    return number


def limit_messages(world: World, topic: str, size_bytes: int) -> None:
    """Let a topic refuse messages above a size."""
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin(world).incremental_alter_configs([resource])[resource].result(_ANSWER_S)
