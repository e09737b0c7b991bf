"""The client of the weather API, against the mock on a real port and against servers that are worse."""

import asyncio
import contextlib
import json
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from fix_weather import KEY, Mock, running_mock
from free_ports import random_free
from local.ports import HOST
from microbatch.errors import MicrobatchError, SettingMissingError, SettingWrongError, TerminalError, TransientError
from producers import openweathermap
from producers.openweathermap import (
    CityUnknownError,
    Client,
    KeyRefusedError,
    NotAvailableError,
    Patience,
    Reading,
    RequestRefusedError,
    Service,
    cities,
    retry_after_s,
    service,
)

QUICK = Patience(attempt_s=2.0, backoff_s=0.01, longest_backoff_s=0.02, all_s=5.0)
HASTY = Patience(attempt_s=0.2, backoff_s=0.01, longest_backoff_s=0.02, all_s=5.0)
GOOD = b'{"id": 2988507, "dt": 1795000000}'
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with running_mock(WEATHER_API_RATE=1000) as running:
        yield running


def read(service: Service, city: str = "Paris", patience: Patience = QUICK) -> Reading:
    async def asked() -> Reading:
        async with Client(service, patience) as client:
            return await client.read(city)

    return asyncio.run(asked())


def answering(status: int = 200, body: bytes = GOOD, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """An answer that comes byte by byte, and so never takes long for a byte."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


class Scripted:
    """A server that answers as it is told, one request after the other; the last answer stays."""

    def __init__(self, *answers: Answer) -> None:
        self.paths: list[str] = []
        left = list(answers)
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                answer = left.pop(0) if len(left) > 1 else left[0]
                with contextlib.suppress(OSError):  # the client has gone
                    answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer((HOST, 0), Handler)
        self.service = Service(f"http://{HOST}:{self._server.server_port}", KEY, "metric")
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_a_reading_is_the_answer_as_it_came(mock: Mock) -> None:
    before = datetime.now(UTC)
    reading = read(mock.service)

    assert reading.city_id == 2988507
    assert json.loads(reading.body)["name"] == "Paris"
    assert before <= reading.at <= datetime.now(UTC)


def test_a_city_can_be_given_by_its_number(mock: Mock) -> None:
    assert json.loads(read(mock.service, "1850144").body)["name"] == "Tokyo"


def test_the_units_are_those_of_the_settings(mock: Mock) -> None:
    kelvin = Service(mock.url, KEY, "standard")

    assert json.loads(read(kelvin).body)["main"]["temp"] > 200


@pytest.mark.parametrize(("fault", "times"), [("error", 2), ("broken", 2)])
def test_what_passes_is_tried_again(mock: Mock, fault: str, times: int) -> None:
    mock.fault("Paris", fault, times)

    assert read(mock.service).city_id == 2988507


def test_an_answer_that_is_too_slow_is_asked_for_again(mock: Mock) -> None:
    mock.fault("Paris", "slow", seconds=1.5)

    assert read(mock.service, patience=HASTY).city_id == 2988507


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("error", "status 500"),
        ("broken", "what it answers is no weather: Input data was truncated"),
        ("slow", "no answer in time"),
    ],
)
def test_what_does_not_pass_is_given_up_after_some_tries(mock: Mock, fault: str, reason: str) -> None:
    mock.fault("Cairo", fault, times=3, seconds=0.4)

    with pytest.raises(NotAvailableError) as raised:
        read(mock.service, "Cairo", Patience(attempt_s=0.2, attempts=3, backoff_s=0.01))
    assert str(raised.value) == f"{mock.url} gave no weather of 'Cairo' ({reason}); the next run asks again"


def test_nobody_listening_is_told_as_such() -> None:
    nobody = Service(f"http://{HOST}:{random_free()}", KEY, "metric")

    with pytest.raises(NotAvailableError, match=r"gave no weather of 'Paris' \(All connection attempts failed"):
        read(nobody)


def test_a_wrong_key_is_refused_without_another_try() -> None:
    with Scripted(answering(401, b'{"cod": 401}')) as server, pytest.raises(KeyRefusedError) as raised:
        read(server.service)

    assert len(server.paths) == 1
    assert "refuses the key in OPENWEATHERMAP_API_KEY (401); correct it" in str(raised.value)


def test_the_mock_refuses_a_wrong_key_and_knows_not_every_city(mock: Mock) -> None:
    with pytest.raises(KeyRefusedError):
        read(Service(mock.url, "wrong", "metric"))
    with pytest.raises(CityUnknownError, match="knows no city 'Atlantis'; correct it in WEATHER_CITIES"):
        read(mock.service, "Atlantis")


@pytest.mark.parametrize("status", [400, 403, 301])
def test_other_refusals_are_final_too(status: int) -> None:
    with Scripted(answering(status, Location="/elsewhere")) as server, pytest.raises(RequestRefusedError):
        read(server.service)

    assert len(server.paths) == 1


def test_retry_after_is_waited_for() -> None:
    with Scripted(answering(429, Retry_After="1"), answering()) as server:
        before_s = time.monotonic()
        read(server.service)

    assert time.monotonic() - before_s >= 1.0


def test_a_retry_after_beyond_the_time_is_not_waited_for() -> None:
    with running_mock(WEATHER_API_RATE=1) as busy:
        read(busy.service)
        before_s = time.monotonic()
        with pytest.raises(NotAvailableError, match="status 429"):
            read(busy.service)

    assert time.monotonic() - before_s < 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 12:00:30 -0000", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_time(text: str, seconds: float) -> None:
    assert retry_after_s({"Retry-After": text}, NOW) == seconds


def test_no_retry_after_is_no_time_to_wait() -> None:
    assert retry_after_s({}, NOW) == 0


def test_an_answer_that_comes_byte_by_byte_is_cut_off() -> None:
    with Scripted(dripping, answering()) as server:
        assert read(server.service, patience=HASTY).body == GOOD


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b'{"cod": "404", "message": "no"}',
        b'{"id": "2988507", "dt": 1795000000}',
        b'{"id": 2988507, "dt": 1795000000',
        b'{"id": 2988507, "dt": 1795000000, "name": "\xff"}',
        b'{"id": 2988507, "dt": 1795000000, "main": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"id": 2988507, "dt": 1795000000, "name": "' + b"a" * 200_000 + b'"}',
    ],
    ids=["empty", "null", "array", "HTML", "error", "text as id", "cut off", "not UTF-8", "deep", "long"],
)
def test_what_is_no_weather_is_never_passed_on(body: bytes) -> None:
    with Scripted(answering(body=body), answering()) as server:
        assert read(server.service).body == GOOD
    assert len(server.paths) == 2


def test_the_time_for_all_tries_is_kept() -> None:
    with Scripted(answering(500)) as server:
        before_s = time.monotonic()
        with pytest.raises(NotAvailableError):
            read(server.service, patience=Patience(attempts=1000, backoff_s=0.05, longest_backoff_s=0.1, all_s=0.5))

    assert time.monotonic() - before_s < 30
    assert len(server.paths) > 2


def test_a_slow_city_does_not_keep_the_others_waiting(mock: Mock) -> None:
    mock.fault("Cairo", "slow", seconds=0.4)

    async def in_order() -> list[str]:
        async with Client(mock.service, QUICK) as client:
            asked = [asyncio.create_task(client.read(city)) for city in ("Cairo", "Paris", "Tokyo")]
            return [json.loads((await done).body)["name"] for done in asyncio.as_completed(asked)]

    assert asyncio.run(in_order())[-1] == "Cairo"


def test_the_key_is_in_the_request_and_in_nothing_that_anybody_sees(
    mock: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    mock.fault("Paris", "error")
    nobody = Service(f"http://{HOST}:{random_free()}", KEY, "metric")
    errors: list[MicrobatchError] = []
    with (
        caplog.at_level(logging.DEBUG),
        caplog.at_level(logging.DEBUG, logger="httpx"),  # Airflow, if it is imported, has set another
        Scripted(answering(403)) as server,
    ):
        reading = read(mock.service)
        for asked, city in ((mock.service, "Atlantis"), (nobody, "Paris"), (server.service, "Paris")):
            with pytest.raises(MicrobatchError) as raised:
                read(asked, city)
            errors.append(raised.value)
    logged = "\n".join(f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records)
    shown = "\n".join(f"{error} {error!r} {error.facts} {error.__cause__!r}" for error in errors)

    assert httpx.QueryParams(server.paths[0].partition("?")[2])["appid"] == KEY
    assert "/data/2.5/weather?q=Paris" in logged, "httpx logs addresses, and so it matters what is in them"
    assert "once more in" in logged
    for part in ("appid", KEY, "mock-key", "%26"):
        assert part not in logged + shown
        assert part not in f"{mock.service!r} {Client(mock.service)!r} {reading!r}"


@pytest.mark.parametrize(
    ("error", "marker"),
    [
        (KeyRefusedError(url="u", status=401), TerminalError),
        (CityUnknownError(url="u", city="c"), TerminalError),
        (RequestRefusedError(url="u", city="c", status=400), TerminalError),
        (NotAvailableError(url="u", city="c", reason="r", retry_after_s=1.0), TransientError),
    ],
)
def test_errors_pickle_and_say_whether_to_try_again(error: MicrobatchError, marker: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own

    assert isinstance(error, marker)
    assert (str(copy), copy.facts) == (str(error), error.facts)


def test_a_key_alone_is_for_the_real_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", "my own")
    for name in ("OPENWEATHERMAP_URL", "WEATHER_UNITS", "WEATHER_CITIES"):
        monkeypatch.setenv(name, "")

    assert service() == Service("https://api.openweathermap.org", "my own", "metric")
    assert cities() == ["Berlin", "Paris", "New York", "Cairo", "Tokyo"]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", KEY)
    monkeypatch.setenv("OPENWEATHERMAP_URL", "http://127.0.0.1:8090/")
    monkeypatch.setenv("WEATHER_UNITS", "imperial")
    monkeypatch.setenv("WEATHER_CITIES", "Paris, 1850144,Paris")

    assert service() == Service("http://127.0.0.1:8090", KEY, "imperial")
    assert cities() == ["Paris", "1850144"]


def test_without_a_key_it_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENWEATHERMAP_API_KEY", raising=False)

    with pytest.raises(SettingMissingError, match="OPENWEATHERMAP_API_KEY is not set; `make up`"):
        service()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENWEATHERMAP_URL", "api.openweathermap.org"),
        ("OPENWEATHERMAP_URL", "http://"),
        ("OPENWEATHERMAP_URL", "http://[::1"),
        ("WEATHER_UNITS", "kelvin"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OPENWEATHERMAP_API_KEY", KEY)
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingWrongError, match=name) as raised:
        service()
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"all_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "openweathermap.org"}, None),
    ],
)
def test_a_proxy_is_used_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert openweathermap._proxy(httpx.URL("https://api.openweathermap.org")) == proxy
