"""The cities that the mock knows, and how one finds them."""

import math
import unicodedata
from typing import Final

import msgspec


class City(msgspec.Struct, frozen=True):
    """A city and its climate.

    Attributes:
        id: its number in GeoNames, which OpenWeatherMap uses too.
        country: ISO 3166 alpha-2.
        lat: degrees north.
        lon: degrees east.
        utc_offset_s: of its standard time; the mock knows no summer time.
        height_m: above the sea.
        mean_c: its temperature over the year, in degrees Celsius.
        season_c: how much warmer than that July is; below zero in the south.
    """

    id: int
    name: str
    country: str
    lat: float
    lon: float
    utc_offset_s: int
    height_m: int
    mean_c: float
    season_c: float


CITIES: Final = (
    City(2950159, "Berlin", "DE", 52.5244, 13.4105, 3600, 34, 10.1, 9.5),
    City(2988507, "Paris", "FR", 48.8534, 2.3488, 3600, 42, 12.1, 8.0),
    City(2643743, "London", "GB", 51.5085, -0.1257, 0, 25, 11.3, 6.5),
    City(3117735, "Madrid", "ES", 40.4165, -3.7026, 3600, 665, 15.0, 10.0),
    City(756135, "Warsaw", "PL", 52.2298, 21.0118, 3600, 113, 9.0, 10.5),
    City(3413829, "Reykjavik", "IS", 64.1355, -21.8954, 0, 37, 5.1, 5.5),
    City(5128581, "New York", "US", 40.7143, -74.006, -18_000, 57, 12.9, 12.0),
    City(3448439, "São Paulo", "BR", -23.5475, -46.6361, -10_800, 769, 20.1, -3.0),
    City(360630, "Cairo", "EG", 30.0626, 31.2497, 7200, 23, 22.1, 7.5),
    City(184745, "Nairobi", "KE", -1.2833, 36.8167, 10_800, 1684, 18.8, -1.5),
    City(1275339, "Mumbai", "IN", 19.0144, 72.8479, 19_800, 8, 27.5, 1.0),
    City(1850144, "Tokyo", "JP", 35.6895, 139.6917, 32_400, 44, 15.8, 10.5),
    City(2147714, "Sydney", "AU", -33.8679, 151.2073, 36_000, 58, 18.0, -5.5),
)


def city_by_id(text: str) -> City | None:
    """The city with that number, such as "2988507"."""
    return next((city for city in CITIES if str(city.id) == text), None)


def city_by_name(text: str) -> City | None:
    """The city that is called so: "Paris" or "Paris,FR", upper or lower case, with its accents or without."""
    name, _, country = (_plain(part) for part in text.partition(","))
    return next(
        (city for city in CITIES if _plain(city.name) == name and country in ("", city.country.casefold())), None
    )


def nearest_city(lat: float, lon: float) -> City:
    """The city next to a place in degrees; far from all of them, that is still the best guess."""
    return max(CITIES, key=lambda city: _closeness(city, lat, lon))


def _closeness(city: City, lat: float, lon: float) -> float:
    """The cosine of the angle between two places, seen from the centre of the earth."""
    here, there = math.radians(city.lat), math.radians(lat)
    east = math.radians(city.lon - lon)
    return math.sin(here) * math.sin(there) + math.cos(here) * math.cos(there) * math.cos(east)


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.strip())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
