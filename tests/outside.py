"""What anybody can see from outside: topics through a plain read_committed consumer, none of the engine's code."""

import json
import time
from typing import Any

import msgspec
from confluent_kafka import Producer

from fix_pipeline import Message, World
from microbatch import KafkaTopic
from recount.kafka import Message as Found
from recount.kafka import ends, read


def on_topic(world: World, topic: str) -> list[Found]:
    """All committed messages of a topic, in the order of each partition."""
    bootstrap = world.connections.bootstrap
    spans = {partition: (end.low, end.last_stable) for partition, end in ends(bootstrap, topic).items()}
    return list(read(bootstrap, topic, spans))


def dead_letters(world: World) -> list[Found]:
    """The dead letters of a pipeline."""
    return on_topic(world, world.pipeline.dead_letter_topic.name)


def published(world: World, output: int = 0) -> list[dict[str, Any]]:
    """The values of an output's messages, by key and in the order in which they were published."""
    topic = world.pipeline.outputs[output].topic
    assert topic is not None
    found = sorted(on_topic(world, topic.name), key=lambda message: message.key or b"")
    return [json.loads(message.value) for message in found if message.value is not None]


def with_output(world: World, **changes: Any) -> World:
    """The same world, with another declaration of its first output."""
    return world.replace(outputs=[msgspec.structs.replace(world.pipeline.outputs[0], **changes)])


def sink(world: World, name: str) -> KafkaTopic:
    """A topic of this world's own."""
    return KafkaTopic(f"{world.pipeline.source.name}-{name}", partitions=2)


def open_transaction(world: World, *messages: Message) -> Producer:
    """Another producer's transaction with some messages in it; the test ends it."""
    topic = world.pipeline.source.name
    producer = Producer({"bootstrap.servers": world.connections.bootstrap, "transactional.id": f"other-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for message in messages:
        producer.produce(topic, message.value, partition=message.partition)
    assert producer.flush(30) == 0
    return producer


def wait_for_end(world: World, offset: int, partition: int = 0) -> None:
    """Wait until all before an offset of the source is stable: markers come after the answer to a commit or abort."""
    topic, deadline = world.pipeline.source.name, time.monotonic() + 30
    while ends(world.connections.bootstrap, topic)[partition].last_stable < offset:
        assert time.monotonic() < deadline, f"{topic}[{partition}] is not stable until {offset}"
