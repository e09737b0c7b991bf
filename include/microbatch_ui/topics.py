"""Topics of pipelines: what they are to them, where they begin and end, and how far they are covered."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from microbatch.airflow_connections import kafka_settings
from microbatch.kafka import Broker, Ends
from microbatch.postgres import Connection
from microbatch.settings import Connections, deployment
from microbatch_ui.database import queries, rows
from microbatch_ui.pipelines import Registered

_TOPICS: Final = queries("topics")
_ROLES: Final = ("source", "results", "dead letters")


class Uses(msgspec.Struct, frozen=True):
    """The names of the pipelines that read a topic, that publish to it, and whose dead letters it has."""

    source: set[str] = msgspec.field(default_factory=set)
    results: set[str] = msgspec.field(default_factory=set)
    dead_letters: set[str] = msgspec.field(default_factory=set)

    @property
    def role(self) -> list[str]:
        """In words."""
        found = (self.source, self.results, self.dead_letters)
        return [role for role, names in zip(_ROLES, found, strict=True) if names]

    @property
    def pipelines(self) -> list[str]:
        """By name."""
        return sorted(self.source | self.results | self.dead_letters)


class PartitionOffsets(msgspec.Struct, frozen=True):
    """Offsets of a partition.

    Attributes:
        low: of the oldest message that is still there.
        high: one past the newest.
        last_stable: no transaction is open below it.
        covered_until: the pipelines have read all below it; None: none reads this log, or none has run yet.
    """

    partition: int
    low: int
    high: int
    last_stable: int
    covered_until: int | None = None


class TopicReading(msgspec.Struct, frozen=True):
    """How many offsets a pipeline has still to read; None: it has not begun with this log of the topic."""

    pipeline: str
    behind: int | None


class Topic(msgspec.Struct, frozen=True):
    """A topic of some pipelines.

    Attributes:
        is_there: Kafka has it.
        messages: at the most: markers of transactions and what was compacted away have offsets too.
        readers: one for each pipeline whose source it is.
    """

    topic: str
    role: list[str]
    pipelines: list[str]
    is_there: bool
    partitions: list[PartitionOffsets]
    messages: int
    readers: list[TopicReading]


def kafka() -> Connections:
    """How Airflow's connection reaches Kafka; PostgreSQL is not reached by it."""
    return Connections(kafka=kafka_settings(), postgres="", deployment=deployment())


def uses_of(pipelines: Iterable[Registered]) -> dict[str, Uses]:
    """All topics of some pipelines, by name."""
    found: dict[str, Uses] = {}
    for pipeline in pipelines:
        found.setdefault(pipeline.source_topic, Uses()).source.add(pipeline.name)
        found.setdefault(pipeline.definition["dead_letters"], Uses()).dead_letters.add(pipeline.name)
        for output in pipeline.outputs:
            if output["topic"]:
                found.setdefault(output["topic"], Uses()).results.add(pipeline.name)
    return dict(sorted(found.items()))


def topics_of(connection: Connection, pipelines: list[Registered]) -> list[Topic]:
    """All topics of some pipelines, by name, as the ledger and Kafka know them now.

    Raises:
        KafkaUnreachableError: no broker answers.
    """
    uses = uses_of(pipelines)
    if not uses:
        return []
    # Before Kafka is asked: then what is covered is never above the ends.
    covered = rows(connection, _TOPICS["covered"], {"pipeline_ids": [each.pipeline_id for each in pipelines]})
    broker = Broker(kafka())
    facts = broker.topics([*uses])
    found = []
    for name, use in uses.items():
        ends = broker.ends(name, range(facts[name].partitions)) if name in facts else None
        # What is covered of an earlier topic of this name says nothing about this one.
        ours = [each for each in covered if name in facts and each["topic_id"] == facts[name].topic_id]
        found.append(_topic(name, use, ends, ours))
    return found


def offsets_of(partition: int, ends: Ends, covered_until: int | None = None) -> PartitionOffsets:
    """The ends of a partition for people."""
    return PartitionOffsets(partition, ends.low_watermark, ends.high_watermark, ends.last_stable, covered_until)


def _topic(name: str, use: Uses, ends: dict[int, Ends] | None, covered: list[dict[str, Any]]) -> Topic:
    """A topic; without ends, Kafka does not have it."""
    partitions = []
    for partition, at in (ends or {}).items():
        until = [each["covered_until"] for each in covered if each["partition"] == partition]
        partitions.append(offsets_of(partition, at, min(until, default=None)))
    return Topic(
        topic=name,
        role=use.role,
        pipelines=use.pipelines,
        is_there=ends is not None,
        partitions=partitions,
        messages=sum(each.high - each.low for each in partitions),
        readers=[TopicReading(pipeline, _behind(pipeline, ends or {}, covered)) for pipeline in sorted(use.source)],
    )


def _behind(pipeline: str, ends: dict[int, Ends], covered: list[dict[str, Any]]) -> int | None:
    until: dict[int, int] = {row["partition"]: row["covered_until"] for row in covered if row["pipeline"] == pipeline}
    if not until:
        return None
    # Of a partition that has appeared since, all is still to be read.
    return sum(max(0, at.high_watermark - until.get(p, at.low_watermark)) for p, at in ends.items())
