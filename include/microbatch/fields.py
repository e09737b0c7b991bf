"""The fields of an event type: what of JSON they take, and the columns that they become.

A value is decoded by msgspec, strictly; what its types cannot say is checked here. Everything that is taken is exact.
"""

import enum
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from microbatch.columntypes import TIME, quoted
from microbatch.event import EPOCH, FIRST_S, LAST_S, EpochUnit, Event, Scale

MAX_SCALE: Final = 12
INTEGER_DIGITS: Final = 15
_LIMIT: Final = Decimal(10**INTEGER_DIGITS)
_CONSTRAINTS: Final = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length")
_MICROSECOND: Final = timedelta(microseconds=1)

Check = Callable[[Any], None]


class FieldType(msgspec.Struct, frozen=True):
    """What a field's values may be.

    Attributes:
        annotation: what msgspec decodes, with the bounds that the columns have.
        sql: DuckDB's type of the column.
        plain: for the definition.
        check: raises ValueError for what the annotation cannot refuse; None if there is nothing.
        column: turns a decoded value into one that Arrow takes (`columns.py`); None if it is one.
        has_text: whether a NUL, which PostgreSQL's text cannot hold, could be in it.
    """

    annotation: Any
    sql: str
    plain: dict[str, Any]
    check: Check | None = None
    column: Callable[[Any], Any] | None = None
    has_text: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it can be a column of a table; structs and lists cannot."""
        return self.plain["kind"] not in ("struct", "list")

    @property
    def is_time(self) -> bool:
        """Whether it is a point in time."""
        return self.sql == TIME


class Field(msgspec.Struct, frozen=True):
    """A field of an event type.

    Attributes:
        name: in the declaration.
        json_name: in messages.
        type: of its values.
        optional: it may be null.
        missing: it may be left out, which is as good as null.
    """

    name: str
    json_name: str
    type: FieldType
    optional: bool
    missing: bool

    @property
    def plain(self) -> dict[str, Any]:
        """For the definition."""
        more = {"optional": self.optional, "missing": self.missing}
        name = {} if self.json_name == self.name else {"name": self.json_name}
        return {**self.type.plain, **{key: True for key, value in more.items() if value}, **name}


def fields(event: type[Event]) -> dict[str, Field]:
    """The fields of an event type by name, in their order.

    Raises:
        TypeError: a field has a type that an event cannot have, or a default; the text names it.
    """
    hints = get_type_hints(event, include_extras=True)
    return {info.name: _field(event, info, hints[info.name]) for info in msgspec.structs.fields(event)}


def alike(names: Iterable[str]) -> list[str]:
    """Names that differ from another one only by case, which DuckDB ignores."""
    seen: dict[str, str] = {}
    return [name for name in names if seen.setdefault(name.casefold(), name) != name]


def strict_type(event: type[Event]) -> type[Event]:
    """The event type as it is decoded: with the bounds that columns have."""
    return _strict_struct(event, fields(event))


def check_of(field: Field) -> Check | None:
    """The check of a field's values, null ones included; None if there is nothing to check."""
    check = field.type.check
    if check is None:
        return None
    return _named(field, check)


def nul_check_of(field: Field) -> Check | None:
    """Raises ValueError for a NUL in the field's texts; to be asked where a message has the escape of one."""
    return _named(field, _refuse_nul) if field.type.has_text else None


# -- one field -------------------------------------------------------------------------------------------------


def _field(event: type[Event], info: msgspec.structs.FieldInfo, annotation: Any) -> Field:
    where = f"field {event.__name__}.{info.name}"
    bare, optional = _without_none(annotation)
    if not info.required and not (optional and info.default is None):
        raise TypeError(f"{where} has a default other than None; a message without it would count as if it had it")
    if "\0" in info.encode_name:
        raise TypeError(f"{where} has the name {info.encode_name!r} in messages; a NUL is in no JSON that we take")
    if info.name.startswith("_"):
        raise TypeError(f"{where} begins with _, as columns of the engine do")
    try:
        type_ = _type(bare)
    except TypeError as error:
        raise TypeError(f"{where} {error}") from error
    return Field(info.name, info.encode_name, type_, optional, missing=not info.required)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if len(parts) == len(get_args(annotation)):
        return annotation, False
    return (parts[0] if len(parts) == 1 else Union[tuple(parts)]), True  # noqa: UP007 - parts are known at run time


