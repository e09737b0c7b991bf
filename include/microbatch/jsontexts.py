"""The JSON of many rows at once, out of columns of Arrow: byte by byte what msgspec makes of `json_value`s."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microbatch.columns import integers
from microbatch.columntypes import Column
from microbatch.joining import BINARY, Array, Part, content, joined

_US: Final = 1_000_000
# Arrow writes a decimal with an exponent where its value may have more zeros than these after the point.
_PLAIN_SCALE: Final = 6
_encode: Final = msgspec.json.Encoder().encode


def json_objects(columns: list[Column], values: list[Array]) -> Array:
    """An object a row, with a member for each column, in their order."""
    return joined([*_members(columns, values), b"}"])


def _members(columns: list[Column], values: list[Array]) -> Iterator[Part]:
    before = b"{"
    for column, array in zip(columns, values, strict=True):
        yield before + _encode(column.name) + b":"
        yield from _member(array, column.kind)
        before = b","


def _member(values: Array, kind: str) -> Iterator[Part]:
    texts, quote = _texts(values, kind)
    if not values.null_count:
        yield from (quote, texts, quote) if quote else (texts,)
        return
    if quote:
        texts = joined([quote, texts.fill_null(b""), quote])
    yield pc.if_else(values.is_valid(), texts, pa.scalar(b"null", BINARY))


def _texts(values: Array, kind: str) -> tuple[Array, bytes]:
    """What stands in the JSON, null where the value is, and what stands around it."""
    if kind == "text":
        found = values.cast(BINARY)
        return (_each(values, _encode), b"") if _has_escapes(found) else (found, b'"')
    if kind == "timestamptz":
        return _times(values).cast(BINARY), b'"'
    if pa.types.is_decimal(values.type) and values.type.scale > _PLAIN_SCALE:
        return _each(values, lambda value: format(value, "f").encode()), b'"'
    quote = b"" if kind in ("bigint", "boolean", "numeric") else b'"'
    return values.cast(pa.string()).cast(BINARY), quote


def _has_escapes(texts: Array) -> bool:
    data = np.frombuffer(content(texts), np.uint8)
    return bool(((data < 0x20) | (data == 0x22) | (data == 0x5C)).any())


def _each(values: Array, encode: Any) -> Array:
    return pa.array([None if value is None else encode(value) for value in values.to_pylist()], BINARY)


def _times(values: Array) -> Array:
    """ISO 8601 in UTC: six digits of a second, or none if it is whole."""
    us = integers(values.cast(pa.int64()).fill_null(0))
    texts: Array = pa.array(us // _US).cast(pa.timestamp("s")).cast(pa.string())
    if (us % _US).any():
        exact = pa.array(us).cast(pa.timestamp("us")).cast(pa.string())
        texts = pc.if_else(pa.array(us % _US == 0), texts, exact)
    return pc.binary_join_element_wise(pc.utf8_replace_slice(texts, 10, 11, "T"), "Z", "")
