"""Declarations: a pipeline is a value. All mistakes are found when it is made, none when it runs."""

import re
from datetime import timedelta
from typing import Final

import msgspec

from microbatch.errors import DeclarationError, UnknownFieldError
from microbatch.event import Event, Field, fields
from microbatch.measures import AnyMeasure

MAX_IDENTIFIER_BYTES: Final = 63  # PostgreSQL cuts longer names (NAMEDATALEN - 1)
SUFFIXES: Final = ("", "_contribution", "_history")
# Columns that the tables have beside the declared ones, aliases of the merge, and what PostgreSQL keeps for itself.
RESERVED_COLUMNS: Final = (
    *("window_start", "window_end", "is_final", "revision", "updated_at", "batch_id"),
    *("batches", "merge_id", "retracted", "valid_from", "valid_to", "was_final"),
    *("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"),
)
_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PIPELINE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_DURATION: Final = re.compile(r"(\d+) (second|minute|hour)s?")
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600}


class KafkaTopic(msgspec.Struct, frozen=True):
    """A topic: the source of a pipeline (with `event` and `event_time`), or a sink.

    Attributes:
        name: the topic's name.
        event: the type of its messages, JSON objects.
        event_time: the field of `event` that assigns the window; None: Kafka's timestamp.
        partitions: how many it gets when microbatch creates it; an existing topic is left as it is.
    """

    name: str
    event: type[Event] | None = None
    event_time: str | None = None
    partitions: int = 4


class PostgresTable(msgspec.Struct, frozen=True):
    """A result table in schema public; its contributions and history get the same name with a suffix."""

    name: str


class TumblingWindow(msgspec.Struct, frozen=True):
    """Sums and counts over tumbling windows, half-open `[start, end)` by event time, aligned to the epoch in UTC.

    Attributes:
        size: such as "1 minute", "30 seconds", "2 hours"; divides a day, so that days begin with a window.
        by: the fields of the event that make the key, beside the window.
        measures: the columns of the result.
        to: its sinks: at most one table and one topic.
    """

    size: str
    by: list[str]
    measures: dict[str, AnyMeasure]
    to: list[PostgresTable | KafkaTopic]

    @property
    def size_s(self) -> int:
        """The length of a window in seconds."""
        matched = _DURATION.fullmatch(self.size)
        if matched is None:
            raise ValueError(self.size)
        return int(matched[1]) * _UNITS[matched[2]]

    @property
    def table(self) -> str:
        """The name of its result table."""
        return next(sink.name for sink in self.to if isinstance(sink, PostgresTable))

    @property
    def topic(self) -> KafkaTopic | None:
        """The topic of its results, if it has one."""
        return next((sink for sink in self.to if isinstance(sink, KafkaTopic)), None)


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """One declared flow, from a source topic to its sinks.

    Attributes:
        name: lower-case letters, digits, `_` and `-`; its DAG and its Kafka ids have it.
        source: the topic that is read.
        outputs: what is computed.
        description: one or two sentences for people; the event's docstring goes into the docs too.
        grace: how long a scheduled run waits after its interval's end before it looks at the topic.
        max_future: how far an event time may be ahead of Kafka's timestamp; further ahead is a reject.
        max_records: bounds a batch; a run has as many batches as it needs.
        run_budget: after this time a run stops between two batches and the next one goes on.
        max_rejected: the share of a batch (of at least 100 messages) above which it fails.
        shards: how many tasks share the source's partitions.
        dead_letters: the topic for rejects; None: `<source>-dlq`.

    Raises:
        DeclarationError: it cannot work; the text names the object, the value and the remedy.
    """

    name: str
    source: KafkaTopic
    outputs: list[TumblingWindow]
    description: str = ""
    grace: timedelta = timedelta(seconds=1)
    max_future: timedelta = timedelta(hours=1)
    max_records: int = 500_000
    run_budget: timedelta = timedelta(minutes=5)
    max_rejected: float = 0.5
    shards: int = 1
    dead_letters: KafkaTopic | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        _check_numbers(self)
        found = _check_source(self)
        for output in self.outputs:
            _check_window(self, output, found)
        _check_sinks(self)

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
    def dead_letter_topic(self) -> KafkaTopic:
        """Where rejects go."""
        return self.dead_letters or KafkaTopic(f"{self.source.name}-dlq", partitions=self.source.partitions)


def _refuse(pipeline: Pipeline, what: str, remedy: str) -> DeclarationError:
    return DeclarationError(pipeline=pipeline.name, what=what, remedy=remedy)


