"""The pipeline weather, with no Kafka, Postgres or Airflow."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dag_files import declared
from microbatch.testing import Outcome, run

AT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
AT_S = int(AT.timestamp())
pipeline = declared("weather")

# As the service answers with units=metric, in the winter of a city.
ANSWER: dict[str, Any] = {
    "coord": {"lon": 24.9355, "lat": 60.1695},
    "weather": [
        {"id": 601, "main": "Snow", "description": "snow", "icon": "13d"},
        {"id": 701, "main": "Mist", "description": "mist", "icon": "50d"},
    ],
    "base": "stations",
    "main": {
        "temp": -3.25,
        "feels_like": -8.91,
        "temp_min": -4.4,
        "temp_max": -2.77,
        "pressure": 1013,
        "humidity": 93,
        "sea_level": 1013,
        "grnd_level": 1009,
    },
    "visibility": 2700,
    "wind": {"speed": 4.63, "deg": 340, "gust": 8.2},
    "snow": {"1h": 0.31},
    "clouds": {"all": 100},
    "dt": AT_S - 60,
    "sys": {"type": 1, "id": 1332, "country": "FI", "sunrise": 1795243000, "sunset": 1795267000},
    "timezone": 7200,
    "id": 658225,
    "name": "Helsinki",
    "cod": 200,
}


def answer(temp: Any = -3.25, minutes_ago: float = 1, **changes: Any) -> dict[str, Any]:
    main = {**ANSWER["main"], "temp": temp}
    return {**ANSWER, "main": main, "dt": int(AT_S - 60 * minutes_ago), **changes}


def hours(outcome: Outcome) -> list[tuple[int, str, Decimal, Decimal, Decimal, int]]:
    """Hour, city, mean, minimum, maximum, observations."""
    names = ("city", "temp_mean", "temp_min", "temp_max", "observations")
    rows = outcome.results["weather_hourly"]
    return [(row["window_start"].hour, *(row[name] for name in names)) for row in rows]


def test_an_answer_becomes_a_row_of_plain_columns() -> None:
    outcome = run(pipeline, [ANSWER], at=AT)

    assert outcome.rows == [
        {
            "city_id": 658225,
            "city": "Helsinki",
            "dt": AT - timedelta(minutes=1),
            "description": "snow",
            "temp": Decimal("-3.25"),
            "feels_like": Decimal("-8.91"),
            "pressure": Decimal(1013),
            "humidity": Decimal(93),
            "wind_speed": Decimal("4.63"),
        }
    ]
    assert outcome.rejects == []


@pytest.mark.parametrize("written", ["-0.1", "-3.25", "0", "0.0", "-0.0", "1e1", "281.3", "25.1234", "-89.2"])
def test_temperatures_are_exact_decimals(written: str) -> None:
    value = json.dumps(answer("@")).replace('"@"', written).encode()

    outcome = run(pipeline, [value], at=AT)

    assert [row["temp"] for row in outcome.rows] == [Decimal(written)]


def test_the_same_observation_polled_again_is_one_row_and_counted_as_a_repeat() -> None:
    outcome = run(pipeline, [answer(), answer(), answer(minutes_ago=2), answer(id=2, name="Espoo")], at=AT)

    assert [(row["city"], row["dt"]) for row in outcome.rows] == [
        ("Helsinki", AT - timedelta(minutes=1)),
        ("Helsinki", AT - timedelta(minutes=2)),
        ("Espoo", AT - timedelta(minutes=1)),
    ]
    assert outcome.repeated == 1
    assert [observations for *_, observations in hours(outcome)] == [1, 2]


def test_of_a_repeat_with_other_numbers_the_first_counts() -> None:
    outcome = run(pipeline, [answer(-1), answer(-2)], at=AT)

    assert ([row["temp"] for row in outcome.rows], outcome.repeated) == ([Decimal(-1)], 1)


def test_an_hour_has_mean_minimum_maximum_and_number_per_city() -> None:
    espoo = {"id": 2, "name": "Espoo"}
    answers = [
        answer(-3.25, 1),
        answer(-1.5, 2),
        answer(0.25, 30),  # 10:00
        answer(7, 30.5),  # 9:59:30
        answer(0.005, 3, **espoo),
    ]

    outcome = run(pipeline, answers, at=AT)

    assert hours(outcome) == [
        (9, "Helsinki", Decimal("7.00"), Decimal(7), Decimal(7), 1),
        (10, "Espoo", Decimal("0.01"), Decimal("0.005"), Decimal("0.005"), 1),
        (10, "Helsinki", Decimal("-1.50"), Decimal("-3.25"), Decimal("0.25"), 3),
    ]


def test_the_mean_of_cold_hours_is_rounded_half_away_from_zero() -> None:
    outcome = run(pipeline, [answer(-0.01, 1), answer(0, 2)], at=AT)

    assert str(outcome.results["weather_hourly"][0]["temp_mean"]) == "-0.01"  # -0.005


def test_an_answer_without_conditions_has_no_description() -> None:
    outcome = run(pipeline, [answer(weather=[])], at=AT)

    assert [row["description"] for row in outcome.rows] == [None]
    assert len(hours(outcome)) == 1


def test_what_is_not_used_may_be_missing() -> None:
    used = ("weather", "main", "wind", "dt", "id", "name")

    outcome = run(pipeline, [{name: ANSWER[name] for name in used}], at=AT)

    assert len(outcome.rows) == 1


MAIN: dict[str, Any] = answer()["main"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"cod": "404", "message": "city not found"}, "missing required field"),
        ({"cod": 401, "message": "Invalid API key."}, "missing required field"),
        (answer(main={k: v for k, v in MAIN.items() if k != "temp"}), "missing required field `temp` - at `$.main`"),
        (answer(main=None), "got `null` - at `$.main`"),
        (answer(main=[MAIN]), "got `array` - at `$.main`"),
        (answer(None), "got `null` - at `$.main.temp`"),
        (answer("warm"), "Invalid decimal string - at `$.main.temp`"),
        (answer(0.00001), "at most 4 digits after the point"),
        (answer(wind={}), "missing required field `speed` - at `$.wind`"),
        (answer(weather=None), "got `null` - at `$.weather`"),
        (answer(weather=[None]), "got `null` - at `$.weather[0]`"),
        (answer(weather=[{"id": 601}]), "missing required field `description` - at `$.weather[0]`"),
        (answer(id="658225"), "got `str` - at `$.id`"),
        (answer(name="a\0b"), "NUL"),
        (answer(dt=AT_S + 3601), "more than max_future"),
        (answer(dt=AT_S + 0.5), "got `float` - at `$.dt`"),
        (answer(dt=None), "got `null` - at `$.dt`"),
    ],
)
def test_what_is_no_observation_is_rejected_whole_with_its_reason(bad: dict[str, Any], reason: str) -> None:
    value = json.dumps(bad).encode()

    outcome = run(pipeline, [value, ANSWER], at=AT)

    (reject,) = outcome.rejects
    assert (reject.value, reason in reject.reason) == (value, True), reject.reason
    assert [row["city"] for row in outcome.rows] == ["Helsinki"]
