"""The mock as its clients see it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from microbatch.clock import Clock
from weather_api.app import weather_app

KEY = "mock-key"
NOON = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


class StoppedClock(Clock):
    """A clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s


class Asker:
    """Sends requests to the application, without a network."""

    def __init__(self, rate: int = 1000) -> None:
        self.clock = StoppedClock()
        self._app = weather_app(KEY, rate, self.clock)

    def get(self, path: str = "/data/2.5/weather", **query: Any) -> httpx.Response:
        return self.ask("GET", path, params={"appid": KEY, **query})

    def put(self, **fault: Any) -> httpx.Response:
        return self.ask("PUT", "/faults", params={"appid": KEY}, json=fault)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
                return await client.request(method, path, **given)

        return asyncio.run(asked())


@pytest.fixture
def mock() -> Asker:
    return Asker()


@pytest.mark.parametrize(
    "query",
    [
        {"q": "Paris"},
        {"q": "paris,fr"},
        {"id": "2988507"},
        {"id": 2988507, "q": "Berlin"},
        {"lat": 48.9, "lon": "2.3"},
    ],
)
def test_a_city_is_asked_for_by_name_number_or_place(mock: Asker, query: dict[str, Any]) -> None:
    response = mock.get(**query)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.json()["name"], response.json()["cod"]) == ("Paris", 200)


def test_units_are_kelvin_unless_others_are_asked_for(mock: Asker) -> None:
    temps = [mock.get(q="Paris", units=units).json()["main"]["temp"] for units in ("", "metric", "imperial", "odd")]

    assert temps[0] == temps[3] == pytest.approx(temps[1] + 273.15)
    assert temps[2] == pytest.approx(temps[1] * 1.8 + 32, abs=0.0051)


def test_the_next_observation_comes_after_two_minutes(mock: Asker) -> None:
    first = mock.get(q="Paris").content
    mock.clock.passed_s = 60
    again = mock.get(q="Paris").content
    mock.clock.passed_s = 120

    assert first == again
    assert mock.get(q="Paris").json()["dt"] == json.loads(first)["dt"] + 120


@pytest.mark.parametrize(
    ("status", "cod", "query"),
    [
        (401, 401, {"q": "Paris", "appid": "wrong"}),
        (401, 401, {"q": "Paris", "appid": ""}),
        (401, 401, {"q": "Paris", "appid": "schlüssel"}),
        (404, "404", {"q": "Atlantis"}),
        (404, "404", {"q": "Paris,US"}),
        (404, "404", {"id": "1"}),
        (404, "404", {"id": "9" * 5000}),
        (400, "400", {}),
        (400, "400", {"lat": "48.9"}),
        (400, "400", {"lat": "north", "lon": "2"}),
        (400, "400", {"lat": "48", "lon": "181"}),
        (400, "400", {"lat": "nan", "lon": "2"}),
    ],
)
def test_what_it_refuses_is_told_as_the_real_service_does(
    mock: Asker, status: int, cod: object, query: dict[str, Any]
) -> None:
    response = mock.get(**query)

    assert response.status_code == status
    assert response.json()["cod"] == cod
    assert set(response.json()) == {"cod", "message"}


def test_over_the_rate_it_says_when_to_come_back() -> None:
    mock = Asker(rate=2)
    first, second = mock.get(q="Paris"), mock.get(q="Atlantis")
    mock.clock.passed_s = 20.5
    third = mock.get(q="Paris")
    mock.clock.passed_s += float(third.headers["Retry-After"])

    assert (first.status_code, second.status_code) == (200, 404), "both are calls"
    assert (third.status_code, third.json()["cod"], third.headers["Retry-After"]) == (429, 429, "40")
    assert mock.get(q="Paris").status_code == 200


def test_a_wrong_key_uses_up_nothing_of_the_rate() -> None:
    mock = Asker(rate=1)
    mock.get(q="Paris", appid="wrong")

    assert mock.get(q="Paris").status_code == 200


def test_errors_are_answered_as_often_as_asked_for_and_for_that_city_only(mock: Asker) -> None:
    mock.put(city="Paris", fault="error", times=2)

    assert [mock.get(q="Berlin").status_code for _ in range(2)] == [200, 200]
    assert [mock.get(id="2988507").status_code for _ in range(3)] == [500, 500, 200]


def test_broken_json_is_the_beginning_of_an_answer(mock: Asker) -> None:
    whole = mock.get(q="Paris").content
    mock.put(city="2988507", fault="broken")
    broken = mock.get(q="Paris")

    assert broken.status_code == 200
    assert whole.startswith(broken.content)
    with pytest.raises(json.JSONDecodeError):
        broken.json()


def test_a_slow_answer_is_a_good_one(mock: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("weather_api.app.asyncio.sleep", sleep)
    mock.put(city="Paris", fault="slow", seconds=7)

    assert mock.get(q="Paris").json()["name"] == "Paris"
    assert slept == [7]


def test_a_fault_can_be_taken_back(mock: Asker) -> None:
    mock.put(city="Paris", fault="error", times=100)
    mock.put(city="Paris", fault="error", times=0)

    assert mock.get(q="Paris").status_code == 200


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (404, {"city": "Atlantis", "fault": "error"}),
        (400, {"city": "Paris", "fault": "flood"}),
        (400, {"city": "Paris"}),
        (400, {"city": "Paris", "fault": "slow", "second": 3}),
    ],
)
def test_faults_that_cannot_be_meant_are_refused(mock: Asker, status: int, fault: dict[str, Any]) -> None:
    assert mock.put(**fault).status_code == status
    assert mock.get(q="Paris").status_code == 200


def test_faults_need_the_key_and_health_needs_none(mock: Asker) -> None:
    assert mock.ask("PUT", "/faults", json={"city": "Paris", "fault": "error"}).status_code == 401
    assert mock.ask("GET", "/health").json() == {"status": "ok"}