def _type(annotation: Any) -> FieldType:
    bare, marks = annotation, []
    if get_origin(annotation) is Annotated:
        bare, *marks = get_args(annotation)
    metas = [mark for mark in marks if isinstance(mark, msgspec.Meta)]
    if bare not in (str, int) and (given := _constraints(metas)):
        raise TypeError(f"has {', '.join(given)}, which only str and int can have: let a Stream reject such events")
    if bare is not Decimal and any(isinstance(mark, Scale) for mark in marks):
        raise TypeError("has a Scale, which only Decimal can have: write Annotated[Decimal, Scale(2)]")
    found = _marked(bare, marks) or _scalar(bare, annotation, metas) or _made_of(bare, annotation)
    if found is None:
        raise TypeError(_refusal(bare))
    return found


def _marked(bare: Any, marks: list[Any]) -> FieldType | None:
    """Types that a mark of ours tells."""
    for mark in marks:
        if isinstance(mark, EpochUnit):
            return _epoch_time(mark.per_second)
        if isinstance(mark, Scale) and bare is Decimal:
            return _decimal(mark.digits)
    return None


def _scalar(bare: Any, annotation: Any, metas: list[msgspec.Meta]) -> FieldType | None:
    if bare is str:
        return FieldType(annotation, "VARCHAR", _plain("str", metas), has_text=True)
    if bare is int:
        return FieldType(_int64(annotation, metas), "BIGINT", _plain("int", metas))
    if bare is bool:
        return FieldType(bool, "BOOLEAN", {"kind": "bool"})
    return _iso_time() if bare is datetime else None


def _made_of(bare: Any, annotation: Any) -> FieldType | None:
    """Enumerations, lists and structs."""
    if get_origin(bare) is Literal:
        return _enumeration(annotation, list(get_args(bare)), None)
    if get_origin(bare) is list:
        return _list(*get_args(bare))
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return _enumeration(annotation, [member.value for member in bare], lambda member: member.value)
    return _struct(bare) if isinstance(bare, type) and issubclass(bare, Event) else None


def _refusal(bare: Any) -> str:
    shown = getattr(bare, "__name__", str(bare))
    if bare is Decimal:
        return "is a Decimal without a scale: write Annotated[Decimal, Scale(2)]"
    if bare is float:
        return "is a float, whose sums are not exact: write Annotated[Decimal, Scale(2)]"
    if NoneType in get_args(bare):
        return f"has type {bare} inside Annotated; write it outside: Annotated[…] | None"
    return (
        f"has type {shown}; an event may have str, int, bool, Annotated[Decimal, Scale(n)], EpochSeconds, EpochMillis, "
        "datetime, Literal, Enum, list, another Event, and each of them | None"
    )


def _plain(kind: str, metas: list[msgspec.Meta]) -> dict[str, Any]:
    given = _constraints(metas)
    if "\0" in str(given.get("pattern")):
        raise TypeError("has a pattern with a NUL, which no text has")
    return {"kind": kind, "constraints": given} if given else {"kind": kind}


def _constraints(metas: list[msgspec.Meta]) -> dict[str, Any]:
    return {name: getattr(meta, name) for meta in metas for name in _CONSTRAINTS if getattr(meta, name) is not None}


# -- each type -------------------------------------------------------------------------------------------------


def _int64(annotation: Any, metas: list[msgspec.Meta]) -> Any:
    """The annotation with the bounds of 64 bits where it has none of its own, which are always narrower."""
    if all(meta.ge is None and meta.gt is None for meta in metas):
        annotation = Annotated[annotation, msgspec.Meta(ge=-(2**63))]
    if all(meta.le is None and meta.lt is None for meta in metas):
        annotation = Annotated[annotation, msgspec.Meta(le=2**63 - 1)]
    return annotation


def _decimal(scale: int) -> FieldType:
    if not 0 <= scale <= MAX_SCALE:
        raise TypeError(f"has Scale({scale}); it may be 0 to {MAX_SCALE}")
    unit = Decimal(1).scaleb(-scale)

    def check(value: Decimal) -> None:
        if not value.is_finite() or not -_LIMIT < value < _LIMIT:
            raise ValueError(f"Expected a decimal of at most {INTEGER_DIGITS} digits before the point")
        if value.quantize(unit) != value:
            raise ValueError(f"Expected a decimal of at most {scale} digits after the point")

    precision = INTEGER_DIGITS + scale
    plain = {"kind": "decimal", "scale": scale}
    # Arrow refuses some ways to write a number, such as 0E+50 or 1 with 40 zeros after the point.
    return FieldType(Decimal, f"DECIMAL({precision},{scale})", plain, check, lambda value: value.quantize(unit))


