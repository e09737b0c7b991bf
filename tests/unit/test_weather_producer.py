"""The made-up weather of `microbatch produce weather`."""

import json
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from producers.base import Shares, messages
from producers.weather import mistyped, not_found, observation, weather, without_a_needed_field
from weather_api.cities import CITIES
from weather_api.model import answer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALL_PARTS = {"dt", "id", "name", "main", "wind", "weather"}


def drawn(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - demo events, no secrets


def test_an_observation_is_what_the_mock_answers() -> None:
    good = observation(drawn(1), 3, NOON)

    assert good.key == str(CITIES[3].id).encode()
    assert good.fields == answer(CITIES[3], NOON, "metric")


def test_soon_after_it_is_the_same_observation_again() -> None:
    again = observation(drawn(2), 3, NOON + timedelta(seconds=100))

    assert again == observation(drawn(1), 3, NOON)


def test_one_city_comes_after_the_other() -> None:
    ids = [observation(drawn(1), number, NOON).fields["id"] for number in range(2 * len(CITIES))]

    assert ids == 2 * [city.id for city in CITIES]


@pytest.mark.parametrize("bad", [without_a_needed_field, mistyped])
def test_a_bad_one_differs_in_one_field_that_counts(bad: object) -> None:
    assert callable(bad)
    good = answer(CITIES[0], NOON, "metric")
    changed = set()
    for seed in range(60):
        made = json.loads(bad(drawn(seed), good))
        differing = {name for name in good if made.get(name) != good[name]}
        assert len(differing) == 1
        changed |= differing

    assert changed == ALL_PARTS
    assert good == answer(CITIES[0], NOON, "metric"), "what it is made of stays as it is"


def test_an_error_taken_for_weather_has_no_city() -> None:
    assert json.loads(not_found(drawn(1), {}))["cod"] == "404"


def test_all_bad_kinds_are_sent_and_none_is_an_observation() -> None:
    class Main(msgspec.Struct):
        temp: float
        humidity: float

    class Wind(msgspec.Struct):
        speed: float

    class Observation(msgspec.Struct):
        id: int
        dt: int
        name: str
        main: Main
        wind: Wind
        weather: list[dict[str, object]]

    made = [message.value or b"" for one in messages(weather, Shares(bad=1), [NOON] * 400, seed=1) for message in one]

    for value in made:
        with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
            msgspec.json.decode(value, type=Observation)
    assert {b"", b"null"} < set(made)
