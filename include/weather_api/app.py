"""The mock as a web application: `GET /data/2.5/weather`, and on request the faults that clients have to live with."""

import asyncio
import math
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microbatch.clock import Clock
from weather_api.cities import City, city_by_id, city_by_name, nearest_city
from weather_api.model import Units, answer

PATH: Final = "/data/2.5/weather"
RATE: Final = 60
"""Calls a minute that a key has."""

_WINDOW_S: Final = 60.0
_UNITS: Final[dict[str, Units]] = {"metric": "metric", "imperial": "imperial"}  # anything else is "standard"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to go wrong with the next answers about a city.

    Attributes:
        city: as a client would name it, such as "Paris" or "2988507".
        fault: a status 500, an answer that comes late, or one whose JSON is cut off.
        times: for how many answers; 0 ends it.
        seconds: how late a slow answer is.
    """

    city: str
    fault: Literal["error", "slow", "broken"]
    times: int = 1
    seconds: float = 3.0


class _Refused(Exception):  # noqa: N818 - an answer rather than an error
    """An answer that is no weather. `cod` is a number here and a text there, as with the real service."""

    def __init__(self, status: int, message: str, cod: int | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = _json({"cod": cod, "message": message}, status, headers)


def weather_app(key: str, rate: int = RATE, clock: Clock | None = None) -> Starlette:
    """The application. It accepts one key, and `rate` calls of it a minute."""
    service = _Service(key, rate, clock or Clock())
    return Starlette(
        routes=[
            Route(PATH, service.weather, methods=["GET"]),
            Route("/faults", service.faults, methods=["PUT"]),
            Route("/health", _health, methods=["GET"]),
        ]
    )


class _Service:
    """What the mock remembers: the calls of the last minute, and what is to go wrong."""

    def __init__(self, key: str, rate: int, clock: Clock) -> None:
        self._key = key.encode()
        self._rate = rate
        self._clock = clock
        self._calls: deque[float] = deque()
        self._faults: dict[int, Fault] = {}

    async def weather(self, request: Request) -> Response:
        """Answer with the weather of a city."""
        query = request.query_params
        try:
            self._check_key(query)
            self._count_call()
            city = _asked(query)
        except _Refused as refused:
            return refused.response
        units = _UNITS.get(query.get("units", ""), "standard")
        fault = self._next_fault(city)
        if fault is None:
            return _json(answer(city, self._clock.now(), units))
        if fault.fault == "error":
            return _json({"cod": "500", "message": "this was asked for by PUT /faults"}, 500)
        if fault.fault == "slow":
            await asyncio.sleep(fault.seconds)
            return _json(answer(city, self._clock.now(), units))
        whole = msgspec.json.encode(answer(city, self._clock.now(), units))
        return Response(whole[: len(whole) // 2], media_type="application/json")

    async def faults(self, request: Request) -> Response:
        """Let the next answers about a city go wrong."""
        try:
            self._check_key(request.query_params)
            fault = _fault(await request.body())
            self._faults[_named(fault.city).id] = fault
        except _Refused as refused:
            return refused.response
        return _json(msgspec.to_builtins(fault))

    def _check_key(self, query: Mapping[str, str]) -> None:
        if not secrets.compare_digest(query.get("appid", "").encode(), self._key):
            raise _Refused(401, "appid is missing, or is no key of this service", 401)

    def _count_call(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._calls and self._calls[0] <= now_s - _WINDOW_S:
            self._calls.popleft()
        if len(self._calls) >= self._rate:
            wait_s = math.ceil(self._calls[0] + _WINDOW_S - now_s) if self._calls else int(_WINDOW_S)
            headers = {"Retry-After": str(max(1, wait_s))}
            raise _Refused(429, f"this key has {self._rate} calls a minute, and they are used up", 429, headers)
        self._calls.append(now_s)

    def _next_fault(self, city: City) -> Fault | None:
        fault = self._faults.pop(city.id, None)
        if fault is None or fault.times < 1:
            return None
        self._faults[city.id] = msgspec.structs.replace(fault, times=fault.times - 1)
        return fault


async def _health(_request: Request) -> Response:
    return _json({"status": "ok"})


def _asked(query: Mapping[str, str]) -> City:
    """The city that a call is about: by number, by name, or by place."""
    if query.get("id") or query.get("q"):
        return _named(query.get("id") or query["q"])
    if query.get("lat") and query.get("lon"):
        return _at_place(query["lat"], query["lon"])
    raise _Refused(400, "say which city: q, id, or lat and lon", "400")


def _named(text: str) -> City:
    city = city_by_id(text) or city_by_name(text)
    if city is None:
        raise _Refused(404, "there is no such city here", "404")
    return city


def _at_place(lat: str, lon: str) -> City:
    for name, text, most in (("lat", lat, 90), ("lon", lon, 180)):
        try:
            is_place = abs(float(text)) <= most
        except ValueError:
            is_place = False
        if not is_place:
            raise _Refused(400, f"{name} is no number from -{most} to {most}", "400")
    return nearest_city(float(lat), float(lon))


def _fault(body: bytes) -> Fault:
    try:
        return msgspec.json.decode(body, type=Fault)
    except msgspec.MsgspecError as error:
        raise _Refused(400, f"no fault can be read from that: {error}", "400") from None


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content), status_code=status, media_type="application/json", headers=dict(headers or {})
    )
