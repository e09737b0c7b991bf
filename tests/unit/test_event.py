"""Event types: what the engine sees of their fields."""

from typing import Annotated, Any, Literal, cast

import msgspec
import pytest

from microbatch import EpochSeconds, Event
from microbatch.event import FIRST_S, LAST_S, Field, fields


class Reading(Event):
    """Has a field of each kind."""

    sensor: str
    value: int
    at: EpochSeconds
    level: Annotated[int, msgspec.Meta(ge=0)]
    name: Annotated[str, msgspec.Meta(max_length=9)]


def event(kind: Any) -> type[Event]:
    return cast("type[Event]", msgspec.defstruct("Made", [("field", kind)], bases=(Event,)))


def test_fields_are_found_in_their_order_with_their_kinds() -> None:
    assert list(fields(Reading).values()) == [
        Field("sensor", "str"),
        Field("value", "int"),
        Field("at", "epoch_seconds"),
        Field("level", "int"),
        Field("name", "str"),
    ]


def test_inherited_fields_come_first() -> None:
    class Louder(Reading):
        volume: int

    assert list(fields(Louder)) == ["sensor", "value", "at", "level", "name", "volume"]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (float, "float"),
        (bool, "bool"),
        (bytes, "bytes"),
        (list[int], "list"),
        (int | None, "int | None"),
        (Literal["a"], "Literal"),
    ],
)
def test_a_type_that_an_event_cannot_have_is_named(kind: Any, shown: str) -> None:
    with pytest.raises(TypeError, match=r"field Made\.field has type .*" + shown.replace("|", r"\|")):
        fields(event(kind))


@pytest.mark.parametrize(
    ("at", "accepted"), [(FIRST_S, True), (FIRST_S - 1, False), (LAST_S, True), (LAST_S + 1, False)]
)
def test_epoch_seconds_are_from_the_year_1_to_the_last_day_but_one_of_9999(at: int, accepted: bool) -> None:
    decode = msgspec.json.Decoder(event(EpochSeconds)).decode
    text = b'{"field": %d}' % at

    if accepted:
        assert getattr(decode(text), "field") == at  # noqa: B009 - made at run time
    else:
        with pytest.raises(msgspec.ValidationError):
            decode(text)


def test_the_bounds_of_time_are_dates() -> None:
    assert (FIRST_S, LAST_S) == (-62_135_596_800, 253_402_214_399)
