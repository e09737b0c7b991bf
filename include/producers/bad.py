"""The kinds of bad events that any producer may send; each makes a value of a good event's fields."""

import random
from typing import Final

import msgspec

from producers.base import BadKind, Fields

_NOT_JSON: Final = (b"<event/>", b"seller_id=amber", b"undefined", b"\xff\xfe\x00\x01", b"{'number': 7}")


def cut_off(chance: random.Random, good: Fields) -> bytes:
    """JSON that ends in the middle."""
    whole = msgspec.json.encode(good)
    return whole[: chance.randrange(1, len(whole))]


def without_a_field(chance: random.Random, good: Fields) -> bytes:
    """One of the fields is missing."""
    missing = chance.choice(sorted(good))
    return msgspec.json.encode({name: value for name, value in good.items() if name != missing})


def mistyped(chance: random.Random, good: Fields) -> bytes:
    """One of the fields has a value of another type."""
    fields = plain(good)
    name = chance.choice(sorted(fields))
    # Not a number for a text: times may be either.
    wrong = True if isinstance(fields[name], str) else f"{fields[name]} or so"
    return msgspec.json.encode({**fields, name: wrong})


def not_an_object(chance: random.Random, good: Fields) -> bytes:
    """JSON, but an array, a text or a number."""
    return msgspec.json.encode(chance.choice([[good], list(good), "an event", 4711]))


def null(_chance: random.Random, _good: Fields) -> bytes:
    """JSON's null, which is no tombstone: that has no value at all."""
    return b"null"


def empty(_chance: random.Random, _good: Fields) -> bytes:
    """No byte, which is no tombstone either."""
    return b""


def not_json(chance: random.Random, _good: Fields) -> bytes:
    """Something else than JSON."""
    return chance.choice(_NOT_JSON)


def plain(fields: Fields) -> Fields:
    """The fields as JSON's own types."""
    decoded: Fields = msgspec.json.decode(msgspec.json.encode(fields))
    return decoded


COMMON: Final[tuple[BadKind, ...]] = (cut_off, without_a_field, mistyped, not_an_object, null, empty, not_json)
