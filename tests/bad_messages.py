"""Every kind of bad message that a topic may bring, made of a valid event of any pipeline."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

LARGE: Final = 900_000
"""Bytes; a broker takes about 1 MB."""
_MARK: Final = "the value in question"
_DEEP: Final = b"[" * 1000 + b"]" * 1000


class Shape(msgspec.Struct, frozen=True):
    """A valid event, and its fields; one within another is written as `main.temp`.

    Attributes:
        event: as JSON has it.
        texts: fields with a text; one that is no part of the event may be among them.
        numbers: fields with a number.
        time: its event time, if it has one: a number of seconds, or a text in RFC 3339.
    """

    event: dict[str, Any]
    texts: list[str]
    numbers: list[str]
    time: str | None = None


def bad_messages(shape: Shape) -> dict[str, bytes | None]:
    """Values of messages by kind. Some kinds are no fault to some pipelines: it says so where they are used."""
    return dict(
        [
            *_no_objects(shape),
            *_whole_events(shape),
            *_texts(shape),
            *_numbers(shape),
            *(_times(shape, shape.time) if shape.time else ()),
            *_lacking(shape),
        ]
    )


def written(event: dict[str, Any], field: str, value: bytes) -> bytes:
    """The event as JSON, with that value of a field just as it is given."""
    changed = copy.deepcopy(event)
    holder, name = _holder(changed, field)
    holder[name] = _MARK
    return json.dumps(changed).encode().replace(json.dumps(_MARK).encode(), value)


Kinds = Iterator[tuple[str, bytes | None]]


def _no_objects(shape: Shape) -> Kinds:
    whole = json.dumps(shape.event).encode()
    yield "tombstone", None
    yield "not JSON", b"hello"
    yield "empty", b""
    yield "blank", b" \n"
    yield "null", b"null"
    yield "array", b"[" + whole + b"]"
    yield "text", json.dumps(whole.decode()).encode()
    yield "number", b"12"
    yield "cut off", whole[:-1]
    yield "more after it", whole + b"}"
    yield "two events", whole + b"\n" + whole
    yield "byte order mark", b"\xef\xbb\xbf" + whole
    yield "UTF-16", whole.decode().encode("utf-16")
    yield "1,000 deep", _DEEP
    yield "large junk", b"\x00\xff" * (LARGE // 2)


def _whole_events(shape: Shape) -> Kinds:
    """Valid but for what they have beside their fields, or how they have them."""
    first = (shape.numbers or shape.texts)[0]
    yield "1,000 deep in an unknown field", written(shape.event, "unknown", _DEEP)
    yield "large for an unknown field", written(shape.event, "unknown", b'"' + b"x" * LARGE + b'"')
    yield "duplicate key, the same twice", _twice(shape, first, _value(shape.event, first))
    yield "duplicate key, a wrong one first", _twice(shape, first, {})


def _texts(shape: Shape) -> Kinds:
    for field in shape.texts:
        yield f"NUL in {field}", written(shape.event, field, b'"a\\u0000b"')
        yield f"raw NUL in {field}", written(shape.event, field, b'"a\x00b"')
        yield f"lone surrogate in {field}", written(shape.event, field, b'"\\ud800"')
        yield f"invalid UTF-8 in {field}", written(shape.event, field, b'"\xff"')
    yield f"large {shape.texts[0]}", written(shape.event, shape.texts[0], b'"' + b"x" * LARGE + b'"')


def _numbers(shape: Shape) -> Kinds:
    for field in shape.numbers:
        for value in (b"NaN", b"Infinity", b"-Infinity"):
            yield f"{value.decode()} for {field}", written(shape.event, field, value)
        yield f"2^63 for {field}", written(shape.event, field, b"%d" % 2**63)
        yield f"-2^63 - 1 for {field}", written(shape.event, field, b"%d" % (-(2**63) - 1))
        yield f"300 digits for {field}", written(shape.event, field, b"9" * 300)
        yield f"1e400 for {field}", written(shape.event, field, b"1e400")


def _times(shape: Shape, field: str) -> Kinds:
    known = _value(shape.event, field)
    is_text = isinstance(known, str) and not known.isdigit()
    at = datetime.fromisoformat(known) if is_text else datetime.fromtimestamp(int(known), UTC)
    seconds = int(at.timestamp())
    before_1970: Any = "1969-12-31T23:59:59Z" if is_text else -1
    future: Any = (at + timedelta(seconds=4000)).isoformat() if is_text else seconds + 4000
    far_future: Any = "10000-01-01T00:00:00Z" if is_text else 10**18
    far_past: Any = "0000-01-01T00:00:00Z" if is_text else -(10**15)
    yield "before 1970", written(shape.event, field, json.dumps(before_1970).encode())
    yield "future", written(shape.event, field, json.dumps(future).encode())
    yield "far future", written(shape.event, field, json.dumps(far_future).encode())
    yield "far past", written(shape.event, field, json.dumps(far_past).encode())
    yield "fractional epoch", written(shape.event, field, b"%d.5" % seconds)
    yield "fractional epoch as a text", written(shape.event, field, b'"%d.5"' % seconds)
    yield "epoch with an exponent", written(shape.event, field, b"%de0" % seconds)
    yield "no time", written(shape.event, field, b'"soon"')


def _lacking(shape: Shape) -> Kinds:
    """Missing fields, nulls and wrong types."""
    for field in filter(None, [*shape.texts, *shape.numbers, shape.time]):
        yield f"without {field}", _without(shape.event, field)
        yield f"null for {field}", written(shape.event, field, b"null")
        yield f"boolean for {field}", written(shape.event, field, b"true")
        yield f"array for {field}", written(shape.event, field, b"[1]")
        yield f"object for {field}", written(shape.event, field, b"{}")
    for field in shape.texts:
        yield f"number for {field}", written(shape.event, field, b"7")
    for field in shape.numbers:
        yield f"text for {field}", written(shape.event, field, b'"seven"')


def _twice(shape: Shape, field: str, first: Any) -> bytes:
    """With a value of the outermost field before the right one."""
    name = field.split(".", maxsplit=1)[0]
    whole = json.dumps(shape.event)
    return f"{{{json.dumps(name)}: {json.dumps(first)}, {whole[1:]}".encode()


def _without(event: dict[str, Any], field: str) -> bytes:
    changed = copy.deepcopy(event)
    holder, name = _holder(changed, field)
    holder.pop(name, None)
    return json.dumps(changed).encode()


def _value(event: dict[str, Any], field: str) -> Any:
    holder, name = _holder(event, field)
    return holder[name]


def _holder(event: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """What has the field, and its name there; lists are asked for their first."""
    *path, name = field.split(".")
    holder: Any = event
    for step in path:
        holder = holder[step]
        holder = holder[0] if isinstance(holder, list) else holder
    return holder, name
