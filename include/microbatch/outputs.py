"""What a pipeline declares that it computes, and where that goes."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from microbatch.event import Event
from microbatch.measures import AnyMeasure
from microbatch.value_formats import Avro, Protobuf

if TYPE_CHECKING:
    import pandas as pd  # takes long, and every DAG file imports this module

MAX_REASON_CHARACTERS: Final = 500
DAY_S: Final = 86_400
WEEK_S: Final = 7 * DAY_S
_DURATION: Final = re.compile(r"(\d+) (second|minute|hour|day|week)s?")
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": DAY_S, "week": WEEK_S}


class KafkaTopic(msgspec.Struct, frozen=True):
    """A topic: the source of a pipeline (with `event` and `event_time`), or a sink.

    Attributes:
        name: the topic's name.
        event: the type of its messages.
        event_time: the field of `event` that assigns the window; None: Kafka's timestamp.
        partitions: how many it gets when microbatch creates it; an existing topic is left as it is.
        config: Kafka's settings of the topic when microbatch creates it, such as {"retention.ms": "86400000"}.
        values: how the values of a source are written: `Avro()` or `Protobuf(CLASS)`; None: JSON, as all sinks are.
    """

    name: str
    event: type[Event] | None = None
    event_time: str | None = None
    partitions: int = 4
    config: dict[str, str] = {}
    values: Avro | Protobuf | None = None


class PostgresTable(msgspec.Struct, frozen=True):
    """A table in schema public; what belongs to it gets the same name with a suffix.

    Attributes:
        name: of the table of the newest results, of rows, or of pairs.
    """

    name: str


class _WithSinks(Protocol):
    @property
    def to(self) -> list[PostgresTable | KafkaTopic]: ...


class Sinks:
    """What the outputs of a pipeline have in common: at most one table and one topic in `to`."""

    __slots__ = ()

    @property
    def table(self: _WithSinks) -> str | None:
        """The name of its table, if it has one."""
        return next((sink.name for sink in self.to if isinstance(sink, PostgresTable)), None)

    @property
    def topic(self: _WithSinks) -> KafkaTopic | None:
        """Its topic, if it has one."""
        return next((sink for sink in self.to if isinstance(sink, KafkaTopic)), None)


class Stream(Sinks, msgspec.Struct, frozen=True, kw_only=True):
    """Each event as a row: validated, filtered, enriched. Windows and pairs see what it lets through.

    SQL is DuckDB's, over the event's fields and `_event_time`, `_batch_time`, `_kafka_timestamp`, `_partition`,
    `_offset`; times are UTC. An event for which an expression fails is a reject.

    Attributes:
        columns: the columns of a row, each a SQL expression; None: all fields, less structs and lists.
        where: a SQL predicate; only events for which it is true pass.
        reject: SQL predicates by reason, in the order in which they are asked before `where`; an event for which one
            is true is a dead letter with that reason.
        unique: columns of which only the first event counts that was booked (batch, Kafka timestamp, partition,
            offset); repeats are counted and left out. It needs one shard.
        to: its sinks; none is needed where windows or pairs are.
    """

    columns: dict[str, str] | None = None
    where: str | None = None
    reject: dict[str, str] = {}
    unique: list[str] = []
    to: list[PostgresTable | KafkaTopic] = []


class TumblingWindow(Sinks, msgspec.Struct, frozen=True):
    """Measures over tumbling windows, half-open `[start, end)` by event time.

    Attributes:
        size: such as "30 seconds", "1 minute", "2 hours", "1 day", "1 week"; up to hours it divides a day. Windows are
            aligned to the epoch in UTC, days and weeks (from Monday) to midnight in the time zone.
        by: the columns that make the key, beside the window.
        measures: the columns of the result.
        to: at least one sink.
        timezone: of days and weeks, an IANA name; a day may have 23 or 25 hours there.
        emit: `closed`: a result is published when its window has closed; `early`: after every run that changed it.
    """

    size: str
    by: list[str]
    measures: dict[str, AnyMeasure]
    to: list[PostgresTable | KafkaTopic]
    timezone: str = "UTC"
    emit: Literal["closed", "early"] = "closed"

    @property
    def size_s(self) -> int:
        """The length of a window in seconds, of a day without a change of the clocks.

        Raises:
            ValueError: the text is no size.
        """
        matched = _DURATION.fullmatch(self.size)
        if matched is None:
            raise ValueError(self.size)
        return int(matched[1]) * _UNITS[matched[2]]


class Pairs(Sinks, msgspec.Struct, frozen=True):
    """Pairs events whose numbers sum to `sum`, each at most once, the oldest first, across batches.

    The k-th event with number v is paired with the k-th with `sum` - v, in the order in which the ledger booked
    them (batch, Kafka timestamp, partition, offset); of v = `sum` / 2 the 1st with the 2nd, the 3rd with the 4th. What
    has no partner yet waits in a table. It needs one shard.

    Attributes:
        field: an integer column.
        sum: of each pair.
        to: at least one sink.
    """

    field: str
    sum: int
    to: list[PostgresTable | KafkaTopic]


class Transform(msgspec.Struct, frozen=True):
    """A function over DataFrames, for what SQL cannot say.

    It gets a chunk of events, a row each, with the columns of the event and `_partition` and `_offset`, which it keeps.
    It may leave out rows, change columns and add some; it must not depend on how the log is cut into chunks.

    Attributes:
        function: the function.
        event: describes the columns that come out: their types, and which may be null. Constraints are not asked again.
        version: to be raised by hand when the function changes in a way that its source does not show.
    """

    function: "Callable[[pd.DataFrame], pd.DataFrame]"
    event: type[Event]
    version: int = 1


AnyOutput = Stream | TumblingWindow | Pairs
