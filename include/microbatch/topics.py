"""Creating the topics that pipelines declare. Topics that exist are left as they are."""

from collections.abc import Iterable
from typing import Final

from confluent_kafka.cimpl import NewTopic

from microbatch.kafka import Broker
from microbatch.outputs import KafkaTopic, TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.settings import Connections

# Messages carry their window's end or their source's timestamp, which may be far from the time of sending.
_ANY_TIME: Final = {"message.timestamp.after.max.ms": str(2**63 - 1)}
# They keep their source's timestamps too, by which retention would delete old ones at once.
_DEAD_LETTERS: Final = {"retention.ms": "-1", **_ANY_TIME}
# Results are upserts: the last revision of a key is what counts.
_RESULTS: Final = {"cleanup.policy": "compact", **_ANY_TIME}


def create_topics(pipelines: Iterable[Pipeline], connections: Connections) -> list[str]:
    """Create the sources and sinks of some pipelines that do not exist yet; returns their names."""
    wanted = [topic for pipeline in pipelines for topic in (_new(pipeline.source), *_sinks(pipeline))]
    return _create(wanted, Broker(connections))


def create_sinks(pipeline: Pipeline, broker: Broker) -> list[str]:
    """Create the result and dead-letter topics of a pipeline that do not exist yet; returns their names."""
    return _create(_sinks(pipeline), broker)


def _sinks(pipeline: Pipeline) -> list[NewTopic]:
    """Sinks of outputs and of rejects; what a pipeline declares goes before our own settings."""
    sinks = [
        _new(output.topic, **(_RESULTS if isinstance(output, TumblingWindow) else _ANY_TIME))
        for output in pipeline.outputs
        if output.topic
    ]
    return [*sinks, _new(pipeline.dead_letter_topic, **_DEAD_LETTERS)]


def _new(topic: KafkaTopic, **config: str) -> NewTopic:
    # The broker's default replication factor.
    return NewTopic(
        topic.name, num_partitions=topic.partitions, replication_factor=-1, config={**config, **topic.config}
    )


def _create(wanted: list[NewTopic], broker: Broker) -> list[str]:
    # Pipelines may share a source, or a dead-letter topic.
    there = broker.topics(list({topic.topic: None for topic in wanted}))
    missing = {topic.topic: topic for topic in wanted if topic.topic not in there}
    if missing:
        broker.create(list(missing.values()))
    return list(missing)
