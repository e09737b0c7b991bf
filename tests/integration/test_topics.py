"""Topics: what is created, what is left as it is, and what Kafka refuses."""

import pytest
from confluent_kafka.cimpl import NewTopic

from fix_pipeline import World
from microbatch import KafkaTopic
from microbatch.errors import TopicNotCreatedError
from microbatch.kafka import Broker
from microbatch.topics import create_sinks, create_topics
from outside import sink, topic_config, with_output


def test_topics_are_created_with_their_partitions(world: World) -> None:
    topics = [world.pipeline.source, world.pipeline.outputs[0].topic, world.pipeline.dead_letter_topic]
    broker = Broker(world.connections)

    found = broker.topics([topic.name for topic in topics if topic])

    assert [found[topic.name].partitions for topic in topics if topic] == [2, 2, 2]


def test_result_topics_are_compacted_and_dead_letters_are_kept(world: World) -> None:
    results, dead = sink(world, "results"), world.pipeline.dead_letter_topic

    create_sinks(
        with_output(world, to=[*world.pipeline.outputs[0].to[:1], results]).pipeline, Broker(world.connections)
    )

    assert topic_config(world, results.name)["cleanup.policy"] == "compact"
    assert topic_config(world, dead.name)["cleanup.policy"] == "delete"


def test_sinks_take_any_timestamp(world: World) -> None:
    """A result's timestamp is its window's end, which can be far ahead; the broker's default is an hour."""
    results = world.pipeline.outputs[0].topic
    assert results is not None

    for topic in (results, world.pipeline.dead_letter_topic):
        assert int(topic_config(world, topic.name)["message.timestamp.after.max.ms"]) > 10**15, topic.name


def test_topics_that_exist_are_left_as_they_are(world: World) -> None:
    existing = sink(world, "existing")
    broker = Broker(world.connections)
    broker.create([NewTopic(existing.name, 3, config={"retention.ms": "77000"})])

    made = create_sinks(with_output(world, to=[*world.pipeline.outputs[0].to[:1], existing]).pipeline, broker)

    assert made == []
    facts = broker.topic(existing.name)
    assert facts is not None
    assert facts.partitions == 3
    assert topic_config(world, existing.name)["retention.ms"] == "77000"


def test_creating_says_what_it_created_and_does_it_once(world: World) -> None:
    new = world.replace(dead_letters=sink(world, "other-dlq"))

    assert create_topics([new.pipeline], new.connections) == [f"{world.pipeline.source.name}-other-dlq"]
    assert create_topics([new.pipeline], new.connections) == []


def test_a_topic_that_somebody_creates_at_the_same_time_is_as_good(world: World) -> None:
    again = NewTopic(world.pipeline.source.name, 9)

    Broker(world.connections).create([again])

    assert Broker(world.connections).topic(world.pipeline.source.name).partitions == 2  # type: ignore[union-attr]


def test_a_topic_that_kafka_refuses_is_named_and_its_causes_end(world: World) -> None:
    """Kafka takes `a.b` and `a_b` for one name."""
    broker = Broker(world.connections)
    broker.create([NewTopic(f"{world.pipeline.source.name}.x", 1)])
    name = f"{world.pipeline.source.name}_x"

    with pytest.raises(TopicNotCreatedError, match=rf"topic '{name}' could not be created \(.*collides") as caught:
        create_sinks(world.replace(dead_letters=KafkaTopic(name)).pipeline, broker)

    causes: list[BaseException] = [caught.value]
    while (cause := causes[-1].__cause__) is not None:
        assert cause not in causes, "an error that causes itself hangs whoever prints its causes"
        causes.append(cause)


def test_a_topic_that_does_not_exist_has_no_facts(world: World) -> None:
    assert Broker(world.connections).topic("never-made") is None
    assert list(Broker(world.connections).topics(["never-made", world.pipeline.source.name])) == [
        world.pipeline.source.name
    ]
