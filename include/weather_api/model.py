"""The weather, made up: a pure function of city and time, so that everybody who asks gets the same.

It is plausible rather than right: seasons and days go up and down as they should, and clouds, wind and pressure wander
from one six hours to the next.
"""

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from weather_api.cities import City

Units = Literal["standard", "metric", "imperial"]
"""Kelvin and metres per second; Celsius and metres per second; Fahrenheit and miles per hour."""

RENEWED_S: Final = 120
"""An observation is as old as this before there is another one."""

_SPELL_S: Final = 6 * 3600  # how long the weather takes to turn
_DAY_S: Final = 86_400
_MPH: Final = 1 / 0.44704  # of a metre per second
_SUNRISE_ALTITUDE: Final = math.radians(-0.833)  # the sun's upper edge, with refraction
_TILT: Final = math.radians(23.44)


class _Sky(msgspec.Struct, frozen=True):
    """A condition, as the service numbers and names them, and from which share of clouds on it holds."""

    clouds: float
    id: int
    main: str
    description: str
    icon: str


_SKIES: Final = (
    _Sky(0.85, 804, "Clouds", "overcast clouds", "04"),
    _Sky(0.51, 803, "Clouds", "broken clouds", "04"),
    _Sky(0.25, 802, "Clouds", "scattered clouds", "03"),
    _Sky(0.11, 801, "Clouds", "few clouds", "02"),
    _Sky(0.0, 800, "Clear", "clear sky", "01"),
)
_LIGHT_RAIN: Final = _Sky(0.7, 500, "Rain", "light rain", "10")
_RAIN: Final = _Sky(0.7, 501, "Rain", "moderate rain", "10")


def observed_at(at: datetime) -> int:
    """When the observation that is current at a time was made, in seconds since 1970."""
    return int(at.timestamp()) // RENEWED_S * RENEWED_S


def answer(city: City, at: datetime, units: Units = "standard") -> dict[str, Any]:
    """What the service answers when it is asked for a city's weather at a time, aware; `dt` is not later."""
    dt = observed_at(at)
    clouds, rain_mm = _clouds(city, dt), _rain_mm(city, dt)
    sunrise, sunset = _sun(city, dt)
    celsius = _celsius(city, dt, clouds)
    pressure, humidity = _pressure(city, dt), _humidity(city, dt, rain_mm)
    wind = 0.5 + 11 * _wandering(city, dt, "wind") ** 2
    gust = wind * (1.3 + 0.5 * _chance(city, dt, "gust"))
    measured = {
        "temp": celsius,
        "feels_like": celsius + (humidity - 60) / 25 - wind / 4,
        "temp_min": celsius - 1.5 * _chance(city, dt, "coldest"),
        "temp_max": celsius + 1.5 * _chance(city, dt, "warmest"),
    }
    return {
        "coord": {"lon": city.lon, "lat": city.lat},
        "weather": [_sky(clouds, rain_mm, is_day=sunrise <= dt < sunset)],
        "base": "stations",
        "main": {name: _temperature(value, units) for name, value in measured.items()}
        | {
            "pressure": pressure,
            "humidity": humidity,
            "sea_level": pressure,
            "grnd_level": pressure - round(city.height_m / 8.5),
        },
        "visibility": 10_000 if rain_mm == 0 else round(10_000 - 1500 * rain_mm),
        "wind": {
            "speed": _speed(wind, units),
            "deg": int(360 * _wandering(city, dt, "direction")),
            "gust": _speed(gust, units),
        },
        "clouds": {"all": round(100 * clouds)},
        **({"rain": {"1h": rain_mm}} if rain_mm else {}),
        "dt": dt,
        "sys": {"country": city.country, "sunrise": sunrise, "sunset": sunset},
        "timezone": city.utc_offset_s,
        "id": city.id,
        "name": city.name,
        "cod": 200,
    }


