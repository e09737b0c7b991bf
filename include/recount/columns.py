"""Types of columns in PostgreSQL, and the text that each has in the JSON of a message."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from recount.errors import MalformedError, UncountableError

Value = str | int | Decimal | datetime | date | UUID | None
"""What a column holds; a bool is an int."""

_BASES: Final = ("text", "bigint", "boolean", "numeric", "timestamptz", "date", "uuid")
_NUMERIC: Final = re.compile(r"numeric\((\d+),\s*(\d+)\)")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!0{6})\d{6})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type by its name without parameters; `scale` of a numeric, None for one that holds whole numbers."""

    base: str
    scale: int | None = None

    def __str__(self) -> str:
        return self.base if self.scale is None else f"{self.base} with {self.scale} digits"


@dataclass(frozen=True, slots=True)
class Column:
    """A named column."""

    name: str
    type: ColumnType


def parse_type(text: Any, what: str) -> ColumnType:
    """The type in a definition's text, such as `numeric(17,2)`.

    Raises:
        UncountableError: an output has no columns of it.
    """
    if isinstance(text, str) and (match := _NUMERIC.fullmatch(text)):
        return ColumnType("numeric", int(match[2]))
    if text not in _BASES:
        raise UncountableError("{} is of type {!r}; this check can count {}", what, text, ", ".join(_BASES))
    return ColumnType(text)


def columns_of(plain: Iterable[Any], what: str) -> tuple[Column, ...]:
    """Columns from their list of `[name, type]`."""
    return tuple(Column(name, parse_type(kind, f"{what} {name!r}")) for name, kind in plain)


def from_json(kind: ColumnType, found: Any, what: str) -> Value:
    """The value that JSON has for a column, if it is written in the promised form.

    Raises:
        MalformedError: it is not.
    """
    if found is None:
        return None
    value = _READERS[kind.base](kind, found)
    if value is None:
        raise MalformedError("{} is {!a:.60}, which is no {}", what, found, kind)
    return value


def _text(_: ColumnType, found: Any) -> Value:
    return found if type(found) is str else None


def _whole(_: ColumnType, found: Any) -> Value:
    return found if type(found) is int else None


def _boolean(_: ColumnType, found: Any) -> Value:
    return found if type(found) is bool else None


def _numeric(kind: ColumnType, found: Any) -> Value:
    """Whole numbers are JSON integers; decimals are strings with all digits of their scale, and no `-0`."""
    if kind.scale is None:
        return _whole(kind, found)
    match = _DECIMAL.fullmatch(found) if type(found) is str else None
    if match is None or len(match[1] or "") != kind.scale:
        return None
    value = Decimal(found)
    return None if value == 0 and found.startswith("-") else value


def _timestamptz(_: ColumnType, found: Any) -> Value:
    if type(found) is not str or not _TIME.fullmatch(found):
        return None
    try:
        return datetime.fromisoformat(found).astimezone(UTC)
    except ValueError:
        return None


def _date(_: ColumnType, found: Any) -> Value:
    try:
        value = date.fromisoformat(found)
    except (ValueError, TypeError):
        return None
    return value if value.isoformat() == found else None


def _uuid(_: ColumnType, found: Any) -> Value:
    try:
        value = UUID(found)
    except (ValueError, AttributeError, TypeError):
        return None
    return value if str(value) == found else None


_READERS: Final = {
    "text": _text,
    "bigint": _whole,
    "boolean": _boolean,
    "numeric": _numeric,
    "timestamptz": _timestamptz,
    "date": _date,
    "uuid": _uuid,
}
