"""From bytes to typed events, or to rejects that keep every byte. Pure: a message's fate depends on nothing else."""

from datetime import timedelta
from typing import Annotated, Any, Final, cast, get_type_hints

import msgspec

from microbatch.event import LAST_S, Event, fields
from microbatch.pipeline import Pipeline

# The deepest nesting that decodes whatever the stack of the caller is: Python's recursion limit is 1000 frames.
MAX_DEPTH: Final = 500
MAX_REASON_CHARACTERS: Final = 500
# PostgreSQL's B-tree takes rows of 2,704 bytes; what is left is for the window, the batch, integers and headers.
MAX_KEY_BYTES: Final = 2_000
_NUL: Final = b"\\u0000"
_MICROSECONDS: Final = timedelta(microseconds=1)

Header = tuple[str, bytes | None]


class Message(msgspec.Struct, frozen=True):
    """A message as it was read.

    Attributes:
        partition: of the source topic.
        offset: in that partition.
        timestamp_ms: Kafka's, in milliseconds since 1970-01-01 UTC.
        key: as it came.
        value: as it came; None is a tombstone.
        headers: as they came, in their order.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class Reject(msgspec.Struct, frozen=True):
    """A message that could not be decoded or broke a rule, whole, and why."""

    message: Message
    reason: str


class Decoded(msgspec.Struct, frozen=True):
    """What a chunk of messages turned into.

    Attributes:
        events: the valid ones, in the order of the messages.
        event_times_us: of each event, in microseconds since 1970-01-01 UTC.
        rejects: the others, in the order of the messages, less the tombstones.
        messages: how many there were, tombstones included.
    """

    events: list[Event]
    event_times_us: list[int]
    rejects: list[Reject]
    messages: int


class Decoder:
    """Decodes the messages of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._decode = msgspec.json.Decoder(_bounded(pipeline.event)).decode
        self._texts = [name for name, field in pipeline.fields.items() if field.kind == "str"]
        self._keys = [[name for name in output.by if name in self._texts] for output in pipeline.outputs]
        self._event_time = pipeline.source.event_time
        self._max_future_us = pipeline.max_future // _MICROSECONDS

    def decode(self, messages: list[Message]) -> Decoded:
        """Decode a chunk. Never raises for what a message contains."""
        events: list[Event] = []
        times_us: list[int] = []
        rejects: list[Reject] = []
        for message in messages:
            if message.value is None:
                continue
            try:
                event = self._event(message.value)
                times_us.append(self._time_us(event, message.timestamp_ms))
                events.append(event)
            except (ValueError, RecursionError) as error:
                rejects.append(Reject(message, _reason(error)))
        return Decoded(events, times_us, rejects, len(messages))

    def _event(self, value: bytes) -> Event:
        # Depth is judged before decoding, for what fits into the stack depends on who calls.
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        event = self._decode(value)
        if _NUL in value:
            self._refuse_nul(event)
        if len(value) > MAX_KEY_BYTES:
            self._refuse_long_keys(event)
        return event

    def _refuse_nul(self, event: Event) -> None:
        for name in self._texts:
            if "\0" in getattr(event, name):
                raise ValueError(f"contains NUL (U+0000), which PostgreSQL's text cannot hold - at `$.{name}`")

    def _refuse_long_keys(self, event: Event) -> None:
        for key in self._keys:
            size = sum(len(getattr(event, name).encode()) for name in key)
            if size > MAX_KEY_BYTES:
                raise ValueError(f"a key of {size} bytes, more than the {MAX_KEY_BYTES} that an index takes - at {key}")

    def _time_us(self, event: Event, timestamp_ms: int) -> int:
        if self._event_time is None:
            if not 0 <= timestamp_ms <= LAST_S * 1000:
                raise ValueError(f"Kafka's timestamp {timestamp_ms} ms is no time that a window can have")
            return timestamp_ms * 1000
        time_us: int = getattr(event, self._event_time) * 1_000_000
        ahead_us = time_us - timestamp_ms * 1000
        if ahead_us > self._max_future_us:
            raise ValueError(
                f"event time is {ahead_us // 1_000_000} s ahead of Kafka's timestamp, more than max_future "
                f"({self._max_future_us // 1_000_000} s) - at `$.{self._event_time}`"
            )
        return time_us


def _bounded(event: type[Event]) -> type[Event]:
    """The event type with its integers bounded to 64 bits, which is what the columns hold."""
    hints = get_type_hints(event, include_extras=True)
    kinds = fields(event)
    bounded: list[tuple[str, Any]] = [(n, _int64(hints[n])) for n, field in kinds.items() if field.kind == "int"]
    return cast("type[Event]", msgspec.defstruct(event.__name__, bounded, bases=(event,), kw_only=True, gc=False))


def _int64(annotation: Any) -> Any:
    """The annotation with the bounds of 64 bits where it has none of its own, which are always narrower."""
    metas = [meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    if all(meta.ge is None and meta.gt is None for meta in metas):
        annotation = Annotated[annotation, msgspec.Meta(ge=-(2**63))]
    if all(meta.le is None and meta.lt is None for meta in metas):
        annotation = Annotated[annotation, msgspec.Meta(le=2**63 - 1)]
    return annotation


def _depth(value: bytes) -> int:
    """How deep arrays and objects are nested; what stands in strings does not count."""
    deepest = depth = 0
    in_string = escaped = False
    for byte in value:
        if in_string:
            in_string, escaped = escaped or byte != 0x22, byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _reason(error: Exception) -> str:
    """One line that PostgreSQL and a header can hold."""
    text = str(error).replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()
    return text[:MAX_REASON_CHARACTERS]
