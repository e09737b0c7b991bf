"""What all messages have in common that this engine makes: JSON objects with promised names, and its headers."""

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final, NoReturn

from recount import cursor
from recount.columns import Column, ColumnType, Value, from_json
from recount.errors import MalformedError
from recount.kafka import Message
from recount.ledger import Ledger
from recount.times import SECOND_US, since_epoch_us

_TIME: Final = ColumnType("timestamptz")


def object_of(data: bytes | None) -> dict[str, Any]:
    """The JSON object in a key or a value.

    Raises:
        MalformedError: there is none, or a name is there twice.
    """
    try:
        pairs = json.loads((data or b"").decode(), object_pairs_hook=_Members, parse_constant=_refuse)
    except ValueError as error:
        raise MalformedError("not a JSON object: {!r:.60}", data) from error
    if type(pairs) is not _Members:
        raise MalformedError("not a JSON object: {!r:.60}", data)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("a name is there twice")
    return found


class _Members(list[tuple[str, Any]]):
    """The members of an object, which a JSON array is not."""


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def check_names(found: Collection[str], names: Iterable[str], may_lack: Iterable[str] = ()) -> None:
    """Refuse names that were not promised, and missing ones that were.

    Raises:
        MalformedError: there are some.
    """
    promised = set(names)
    if set(found) - promised or promised - set(found) - set(may_lack):
        raise MalformedError("has {}; promised are {}", ", ".join(found), ", ".join(sorted(promised)))


def values_of(columns: Iterable[Column], found: dict[str, Any]) -> tuple[Value, ...]:
    """The values of columns; of those that are absent, None.

    Raises:
        MalformedError: one is not written as promised.
    """
    return tuple(from_json(column.type, found.get(column.name), column.name) for column in columns)


def seconds_of(found: Any, name: str) -> int:
    """The time of a window, in seconds since 1970 UTC.

    Raises:
        MalformedError: it is not written as promised.
    """
    moment = from_json(_TIME, found, name)
    if not isinstance(moment, datetime) or moment.microsecond:
        raise MalformedError("{} is {!a}, which is no whole second", name, found)
    return since_epoch_us(moment) // SECOND_US


def is_timestamp(found_ms: int, promised_ms: int) -> bool:
    """Whether a message has the timestamp that it should have: Kafka's client takes 0 for the time of sending."""
    return promised_ms in (found_ms, 0)


def check_cursor(message: Message, ledger: Ledger) -> None:
    """Refuse a message that does not say that it is of this ledger.

    Raises:
        MalformedError: it does not.
    """
    found = cursor.parse(message.header(cursor.HEADER))
    if found is None:
        raise MalformedError("no cursor in the headers")
    if not ledger.is_ours(found.ledger):
        raise MalformedError("from ledger {}, this is {}", found.ledger, ledger.ledger)
