"""The mock's weather: plausible, the same for everybody, and in the units that are asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from weather_api.cities import CITIES, City, city_by_id, city_by_name, nearest_city
from weather_api.model import RENEWED_S, answer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PARIS = next(city for city in CITIES if city.name == "Paris")


def test_an_answer_has_the_fields_of_the_real_service() -> None:
    made = answer(PARIS, NOON)

    assert " ".join(made) == "coord weather base main visibility wind clouds dt sys timezone id name cod"
    assert set(made["main"]) == (
        {"temp", "feels_like", "temp_min", "temp_max", "pressure", "humidity", "sea_level", "grnd_level"}
    )
    assert set(made["weather"][0]) == {"id", "main", "description", "icon"}
    assert set(made["wind"]) == {"speed", "deg", "gust"}
    assert set(made["sys"]) == {"country", "sunrise", "sunset"}
    assert (made["id"], made["name"], made["cod"]) == (2988507, "Paris", 200)


def test_an_observation_is_the_same_until_the_next_one_is_made() -> None:
    last = NOON + timedelta(seconds=RENEWED_S) - timedelta(microseconds=1)

    assert answer(PARIS, NOON) == answer(PARIS, last)
    assert answer(PARIS, NOON)["dt"] == NOON.timestamp()
    assert answer(PARIS, last + timedelta(microseconds=1))["dt"] == NOON.timestamp() + RENEWED_S


def test_a_known_observation_stays_what_it_was() -> None:
    """Written down, so that neither another process nor another version of Python changes the past."""
    main = answer(PARIS, NOON, "metric")["main"]

    assert (main["temp"], main["pressure"], main["humidity"]) == (6.88, 1029, 65)


@pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
def test_units_agree_with_each_other(city: City) -> None:
    kelvin, celsius, fahrenheit = (answer(city, NOON, units) for units in ("standard", "metric", "imperial"))

    for name in ("temp", "feels_like", "temp_min", "temp_max"):
        assert kelvin["main"][name] == pytest.approx(celsius["main"][name] + 273.15, abs=1e-6)
        assert fahrenheit["main"][name] == pytest.approx(celsius["main"][name] * 1.8 + 32, abs=0.0051)
    for name in ("speed", "gust"):
        assert kelvin["wind"][name] == celsius["wind"][name]
        assert fahrenheit["wind"][name] * 0.44704 == pytest.approx(celsius["wind"][name], abs=0.01)
    assert kelvin["main"]["pressure"] == fahrenheit["main"]["pressure"]


@pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
def test_a_years_weather_is_plausible(city: City) -> None:
    made = [answer(city, NOON + timedelta(hours=7 * n), "metric") for n in range(1250)]
    temps = [one["main"]["temp"] for one in made]

    assert -30 < min(temps) < max(temps) < 45
    assert all(round(temp, 2) == temp for temp in temps)
    assert all(one["main"]["temp_min"] <= one["main"]["temp"] <= one["main"]["temp_max"] for one in made)
    assert all(0 < one["main"]["humidity"] <= 100 for one in made)
    assert all(0 <= one["clouds"]["all"] <= 100 and one["visibility"] > 0 for one in made)
    assert all(0 < one["wind"]["speed"] < one["wind"]["gust"] < 25 for one in made)
    assert 0 < sum("rain" in one for one in made) < 600
    assert all((one["weather"][0]["main"] == "Rain") == ("rain" in one) for one in made)


@pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
def test_noon_is_between_sunrise_and_sunset_of_that_day(city: City) -> None:
    noon_there = NOON - timedelta(seconds=city.utc_offset_s)
    sun = answer(city, noon_there)["sys"]

    assert sun["sunrise"] < noon_there.timestamp() < sun["sunset"]
    assert 4 * 3600 < sun["sunset"] - sun["sunrise"] < 20 * 3600


def test_it_is_warmer_by_day_and_in_summer() -> None:
    def mean(at: datetime) -> float:
        days: list[float] = [answer(PARIS, at + timedelta(days=n), "metric")["main"]["temp"] for n in range(20)]
        return sum(days) / len(days)

    assert mean(datetime(2026, 7, 10, 14, tzinfo=UTC)) > mean(datetime(2026, 7, 10, 2, tzinfo=UTC)) + 2
    assert mean(datetime(2026, 7, 10, 14, tzinfo=UTC)) > mean(datetime(2026, 1, 10, 14, tzinfo=UTC)) + 8


def test_every_city_is_found_by_number_name_and_place() -> None:
    for city in CITIES:
        assert city_by_id(str(city.id)) == city
        assert city_by_name(f" {city.name.upper()},{city.country.lower()}") == city
        assert nearest_city(city.lat + 0.1, city.lon - 0.1) == city


@pytest.mark.parametrize("text", ["sao paulo", "São Paulo", "Sao Paulo, BR"])
def test_accents_do_not_matter(text: str) -> None:
    found = city_by_name(text)

    assert found is not None
    assert found.id == 3448439


@pytest.mark.parametrize("text", ["Atlantis", "Paris,US", "", ",FR", "Par"])
def test_other_names_find_nothing(text: str) -> None:
    assert city_by_name(text) is None
    assert city_by_id(text) is None