def _check_names(pipeline: Pipeline) -> None:
    if not _PIPELINE_NAME.fullmatch(pipeline.name):
        raise _refuse(pipeline, f"the name {pipeline.name!r} is not usable", "use lower-case letters, digits, _ and -")
    topics = [output.topic for output in pipeline.outputs]
    for topic in [pipeline.source, pipeline.dead_letter_topic, *filter(None, topics)]:
        if not _TOPIC_NAME.fullmatch(topic.name) or topic.name in (".", ".."):
            raise _refuse(
                pipeline,
                f"Kafka refuses the topic name {topic.name!r}",
                "use up to 249 letters, digits, '.', '_' and '-'",
            )
        if topic.partitions < 1:
            raise _refuse(pipeline, f"topic {topic.name!r} has partitions={topic.partitions}", "give it at least 1")


def _check_numbers(pipeline: Pipeline) -> None:
    zero = timedelta(0)
    wrong = {
        "grace": pipeline.grace < zero,
        "max_future": pipeline.max_future < zero,
        "max_records": pipeline.max_records < 1,
        "run_budget": pipeline.run_budget <= zero,
        "max_rejected": not 0 < pipeline.max_rejected <= 1,
        "shards": pipeline.shards < 1,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise _refuse(
                pipeline,
                f"{name}={getattr(pipeline, name)} is out of range",
                "durations and counts are positive, max_rejected is a share in (0, 1]",
            )
    if not pipeline.outputs:
        raise _refuse(pipeline, "outputs=[] computes nothing", "give it at least one TumblingWindow")


def _check_source(pipeline: Pipeline) -> dict[str, Field]:
    if pipeline.source.event is None:
        raise _refuse(
            pipeline,
            f"the source {pipeline.source.name!r} has no event type",
            "name it: KafkaTopic(name, Event)",
        )
    try:
        found = fields(pipeline.source.event)
    except TypeError as error:
        raise _refuse(pipeline, str(error), "change the field") from error
    if pipeline.source.event_time is not None:
        field = _field(pipeline, found, "event_time", pipeline.source.event_time)
        if field.kind != "epoch_seconds":
            raise _refuse(pipeline, f"event_time {field.name!r} is of type {field.kind}", "declare it as EpochSeconds")
    return found


def _field(pipeline: Pipeline, found: dict[str, Field], where: str, name: str) -> Field:
    if name not in found:
        raise UnknownFieldError(
            pipeline=pipeline.name,
            where=where,
            field=name,
            event=pipeline.event.__name__,
            fields=", ".join(found),
        )
    return found[name]


def _check_window(pipeline: Pipeline, output: TumblingWindow, found: dict[str, Field]) -> None:
    try:
        size_s = output.size_s
    except ValueError:
        size_s = 0
    if not size_s or 86_400 % size_s:
        raise _refuse(
            pipeline,
            f"a window of {output.size!r} does not divide a day",
            'give a size such as "30 seconds", "1 minute" or "2 hours"',
        )
    for name in output.by:
        _field(pipeline, found, "by", name)
    for column, measure in output.measures.items():
        needs = measure.needs
        field = _field(pipeline, found, f"measure {column!r}", needs) if needs is not None else None
        refused = measure.refused(field)
        if refused is not None:
            raise _refuse(pipeline, f"measure {column!r} of field {needs!r} cannot work", refused)
    if not output.measures:
        raise _refuse(pipeline, f"the window of {output.size!r} has no measures", "give it one, such as Count()")
    _check_columns(pipeline, output)


def _check_columns(pipeline: Pipeline, output: TumblingWindow) -> None:
    columns = [*output.by, *output.measures]
    for column in columns:
        if column in RESERVED_COLUMNS or columns.count(column) > 1:
            raise _refuse(pipeline, f"the column {column!r} is there already", "give the measure another name")
    tables = [sink for sink in output.to if isinstance(sink, PostgresTable)]
    topics = [sink for sink in output.to if isinstance(sink, KafkaTopic)]
    if len(tables) != 1 or len(topics) > 1:
        raise _refuse(
            pipeline,
            f"the window of {output.size!r} goes to {len(tables)} tables and {len(topics)} topics",
            "give it one PostgresTable and at most one KafkaTopic",
        )
    for name, room in [(tables[0].name, max(map(len, SUFFIXES))), *((column, 0) for column in columns)]:
        size = len(name.encode())
        if not name or any(sign in name for sign in ".%\0") or size > MAX_IDENTIFIER_BYTES - room:
            raise _refuse(
                pipeline,
                f"PostgreSQL cannot have the name {name!r} here",
                f"use 1 to {MAX_IDENTIFIER_BYTES - room} bytes without '.' and '%'",
            )


def _check_sinks(pipeline: Pipeline) -> None:
    tables = [output.table + suffix for output in pipeline.outputs for suffix in SUFFIXES]
    topics = [output.topic.name for output in pipeline.outputs if output.topic]
    topics += [pipeline.source.name, pipeline.dead_letter_topic.name]
    for name in tables + topics:
        if tables.count(name) > 1 or topics.count(name) > 1:
            raise _refuse(pipeline, f"{name!r} is used twice", "give each source and sink a name of its own")
