"""The way of each message: decode, too late?, transform, stream, keys. What comes out counts in windows and pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from recount.arrow import Row
from recount.columns import Value
from recount.definition import Definition
from recount.documents import members
from recount.errors import InvalidError, UncountableError
from recount.events import LATE, is_late, judge
from recount.expressions import Expressions
from recount.fields import Field
from recount.frames import Function, transformed
from recount.kafka import Message
from recount.value_formats import Read

BLOCK: Final = 5_000

# The texts of a key, together: what PostgreSQL's index is sure to take.
_MAX_KEY_BYTES: Final = 2_000


class Nothing(Enum):
    """Messages that neither count nor are rejects."""

    TOMBSTONE = "tombstone"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message is a reject; `is_exact`: the engine must say it in these very words."""

    reason: str
    is_exact: bool = False


Outcome = Row | Refused | Nothing


class Flow:
    """The way through one pipeline.

    Raises:
        UncountableError: the pipeline has a transform, and its function was not given, or expressions that
            DuckDB does not take.
    """

    def __init__(self, definition: Definition, transform: Function | None = None, read: Read = members) -> None:
        if definition.transform is not None and transform is None:
            raise UncountableError(
                "the pipeline has the transform {}, of which the definition has only a hash: give the function to "
                "recount.check(..., transform=...)",
                definition.transform.function,
            )
        self._definition = definition
        self._function = transform
        self._read = read
        stream = definition.stream
        self._expressions = Expressions(stream, self._streamed) if stream else None

    def outcomes(self, block: Sequence[tuple[Message, int]]) -> list[Outcome]:
        """What becomes of each message; beside it comes the time of its batch, in µs since 1970 UTC."""
        found = [self._decoded(message, batch_us) for message, batch_us in block]
        self._transform(found)
        self._stream(found)
        return [self._with_keys(each) if isinstance(each, Row) else each for each in found]

    @property
    def _streamed(self) -> tuple[Field, ...]:
        """The fields that the stream sees."""
        transform = self._definition.transform
        return transform.fields if transform else self._definition.fields

    def _decoded(self, message: Message, batch_us: int) -> Outcome:
        if message.value is None:
            return Nothing.TOMBSTONE
        try:
            event = judge(self._definition, message.value, message.timestamp_ms, self._read)
            if is_late(self._definition, event, message.timestamp_ms):
                return Refused(LATE, is_exact=True)
        except InvalidError as error:
            return Refused(str(error))
        kafka_us = message.timestamp_ms * 1_000
        return Row(dict(event.values), event.time_us, batch_us, kafka_us, message.partition, message.offset)

    def _transform(self, found: list[Outcome]) -> None:
        transform, function = self._definition.transform, self._function
        if transform is None or function is None:
            return
        places, rows = _rows(found)
        if not rows:
            return
        _put(found, places, transformed(transform, function, self._definition.fields, rows))

    def _stream(self, found: list[Outcome]) -> None:
        """Rules, then the filter, then the columns: each sees only what those before it let through."""
        if self._expressions is None:
            return
        places, rows = _rows(found)
        for place, reason in zip(places, self._expressions.reasons(rows), strict=True):
            if reason is not None:
                found[place] = Refused(str(reason), is_exact=isinstance(reason, str))
        places, rows = _rows(found)
        passes = self._expressions.passes(rows)
        _put(found, places, [_let_through(row, ok) for row, ok in zip(rows, passes, strict=True)])
        places, rows = _rows(found)
        columns = self._expressions.columns(rows)
        _put(found, places, [_overlaid(row, given) for row, given in zip(rows, columns, strict=True)])

    def _with_keys(self, row: Row) -> Outcome:
        """The row, unless a key of it is null or too long."""
        definition, seen = self._definition, row.seen
        keys = [window.key_names for window in definition.windows]
        keys += [tuple(column.name for column in definition.stream.unique)] if definition.stream else []
        for names in keys:
            nulls = [name for name in names if seen[name] is None]
            if nulls:
                return Refused(f"{nulls[0]} is null in a key")
            size = sum(len(text.encode()) for name in names if isinstance(text := seen[name], str))
            if size > _MAX_KEY_BYTES:
                return Refused(f"key of {size} bytes, an index takes {_MAX_KEY_BYTES}")
        return row


def _rows(found: Sequence[Outcome]) -> tuple[list[int], list[Row]]:
    """Those that are still on their way, and where they are."""
    places = [place for place, each in enumerate(found) if isinstance(each, Row)]
    return places, [each for each in found if isinstance(each, Row)]


def _put(found: list[Outcome], places: Sequence[int], now: Iterable[Row | InvalidError | None]) -> None:
    for place, each in zip(places, now, strict=True):
        if isinstance(each, InvalidError):
            found[place] = Refused(str(each))
        else:
            found[place] = Nothing.FILTERED if each is None else each


def _let_through(row: Row, passes: bool | InvalidError) -> Row | InvalidError | None:
    if isinstance(passes, InvalidError):
        return passes
    return row if passes else None


def _overlaid(row: Row, columns: dict[str, Value] | InvalidError) -> Row | InvalidError:
    return columns if isinstance(columns, InvalidError) else replace(row, overlay=columns)
