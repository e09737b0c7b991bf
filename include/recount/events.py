"""Which messages count and which are rejects: the rules of declared fields, above those of documents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from recount.definition import Definition, Field
from recount.documents import Integer, is_text, members
from recount.errors import InvalidError

Value = str | int | None

_INT64: Final = range(-(2**63), 2**63)
_LONGEST_INT64: Final = 20  # characters, with the sign
# The texts of a window's key, together: what PostgreSQL's index is sure to take.
_MAX_KEY_BYTES: Final = 2_000
# From the year 1 to 9999-12-30, so that the end of every window is a date too.
_DATES_S: Final = range(-62_135_596_800, 253_402_214_400)


@dataclass(frozen=True, slots=True)
class Event:
    """A message that counts: the values of its declared fields, and its event time in ms since 1970 UTC."""

    values: Mapping[str, Value]
    time_ms: int


def judge(definition: Definition, value: bytes, timestamp_ms: int) -> Event:
    """The event in a message.

    Args:
        definition: the pipeline.
        value: the message's value; tombstones are not judged.
        timestamp_ms: Kafka's timestamp of the message.

    Raises:
        InvalidError: the message is a reject; the text says why.
    """
    values = _values(definition.fields, members(value))
    _refuse_long_keys(definition, values)
    return Event(values, _time_ms(definition, values, timestamp_ms))


def _values(fields: tuple[Field, ...], found: list[tuple[str, Any]]) -> dict[str, Value]:
    """The last value of each declared field; every occurrence must be valid."""
    declared = {field.name: field for field in fields}
    values: dict[str, Value] = {field.name: None for field in fields if field.optional}
    for name, raw in found:
        field = declared.get(name)
        if field is not None:
            values[name] = None if raw is None and field.optional else _typed(field, raw)
    missing = declared.keys() - values.keys()
    if missing:
        raise InvalidError("missing: {}", ", ".join(sorted(missing)))
    return values


def _refuse_long_keys(definition: Definition, values: dict[str, Value]) -> None:
    for window in definition.windows:
        texts = [values[name] for name in window.by]
        size = sum(len(text.encode()) for text in texts if isinstance(text, str))
        if size > _MAX_KEY_BYTES:
            raise InvalidError("key of {} bytes, an index takes {}", size, _MAX_KEY_BYTES)


def _typed(field: Field, raw: Any) -> Value:
    typed = _TYPES[field.kind](raw)
    if typed is None:
        raise InvalidError("{} is not {}: {!a:.40}", field.name, field.kind, raw)
    return typed


def _str(raw: Any) -> str | None:
    """PostgreSQL's text cannot hold NUL, so a declared field must not."""
    return raw if type(raw) is str and is_text(raw) and "\0" not in raw else None


def _int(raw: Any) -> int | None:
    if type(raw) is not Integer or len(raw) > _LONGEST_INT64:
        return None
    return number if (number := int(raw)) in _INT64 else None


def _epoch_seconds(raw: Any) -> int | None:
    number = _int(raw)
    return number if number is not None and number in _DATES_S else None


_TYPES: Final[Mapping[str, Callable[[Any], Value]]] = {
    "str": _str,
    "int": _int,
    "epoch_seconds": _epoch_seconds,
}


def _time_ms(definition: Definition, values: Mapping[str, Value], timestamp_ms: int) -> int:
    if definition.event_time is None:
        if timestamp_ms < 0 or timestamp_ms // 1000 not in _DATES_S:
            raise InvalidError("Kafka's timestamp {} ms is no date", timestamp_ms)
        return timestamp_ms
    seconds = values[definition.event_time]
    if not isinstance(seconds, int):
        raise InvalidError("no event time in {}", definition.event_time)
    if (seconds * 1000 - timestamp_ms) * 1000 > definition.max_future_us:
        raise InvalidError("event time {} s is too far ahead of Kafka's {} ms", seconds, timestamp_ms)
    return seconds * 1000
