"""Which JSON values a declared type takes, and what they are in Python. Numbers come as texts, see `documents`."""

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from recount.documents import Integer, Object, Real, is_text
from recount.errors import InvalidError
from recount.fields import Field, FieldType
from recount.times import SECOND_US, moment, parse_rfc_3339

EXACT: Final = Context(prec=1_000)
"""Enough digits for every sum of decimals of 27 digits that a machine can count."""

_INT64: Final = range(-(2**63), 2**63)
_LONGEST_INT64: Final = 20  # characters, with the sign
_MAX_DECIMAL_DIGITS: Final = 15  # before the point
_EPOCH_TEXT: Final = re.compile(r"-?[0-9]{1,15}")


def struct(fields: tuple[Field, ...], found: list[tuple[str, Any]]) -> dict[str, Any]:
    """The last value of each declared field; every occurrence must be valid.

    Raises:
        InvalidError: one is not, or a field is missing that must be there.
    """
    declared = {field.json_name: field for field in fields}
    values: dict[str, Any] = {field.name: None for field in fields if field.missing}
    for name, raw in found:
        field = declared.get(name)
        if field is not None:
            values[field.name] = typed(field.type, raw, field.name)
    missing = {field.name for field in fields} - values.keys()
    if missing:
        raise InvalidError("missing: {}", ", ".join(sorted(missing)))
    return values


def typed(kind: FieldType, raw: Any, name: str) -> Any:
    """The value of a JSON value.

    Raises:
        InvalidError: the type does not take it.
    """
    if raw is None and kind.optional:
        return None
    value = _READERS[kind.kind](kind, raw, name)
    if value is None:
        raise InvalidError("{} is not {}: {!a:.40}", name, kind.kind, raw)
    _check_constraints(kind, value, name)
    return value


def _check_constraints(kind: FieldType, value: Any, name: str) -> None:
    for constraint, bound in kind.constraints:
        if not _CONSTRAINTS[constraint](value, bound):
            raise InvalidError("{} breaks {} {!a}: {!a:.40}", name, constraint, bound, value)


_CONSTRAINTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "ge": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "le": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
    "multiple_of": lambda value, bound: value % bound == 0,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
    "min_length": lambda value, bound: len(value) >= bound,
    "max_length": lambda value, bound: len(value) <= bound,
}


def _str(_: FieldType, raw: Any, __: str) -> str | None:
    """PostgreSQL's text cannot hold NUL, so a declared field must not."""
    return raw if type(raw) is str and is_text(raw) and "\0" not in raw else None


def _int(_: FieldType, raw: Any, __: str) -> int | None:
    if type(raw) is not Integer or len(raw) > _LONGEST_INT64:
        return None
    return number if (number := int(raw)) in _INT64 else None


def _bool(_: FieldType, raw: Any, __: str) -> bool | None:
    return raw if type(raw) is bool else None


def _decimal(kind: FieldType, raw: Any, _: str) -> Decimal | None:
    """Any text that Python's Decimal takes, of a number or a string, if its value fits."""
    if type(raw) not in (str, Integer, Real) or not is_text(raw):
        return None
    try:
        return fitting_decimal(Decimal(str(raw)), kind.scale)
    except InvalidOperation:
        return None


def fitting_decimal(number: Decimal, scale: int) -> Decimal | None:
    """The number with exactly `scale` digits after the point; None if it has more, or too many before it."""
    if not number.is_finite():
        return None
    if not number:
        return Decimal(0).quantize(Decimal(1).scaleb(-scale))
    _, digits, exponent = number.as_tuple()
    zeros = next(count for count, digit in enumerate(reversed(digits)) if digit)
    if int(exponent) + zeros < -scale or number.adjusted() >= _MAX_DECIMAL_DIGITS:
        return None
    return number.quantize(Decimal(1).scaleb(-scale), context=EXACT)


def _epoch(unit_us: int) -> Callable[[FieldType, Any, str], Any]:
    """A whole number of units since 1970 UTC, or a string of one."""

    def read(_: FieldType, raw: Any, __: str) -> Any:
        if type(raw) is str and _EPOCH_TEXT.fullmatch(raw):
            return moment(int(raw) * unit_us)
        number = _int(_, raw, __)
        return None if number is None else moment(number * unit_us)

    return read


def _iso_time(_: FieldType, raw: Any, __: str) -> Any:
    return parse_rfc_3339(raw) if type(raw) is str else None


def _enum(kind: FieldType, raw: Any, name: str) -> str | int | None:
    value = _int(kind, raw, name) if type(raw) is Integer else _str(kind, raw, name)
    return next((known for known in kind.values if type(known) is type(value) and known == value), None)


def _struct(kind: FieldType, raw: Any, _: str) -> dict[str, Any] | None:
    return struct(kind.fields, raw) if type(raw) is Object else None


def _list(kind: FieldType, raw: Any, name: str) -> list[Any] | None:
    if type(raw) is not list or kind.item is None:
        return None
    item = kind.item
    return [typed(item, each, name) for each in raw]


_READERS: Final[Mapping[str, Callable[[FieldType, Any, str], Any]]] = {
    "str": _str,
    "int": _int,
    "bool": _bool,
    "decimal": _decimal,
    "epoch_seconds": _epoch(SECOND_US),
    "epoch_millis": _epoch(1_000),
    "iso_time": _iso_time,
    "enum": _enum,
    "struct": _struct,
    "list": _list,
}
