"""A pipeline is a value. All mistakes in it are found when it is made, none when it runs."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from microbatch.checking import check
from microbatch.event import Event
from microbatch.fields import Field, fields
from microbatch.keeping import Keep
from microbatch.outputs import AnyOutput, KafkaTopic, Pairs, Stream, Transform, TumblingWindow

TOPIC_SCHEMA = "microbatch_topic"
"""Where the tables of outputs are that declare none: what is needed to correct and to resume a topic."""


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """One declared flow, from a source topic to its sinks.

    Attributes:
        name: lower-case letters, digits, `_` and `-`; its DAG and its Kafka ids have it.
        source: the topic that is read.
        outputs: what is computed: windows, pairs, and at most one stream, through which events go first.
        description: one or two sentences for people; the event's docstring goes into the docs too.
        transform: a function over DataFrames that events go through before the stream.
        start: where a new pipeline begins: `earliest`, `latest`, or a time (aware) of Kafka's timestamps.
        grace: how long a scheduled run waits after its interval's end before it looks at the topic.
        max_future: how far an event time may be ahead of Kafka's timestamp; further ahead is a reject.
        allowed_lateness: how far Kafka's timestamp may be past the end of an event's first window; an event that is
            later is a dead letter with the reason `late`. None: any late event counts, as a correction.
        max_records: bounds a batch; a run has as many batches as it needs.
        run_budget: after this time a run stops between two batches and the next one goes on.
        max_rejected: the share of a batch (of at least 100 messages) above which it fails.
        shards: how many tasks share the source's partitions.
        dead_letters: the topic for rejects; None: `<source>-dlq`.
        keep: how long batches can be redone, and superseded revisions and rows are kept.

    Raises:
        DeclarationError: it cannot work; the text names the object, the value and the remedy.
    """

    name: str
    source: KafkaTopic
    outputs: list[AnyOutput]
    description: str = ""
    transform: Transform | None = None
    start: Literal["earliest", "latest"] | datetime = "earliest"
    grace: timedelta = timedelta(seconds=1)
    max_future: timedelta = timedelta(hours=1)
    allowed_lateness: timedelta | None = None
    max_records: int = 1_000_000
    run_budget: timedelta = timedelta(minutes=5)
    max_rejected: float = 0.5
    shards: int = 1
    dead_letters: KafkaTopic | None = None
    keep: Keep = Keep()

    def __post_init__(self) -> None:
        check(self)

    @property
    def event(self) -> type[Event]:
        """The type of the source's messages."""
        assert self.source.event is not None  # noqa: S101 - __post_init__ has checked it
        return self.source.event

    @property
    def fields(self) -> dict[str, Field]:
        """The event's fields by name."""
        return fields(self.event)

    @property
    def stream(self) -> Stream | None:
        """Its stream, if it has one."""
        return next((output for output in self.outputs if isinstance(output, Stream)), None)

    @property
    def windows(self) -> list[TumblingWindow]:
        """Its windows."""
        return [output for output in self.outputs if isinstance(output, TumblingWindow)]

    @property
    def pairs(self) -> list[Pairs]:
        """Its pairings."""
        return [output for output in self.outputs if isinstance(output, Pairs)]

    @property
    def dead_letter_topic(self) -> KafkaTopic:
        """Where rejects go."""
        return self.dead_letters or KafkaTopic(f"{self.source.name}-dlq", partitions=self.source.partitions)

    def state(self, output: AnyOutput) -> tuple[str, str]:
        """Schema and name of an output's table; what belongs to it has the same name with a suffix."""
        if output.table is not None:
            return "public", output.table
        return TOPIC_SCHEMA, output.topic.name if output.topic else self.name
