"""Events: typed structs, whose types are the validation of what comes from Kafka."""

from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

FieldKind = Literal["str", "int", "epoch_seconds"]

_EPOCH_SECONDS: Final = "epoch_seconds"
FIRST_S: Final = -62_135_596_800
# The last day of the year 9999 is left out, so that the end of every window is a date too.
LAST_S: Final = 253_402_214_399

EpochSeconds = Annotated[
    int,
    msgspec.Meta(ge=FIRST_S, le=LAST_S, extra={"kind": _EPOCH_SECONDS}),
]
"""A point in time as whole seconds since 1970-01-01 UTC, from the year 1 to 9999-12-30."""


class Event(msgspec.Struct, gc=False):
    """Base of all event types. Unknown fields of a message are ignored, all declared ones are needed."""


class Field(msgspec.Struct, frozen=True):
    """A field of an event type, as the engine sees it."""

    name: str
    kind: FieldKind


def fields(event: type[Event]) -> dict[str, Field]:
    """The fields of an event type by name, in their order.

    Raises:
        TypeError: a field has a type that an event cannot have, or a default; the text names it.
    """
    for field in msgspec.structs.fields(event):
        if not field.required:
            raise TypeError(
                f"field {event.__name__}.{field.name} has a default; a message without it would count as if it had it"
            )
    hints = get_type_hints(event, include_extras=True)
    return {name: Field(name, _kind(event, name, hints[name])) for name in event.__struct_fields__}


def _kind(event: type[Event], name: str, annotation: Any) -> FieldKind:
    bare = annotation
    if get_origin(annotation) is Annotated:
        bare, *metas = get_args(annotation)
        if any((getattr(meta, "extra", None) or {}).get("kind") == _EPOCH_SECONDS for meta in metas):
            return "epoch_seconds"
    if bare is str:
        return "str"
    if bare is int:
        return "int"
    shown = getattr(bare, "__name__", str(bare))
    raise TypeError(f"field {event.__name__}.{name} has type {shown}; an event may have str, int and EpochSeconds")