def _temperature(celsius: float, units: Units) -> float:
    hundredths = round(celsius, 2)
    match units:
        case "standard":
            return round(hundredths + 273.15, 2)
        case "metric":
            return hundredths
        case "imperial":
            return round(hundredths * 9 / 5 + 32, 2)


def _speed(metres_per_s: float, units: Units) -> float:
    hundredths = round(metres_per_s, 2)
    return round(hundredths * _MPH, 2) if units == "imperial" else hundredths


def _celsius(city: City, dt: int, clouds: float) -> float:
    """Warmest in late July (or January) and in the early afternoon; clouds damp the day."""
    year = 2 * math.pi * (_day_of_year(city, dt) - 205) / 365.25
    day = 2 * math.pi * ((dt + city.utc_offset_s) % _DAY_S / _DAY_S - 14.5 / 24)
    swing = 5.0 - 3.5 * clouds
    spell = 8 * (_wandering(city, dt, "warmth") - 0.5)
    flicker = 0.2 * (_chance(city, dt, "warmth now") - 0.5)
    return city.mean_c + city.season_c * math.cos(year) + swing * math.cos(day) + spell + flicker


def _pressure(city: City, dt: int) -> int:
    return round(1013 + 36 * (_wandering(city, dt, "pressure") - 0.5))


def _humidity(city: City, dt: int, rain_mm: float) -> int:
    return min(100, round(35 + 50 * _wandering(city, dt, "humidity") + 20 * bool(rain_mm)))


def _clouds(city: City, dt: int) -> float:
    """From 0 to 1."""
    return min(1.0, 1.3 * _wandering(city, dt, "clouds"))


def _rain_mm(city: City, dt: int) -> float:
    """Of the last hour; none unless there are clouds."""
    if _clouds(city, dt) < _RAIN.clouds:
        return 0.0
    return round(max(0.0, 8 * (_wandering(city, dt, "rain") - 0.55)), 2)


def _sky(clouds: float, rain_mm: float, *, is_day: bool) -> dict[str, Any]:
    rain = _LIGHT_RAIN if rain_mm < 1 else _RAIN
    sky = rain if rain_mm else next(sky for sky in _SKIES if clouds >= sky.clouds)
    icon = f"{sky.icon}{'d' if is_day else 'n'}"
    return {"id": sky.id, "main": sky.main, "description": sky.description, "icon": icon}


def _sun(city: City, dt: int) -> tuple[int, int]:
    """Sunrise and sunset of the day that it is there, in seconds since 1970, right to some minutes."""
    declination = -_TILT * math.cos(2 * math.pi * (_day_of_year(city, dt) + 10) / 365.25)
    lat = math.radians(city.lat)
    cosine = (math.sin(_SUNRISE_ALTITUDE) - math.sin(lat) * math.sin(declination)) / (
        math.cos(lat) * math.cos(declination)
    )
    half_day_s = _DAY_S * math.acos(max(-1.0, min(1.0, cosine))) / (2 * math.pi)
    midnight = (dt + city.utc_offset_s) // _DAY_S * _DAY_S - city.utc_offset_s
    noon = midnight + city.utc_offset_s + _DAY_S / 2 - _DAY_S * city.lon / 360
    return int(noon - half_day_s), int(noon + half_day_s)


def _day_of_year(city: City, dt: int) -> int:
    there = datetime.fromtimestamp(dt, UTC) + timedelta(seconds=city.utc_offset_s)
    return there.timetuple().tm_yday


def _wandering(city: City, dt: int, what: str) -> float:
    """A value from 0 to 1 that goes smoothly from one drawn value to the next."""
    spell, into = divmod(dt, _SPELL_S)
    before, after = _chance(city, spell, what), _chance(city, spell + 1, what)
    smooth = (1 - math.cos(math.pi * into / _SPELL_S)) / 2
    return before + (after - before) * smooth


def _chance(city: City, moment: int, what: str) -> float:
    """A value from 0 to 1 that looks drawn, and is always the same; a text as seed does not depend on the process."""
    return random.Random(f"{city.id}/{moment}/{what}").random()  # noqa: S311 - weather, no secret
