"""The definition of a pipeline, as the ledger keeps it in JSON. With `fields` the one place that knows its shape.

What is not known here is refused, never skipped: a check that ignores an output would pass in vain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from recount.columns import Column, ColumnType, columns_of, parse_type
from recount.errors import UncountableError
from recount.fields import Field, fields_of
from recount.plain import Part

MEASURES: Final = ("sum", "count", "min", "max", "mean")
DAY_S: Final = 86_400
WEEK_S: Final = 7 * DAY_S
_SCHEMAS: Final = ("public", "microbatch_topic")


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of a result, over `field`; `field` is None for a count. `scale` is that of a mean."""

    column: str
    kind: str
    field: str | None
    of: ColumnType
    scale: int

    @property
    def type(self) -> ColumnType:
        """The type of its column in the result."""
        if self.kind == "mean":
            return ColumnType("numeric", self.scale)
        return ColumnType("numeric", self.of.scale) if self.kind == "sum" else self.of


@dataclass(frozen=True, slots=True)
class Target:
    """Where an output is: its tables' schema and first name, and its topic.

    An output that has no table of its own keeps what it must remember in the schema `microbatch_topic`.
    """

    schema: str
    table: str
    topic: str | None

    @property
    def has_table(self) -> bool:
        """Whether the user asked for a table."""
        return self.schema == "public"


@dataclass(frozen=True, slots=True)
class Window:
    """A tumbling window of `size_s` seconds, or a day or week of `timezone`, by columns."""

    size_s: int
    timezone: str
    by: tuple[Column, ...]
    measures: tuple[Measure, ...]
    target: Target

    @property
    def name(self) -> str:
        """For reports."""
        return self.target.table

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its measures."""
        return tuple(measure.column for measure in self.measures)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The columns of its key."""
        return tuple(column.name for column in self.by)


@dataclass(frozen=True, slots=True)
class StreamColumn:
    """A column of a stream and the expression that gives it."""

    name: str
    sql: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Stream:
    """What happens to each event: `reject` rules by their reasons, a filter, columns, and what must be unique."""

    reject: tuple[tuple[str, str], ...]
    where: str | None
    columns: tuple[StreamColumn, ...]
    unique: tuple[Column, ...]
    target: Target


@dataclass(frozen=True, slots=True)
class PairsOutput:
    """Events are paired whose values of `field` add up to `sum`."""

    field: str
    sum: int
    target: Target


@dataclass(frozen=True, slots=True)
class Transform:
    """A function over frames that the definition cannot hold; `fields` is what comes out of it."""

    function: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """How values of the source are written; `message` is the name of Protobuf's type."""

    format: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Definition:
    """A pipeline as it was registered.

    Attributes:
        event_time: None where Kafka's timestamp is the event time.
        values: None where they are JSON.
    """

    topic: str
    fields: tuple[Field, ...]
    event_time: str | None
    values: ValueFormat | None
    max_future_us: int
    allowed_lateness_us: int | None
    dead_letters: str
    transform: Transform | None
    stream: Stream | None
    windows: tuple[Window, ...]
    pairs: tuple[PairsOutput, ...]

    @property
    def topics(self) -> set[str]:
        """All topics that it writes."""
        targets = [window.target for window in self.windows] + [pairs.target for pairs in self.pairs]
        targets += [self.stream.target] if self.stream else []
        return {self.dead_letters, *(target.topic for target in targets if target.topic)}


def parse(plain: Mapping[str, Any]) -> Definition:
    """The definition from its JSON.

    Raises:
        UncountableError: it has something in it that this check cannot count, or lacks a part.
    """
    whole = Part(plain, "the definition")
    source = Part(whole.take("source"), "the source")
    whole.take("name")
    outputs = [_output(output) for output in whole.take("outputs")]
    streams = [output for output in outputs if isinstance(output, Stream)]
    if len(streams) > 1:
        raise UncountableError("the definition has {} streams; this check can count one", len(streams))
    found = Definition(
        topic=source.take("topic"),
        fields=fields_of(source.take("event"), ""),
        event_time=source.take("event_time"),
        values=_values(source.take("values", None)),
        max_future_us=_us(whole.take("max_future_s")),
        allowed_lateness_us=None if (lateness := whole.take("allowed_lateness_s")) is None else _us(lateness),
        dead_letters=whole.take("dead_letters"),
        transform=_transform(whole.take("transform")),
        stream=streams[0] if streams else None,
        windows=tuple(output for output in outputs if isinstance(output, Window)),
        pairs=tuple(output for output in outputs if isinstance(output, PairsOutput)),
    )
    source.done()
    whole.done()
    return found


def _values(plain: Any) -> ValueFormat | None:
    if plain is None:
        return None
    part = Part(plain, "the source's values")
    name = part.known("format", ("avro", "protobuf"))
    found = ValueFormat(name, part.take("message") if name == "protobuf" else None)
    part.done()
    return found


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _transform(plain: Any) -> Transform | None:
    if plain is None:
        return None
    part = Part(plain, "the transform")
    found = Transform(part.take("function"), fields_of(part.take("event"), "the transform's "))
    part.take("version")
    part.take("source_sha256")
    part.done()
    return found


def _output(plain: Any) -> Stream | Window | PairsOutput:
    part = Part(plain, "output")
    found = _OUTPUTS[part.known("kind", tuple(_OUTPUTS))](part, _target(part))
    part.done()
    return found


def _target(part: Part) -> Target:
    return Target(part.known("schema", _SCHEMAS), part.take("table"), part.take("topic"))


def _stream(part: Part, target: Target) -> Stream:
    return Stream(
        reject=tuple((reason, sql) for reason, sql in part.take("reject")),
        where=part.take("where"),
        columns=tuple(
            StreamColumn(name, sql, parse_type(kind, f"column {name!r}")) for name, sql, kind in part.take("columns")
        ),
        unique=columns_of(part.take("unique"), "unique column"),
        target=target,
    )


def _window(part: Part, target: Target) -> Window:
    size_s, timezone = part.take("size_s"), part.take("timezone")
    if timezone != "UTC" and size_s not in (DAY_S, WEEK_S):
        raise UncountableError("a window of {} s has the timezone {!r}; only days and weeks have", size_s, timezone)
    return Window(
        size_s=size_s,
        timezone=timezone,
        by=columns_of(part.take("by"), "by column"),
        measures=tuple(_measure(column, plain) for column, plain in part.take("measures").items()),
        target=target,
    )


def _measure(column: str, plain: Any) -> Measure:
    part = Part(plain, f"measure {column!r}")
    kind = part.known("measure", MEASURES)
    counts = kind == "count"
    found = Measure(
        column=column,
        kind=kind,
        field=None if counts else part.take("field"),
        of=ColumnType("bigint") if counts else parse_type(part.take("of"), part.what),
        scale=part.take("scale") if kind == "mean" else 0,
    )
    part.done()
    if kind in ("sum", "mean") and found.of.base not in ("bigint", "numeric"):
        raise UncountableError("measure {!r} is a {} of {}; only numbers have one", column, kind, found.of)
    return found


def _pairs(part: Part, target: Target) -> PairsOutput:
    return PairsOutput(part.take("field"), part.take("sum"), target)


_OUTPUTS: Final[Mapping[str, Callable[[Part, Target], Stream | Window | PairsOutput]]] = {
    "stream": _stream,
    "tumbling_window": _window,
    "pairs": _pairs,
}
