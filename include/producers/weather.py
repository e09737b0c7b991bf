"""Made-up weather, as `poll_weather` puts it on `weather`: the mock's answers, without asking the mock."""

import random
from datetime import datetime
from typing import Final

import msgspec

from producers.bad import cut_off, empty, not_an_object, not_json, null
from producers.base import Fields, Good, Producer
from weather_api.cities import CITIES
from weather_api.model import answer

# What every observation needs, one level down at most.
_NEEDED: Final = (("dt",), ("id",), ("name",), ("main", "temp"), ("main", "humidity"), ("wind", "speed"), ("weather",))


def observation(_chance: random.Random, number: int, at: datetime) -> Good:
    """The weather of one city after the other. Within two minutes it is the same observation again, as with the API."""
    city = CITIES[number % len(CITIES)]
    return Good(key=str(city.id).encode(), fields=answer(city, at, "metric"))


def without_a_needed_field(chance: random.Random, fields: Fields) -> bytes:
    """An answer that lacks one of the fields that count, such as main.temp."""
    return msgspec.json.encode(_changed(fields, chance.choice(_NEEDED), None))


def mistyped(chance: random.Random, fields: Fields) -> bytes:
    """One of the fields that count has a value of another type."""
    *above, name = path = chance.choice(_NEEDED)
    value = fields[above[0]][name] if above else fields[name]
    return msgspec.json.encode(_changed(fields, path, 4711 if isinstance(value, str) else f"about {value}"))


def not_found(_chance: random.Random, _fields: Fields) -> bytes:
    """What the service says when it does not know a city; somebody took it for weather."""
    return msgspec.json.encode({"cod": "404", "message": "there is no such city here"})


def _changed(fields: Fields, path: tuple[str, ...], value: str | int | None) -> Fields:
    """A copy with another value at a path; None leaves it out."""
    name, *below = path
    if below:
        return {**fields, name: _changed(fields[name], tuple(below), value)}
    return {other: there for other, there in fields.items() if other != name} | ({} if value is None else {name: value})


weather: Final = Producer(
    name="weather",
    topic="weather",
    good=observation,
    bad=(cut_off, not_json, not_an_object, null, empty, without_a_needed_field, mistyped, not_found),
)
"""Observations of the mock's cities on `weather`."""
