"""Weather: the observations of a list of cities, each once, and their hours so far.

`poll_weather` asks OpenWeatherMap, or our own mock of it, every minute and puts the answers on `weather` as they are.
Here they become rows of `weather_observation`; the same observation, polled again, is counted as a repeat and left out.
`weather_hourly` has each city's hour, updated every minute; `is_final` is false until the hour has closed.
"""

from decimal import Decimal
from typing import Annotated

from microbatch import EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Scale, Stream, TumblingWindow
from microbatch.airflow import as_dag, every_minute
from microbatch.measures import Count, Max, Mean, Min

Measured = Annotated[Decimal, Scale(4)]


class Main(Event):
    """What most people mean by weather; units are those that the poller asks for (`WEATHER_UNITS`)."""

    temp: Measured
    feels_like: Measured
    pressure: Measured
    humidity: Measured


class Wind(Event):
    """The wind; it has a direction too."""

    speed: Measured


class Sky(Event):
    """One of the conditions, the first of which matters most."""

    description: str


class Weather(Event):
    """An answer of `/data/2.5/weather`, as far as it is used here; it has more."""

    id: int
    name: str
    dt: EpochSeconds
    main: Main
    wind: Wind
    weather: list[Sky]


weather = Pipeline(
    name="weather",
    description="Each city's observations, and their mean, minimum and maximum per hour, updated every minute.",
    source=KafkaTopic("weather", Weather, event_time="dt"),
    outputs=[
        Stream(
            columns={
                "city_id": "id",
                "city": "name",
                "dt": "dt",
                "description": "weather[1].description",
                # In brackets, for DuckDB has a schema of that name.
                **{name: f"(main).{name}" for name in ("temp", "feels_like", "pressure", "humidity")},
                "wind_speed": "wind.speed",
            },
            unique=["city_id", "dt"],
            to=[PostgresTable("weather_observation"), KafkaTopic("weather-observation")],
        ),
        TumblingWindow(
            "1 hour",
            by=["city_id", "city"],
            measures={
                "temp_mean": Mean("temp", scale=2),
                "temp_min": Min("temp"),
                "temp_max": Max("temp"),
                "observations": Count(),
            },
            emit="early",
            to=[PostgresTable("weather_hourly"), KafkaTopic("weather-hourly")],
        ),
    ],
)

dag = as_dag(weather, schedule=every_minute)