def _epoch_time(per_second: int) -> FieldType:
    first, last = FIRST_S * per_second, LAST_S * per_second + per_second - 1
    us = 1_000_000 // per_second
    number = Annotated[int, msgspec.Meta(ge=first, le=last)]
    text = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,15}\Z")]

    def check(value: int | str) -> None:
        if not first <= int(value) <= last:
            raise ValueError(f"Expected a time from {first} to {last}")

    kind = "epoch_seconds" if per_second == 1 else "epoch_millis"
    return _time(number | text, kind, check, lambda value: int(value) * us)


def _iso_time() -> FieldType:
    def us(value: datetime) -> int:
        return (value - EPOCH) // _MICROSECOND

    def check(value: datetime) -> None:
        if not FIRST_S <= us(value) // 1_000_000 <= LAST_S:
            raise ValueError("Expected a time from 0001-01-08 to 9999-12-23 UTC")

    return _time(Annotated[datetime, msgspec.Meta(tz=True)], "iso_time", check, us)


def _time(annotation: Any, kind: str, check: Check, us: Callable[[Any], int]) -> FieldType:
    return FieldType(annotation, TIME, {"kind": kind}, check, us)


def _enumeration(annotation: Any, values: list[Any], column: Callable[[Any], Any] | None) -> FieldType:
    plain = {"kind": "enum", "values": values}
    if all(type(value) is str and "\0" not in value for value in values):
        return FieldType(annotation, "VARCHAR", plain, column=column)
    if all(type(value) is int and -(2**63) <= value < 2**63 for value in values):
        return FieldType(annotation, "BIGINT", plain, column=column)
    raise TypeError(f"has the values {values}; they must be all strings or all integers of 64 bits")


def _list(item: Any) -> FieldType:
    bare, optional = _without_none(item)
    inner = _type(bare)
    convert = inner.column

    def check(values: list[Any]) -> None:
        for value in values:
            if value is not None and inner.check is not None:
                inner.check(value)

    def column(values: list[Any]) -> list[Any]:
        return [None if value is None or convert is None else convert(value) for value in values]

    return FieldType(
        list[inner.annotation | None] if optional else list[inner.annotation],  # type: ignore[name-defined]
        f"{inner.sql}[]",
        {"kind": "list", "item": {**inner.plain, **({"optional": True} if optional else {})}},
        check if inner.check else None,
        column if convert else None,
        inner.has_text,
    )


def _struct(event: type[Event]) -> FieldType:
    inner = fields(event)
    if similar := alike(inner):
        raise TypeError(f"is of type {event.__name__}, in which {similar[0]!r} differs from another field only by case")
    checks = {name: found for name, field in inner.items() if (found := check_of(field)) is not None}
    converts = {name: field.type.column for name, field in inner.items()}

    def check(value: Event) -> None:
        for name, of_field in checks.items():
            of_field(getattr(value, name))

    def column(value: Event) -> dict[str, Any]:
        found = {name: getattr(value, name) for name in converts}
        return {n: v if v is None or (c := converts[n]) is None else c(v) for n, v in found.items()}

    members = ", ".join(f"{quoted(name)} {field.type.sql}" for name, field in inner.items())
    return FieldType(
        _strict_struct(event, inner),
        f"STRUCT({members})",
        {"kind": "struct", "fields": {name: field.plain for name, field in inner.items()}},
        check if checks else None,
        column,
        any(field.type.has_text for field in inner.values()),
    )


def _strict_struct(event: type[Event], found: dict[str, Field]) -> type[Event]:
    """A subclass, so that what the event does after its init goes on to count."""
    members: list[tuple[str, Any, Any]] = []
    for name, field in found.items():
        annotation = field.type.annotation | None if field.optional else field.type.annotation
        default = (
            msgspec.field(default=None, name=field.json_name) if field.missing else msgspec.field(name=field.json_name)
        )
        members.append((name, annotation, default))
    return cast("type[Event]", msgspec.defstruct(event.__name__, members, bases=(event,), kw_only=True, gc=False))


# -- checks ----------------------------------------------------------------------------------------------------


def _named(field: Field, check: Check) -> Check:
    def named(value: Any) -> None:
        try:
            if value is not None:
                check(value)
        except ValueError as error:
            raise ValueError(f"{error} - at `$.{field.json_name}`") from error

    return named


def _refuse_nul(value: Any) -> None:
    """Look for NUL in a text, or in the texts of a list or a struct."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("contains NUL (U+0000), which PostgreSQL's text cannot hold")
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _refuse_nul(getattr(value, name))
