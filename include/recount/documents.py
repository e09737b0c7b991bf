"""Which bytes are a JSON object, by RFC 8259 and the engine's documented rule, in plain Python.

Python's `json` is laxer than the rule (NaN, lone surrogates) and stricter (invalid UTF-8 where nobody looks),
so it gets hooks and company. The rule:

- one JSON object, with blanks around it at most; no byte order mark; no NaN, no Infinity;
- at most 500 levels deep, the object itself being the first;
- no escape of a lone surrogate, and no raw control character, in any string or key;
- bytes that are not UTF-8 are tolerated inside strings and keys that nobody declared, and nowhere else.
"""

import json
import re
from typing import Any, Final, NoReturn

from recount.errors import InvalidError

MAX_DEPTH: Final = 500

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)

Pairs = list[tuple[str, Any]]


class Integer(str):
    """A JSON number without fraction and exponent; kept as text, for it may have a million digits."""

    __slots__ = ()


class Real(str):
    """The text of a JSON number with a fraction or an exponent."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """The members of a JSON object in their order, repeated keys included."""


def members(document: bytes) -> Pairs:
    """The members of the object at the top.

    Bytes of a string that are not UTF-8 stand in it as surrogates (see `is_text`).

    Raises:
        InvalidError: the bytes break the rule above.
    """
    if _depth(document) > MAX_DEPTH:
        raise InvalidError("nested more than {} levels deep", MAX_DEPTH)
    try:
        parsed = _DECODER.decode(document.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise InvalidError("not JSON: {}", error) from error
    if b"\\" in document and _has_lone_surrogate(document):
        raise InvalidError("a lone surrogate is escaped")
    if not isinstance(parsed, Object):
        raise InvalidError("not an object")
    return parsed


def is_text(string: str) -> bool:
    """Whether the bytes of this string were UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in string)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidError("{} is not JSON", name)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_int=Integer,
    parse_float=Real,
    parse_constant=_refuse_constant,
    strict=True,
)


def _depth(document: bytes) -> int:
    """How deep arrays and objects nest; an upper bound where that is not too deep."""
    bound = document.count(b"[") + document.count(b"{")
    if bound <= MAX_DEPTH:
        return bound
    level = deepest = 0
    for byte in _STRING.sub(b"", document):
        if byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def _has_lone_surrogate(document: bytes) -> bool:
    """Whether an escaped surrogate is not half of a pair of neighbours, in a document that parses."""
    high_end = None  # where the escape of a high surrogate ended that still needs its low one
    for match in _ESCAPE.finditer(document):
        code = int(match[1], 16) if match[1] else 0
        is_low = 0xDC00 <= code <= 0xDFFF
        if is_low != (high_end is not None) or (is_low and match.start() != high_end):
            return True
        high_end = match.end() if 0xD800 <= code <= 0xDBFF else None
    return high_end is not None
