"""The declared fields of an event, as a definition has them in JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recount.plain import Part

TIMES: Final = ("epoch_seconds", "epoch_millis", "iso_time")
KINDS: Final = ("str", "int", "bool", "decimal", *TIMES, "enum", "struct", "list")
_CONSTRAINTS: Final = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length")


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field may hold.

    Attributes:
        kind: one of KINDS.
        optional: null is allowed.
        constraints: names and bounds, of a `str` or an `int`.
        scale: the most digits after the point, of a `decimal`.
        values: of an `enum`, all strings or all integers.
        fields: of a `struct`.
        item: of a `list`.
    """

    kind: str
    optional: bool = False
    constraints: tuple[tuple[str, Any], ...] = ()
    scale: int = 0
    values: tuple[str | int, ...] = ()
    fields: tuple["Field", ...] = ()
    item: "FieldType | None" = None


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field; one that is absent from the message is null if `missing` allows it."""

    name: str
    json_name: str
    missing: bool
    type: FieldType


def fields_of(plain: Mapping[str, Any], what: str) -> tuple[Field, ...]:
    """The fields of an event or a struct.

    Raises:
        UncountableError: something in it is not known here.
    """
    return tuple(_field(name, found, f"{what}field {name!r}") for name, found in plain.items())


def _field(name: str, plain: Any, what: str) -> Field:
    part = Part(plain, what)
    missing, json_name = part.take("missing", False), part.take("name", name)
    return Field(name, json_name, missing, _type(part))


def _type(part: Part) -> FieldType:
    kind = part.known("kind", KINDS)
    constraints = Part(part.take("constraints", {}) if kind in ("str", "int") else {}, f"{part.what}'s constraints")
    bounds = tuple((name, bound) for name in _CONSTRAINTS if (bound := constraints.take(name, None)) is not None)
    constraints.done()
    found = FieldType(
        kind=kind,
        optional=part.take("optional", False),
        constraints=bounds,
        scale=part.take("scale") if kind == "decimal" else 0,
        values=tuple(part.take("values")) if kind == "enum" else (),
        fields=fields_of(part.take("fields"), f"{part.what}'s ") if kind == "struct" else (),
        item=_type(Part(part.take("item"), f"{part.what}'s item")) if kind == "list" else None,
    )
    part.done()
    return found
