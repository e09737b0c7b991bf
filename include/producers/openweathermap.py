"""A client of OpenWeatherMap's current weather API. It tries again where that helps, and its key shows nowhere.

The service wants the key in the address of each request, and addresses get into logs and errors. So httpx is given
addresses without it: the key is added below, by the transport, when the bytes are about to leave.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self
from urllib.request import getproxies, proxy_bypass

import httpx
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from microbatch.clock import Clock
from microbatch.errors import SettingMissingError, SettingWrongError, TerminalError, TransientError
from microbatch.settings import setting

KEY: Final = "OPENWEATHERMAP_API_KEY"
URL: Final = "OPENWEATHERMAP_URL"
SERVICE: Final = "https://api.openweathermap.org"
UNITS: Final = ("standard", "metric", "imperial")
CITIES: Final = ("Berlin", "Paris", "New York", "Cairo", "Tokyo")

_PATH: Final = "/data/2.5/weather"
_AT_ONCE: Final = 8  # requests
_MOST_BYTES: Final = 100_000  # an answer has about 600; Kafka takes messages of up to 1 MB
_BUSY: Final = httpx.codes.TOO_MANY_REQUESTS

log: Final = logging.getLogger("producers")


class KeyRefusedError(TerminalError):
    """The service does not accept the key."""

    message = (
        "{url} refuses the key in OPENWEATHERMAP_API_KEY ({status}); correct it, or leave it and OPENWEATHERMAP_URL "
        "out: `make up` then has a mock of the service"
    )


class CityUnknownError(TerminalError):
    """The service does not know a city."""

    message = "{url} knows no city {city!r}; correct it in WEATHER_CITIES, by name or by the service's number"


class RequestRefusedError(TerminalError):
    """The service takes a request for wrong."""

    message = "{url} refuses the request for {city!r} ({status}); correct OPENWEATHERMAP_URL, or WEATHER_CITIES"


class NotAvailableError(TransientError):
    """The service gave no weather of a city, and may give it later."""

    message = "{url} gave no weather of {city!r} ({reason}); the next run asks again"


class Service(msgspec.Struct, frozen=True):
    """Which service is asked, and how.

    Attributes:
        url: up to where the API's paths begin.
        units: of temperatures and speeds, one of `UNITS`.
    """

    url: str
    key: str
    units: str

    def __repr__(self) -> str:
        """Without the key: values end up in logs and tracebacks."""
        return f"Service({self.url}, {self.units})"


class Patience(msgspec.Struct, frozen=True):
    """How long a client waits, in seconds, and how often it tries.

    Attributes:
        attempt_s: for an answer, from connecting to its last byte.
        backoff_s: before the second try; twice as long before each further one, and up to as much again by chance.
        all_s: for all tries together; none begins later.
    """

    connect_s: float = 3.0
    attempt_s: float = 8.0
    attempts: int = 5
    backoff_s: float = 0.5
    longest_backoff_s: float = 8.0
    all_s: float = 45.0


class Reading(msgspec.Struct, frozen=True):
    """The answer about a city.

    Attributes:
        city_id: its number at the service.
        body: the JSON, as it came.
        at: when it was there.
    """

    city_id: int
    body: bytes
    at: datetime


class _Answer(msgspec.Struct):
    """What an answer must have to be one."""

    id: int
    dt: int


def service() -> Service:
    """The service that the environment names.

    Raises:
        SettingMissingError: there is no key.
        SettingWrongError: the address or the units cannot be meant.
    """
    key = setting(KEY, "")
    if not key:
        raise SettingMissingError(setting=KEY, remedy="`make up` sets that of its mock; the real service gives you one")
    url, units = setting(URL, SERVICE).rstrip("/"), setting("WEATHER_UNITS", "metric", "|".join(UNITS))
    if not _is_address(url):
        raise SettingWrongError(setting=URL, value=url, form="http(s)://HOST[:PORT]", example=SERVICE)
    return Service(url, key, units)


def _is_address(url: str) -> bool:
    try:
        return httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False


def cities() -> list[str]:
    """The cities to ask for: names, or the service's numbers; each once."""
    return list(dict.fromkeys(setting("WEATHER_CITIES", list(CITIES))))


class Client:
    """Asks for the weather of cities, several at once. To be used with `async with`."""

    def __init__(self, service: Service, patience: Patience | None = None, clock: Clock | None = None) -> None:
        self._service = service
        self._patience = patience or Patience()
        self._clock = clock or Clock()
        self._begun_s = self._clock.monotonic_s()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._http = httpx.AsyncClient(
            transport=_AddingKey(service),
            timeout=httpx.Timeout(self._patience.attempt_s, connect=self._patience.connect_s),
            headers={"Accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def read(self, city: str) -> Reading:
        """The weather of a city now.

        Raises:
            KeyRefusedError: trying again does not help, and neither does asking for another city.
            CityUnknownError: nor here.
            RequestRefusedError: nor here.
            NotAvailableError: no try gave an answer, or the time is up.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NotAvailableError),
            wait=self._wait_s,
            stop=stop_after_attempt(self._patience.attempts) | stop_before_delay(self._left_s()),
            before_sleep=_say,
            reraise=True,
        )
        return await retrying(self._try, city)

    async def _try(self, city: str) -> Reading:
        async with self._turns:
            try:
                # httpx has no limit for a whole answer: one that comes byte by byte would never end.
                async with asyncio.timeout(max(0.0, min(self._patience.attempt_s, self._left_s()))):
                    response = await self._http.get(f"{self._service.url}{_PATH}", params=self._query(city))
            except TimeoutError:
                raise self._not_available(city, "no answer in time") from None
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise self._not_available(city, str(error) or type(error).__name__) from None
        self._refuse(city, response)
        if len(response.content) > _MOST_BYTES:
            raise self._not_available(city, f"what it answers is no weather: it has {len(response.content):,} bytes")
        try:
            answer = msgspec.json.decode(response.content.decode(), type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._not_available(city, f"what it answers is no weather: {error}") from None
        return Reading(answer.id, response.content, self._clock.now())

    def _query(self, city: str) -> dict[str, str]:
        return {"id" if city.isdecimal() else "q": city, "units": self._service.units}

    def _refuse(self, city: str, response: httpx.Response) -> None:
        """Raise what a status means; nothing for 200. The body is not shown: who knows what is in it."""
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.UNAUTHORIZED:
            raise KeyRefusedError(url=self._service.url, status=status)
        if status == httpx.codes.NOT_FOUND:
            raise CityUnknownError(url=self._service.url, city=city)
        if status == _BUSY or response.is_server_error:
            after_s = retry_after_s(response.headers, self._clock.now())
            raise self._not_available(city, f"status {status}", retry_after_s=after_s)
        raise RequestRefusedError(url=self._service.url, city=city, status=status)

    def _not_available(self, city: str, reason: str, retry_after_s: float = 0.0) -> NotAvailableError:
        return NotAvailableError(url=self._service.url, city=city, reason=reason, retry_after_s=retry_after_s)

    def _wait_s(self, state: RetryCallState) -> float:
        """The backoff, or longer if the service says so."""
        base_s = self._patience.backoff_s
        backoff = wait_exponential_jitter(multiplier=base_s, max=self._patience.longest_backoff_s, jitter=base_s)
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.facts["retry_after_s"] if isinstance(error, NotAvailableError) else 0.0
        return max(backoff(state), asked_s)

    def _left_s(self) -> float:
        return self._begun_s + self._patience.all_s - self._clock.monotonic_s()


class _AddingKey(httpx.AsyncHTTPTransport):
    """Adds the key to the requests, on a copy that nobody else sees."""

    def __init__(self, service: Service) -> None:
        super().__init__(proxy=_proxy(httpx.URL(service.url)))
        self._key = service.key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with_key = httpx.Request(
            request.method,
            request.url.copy_merge_params({"appid": self._key}),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return await super().handle_async_request(with_key)


def _proxy(url: httpx.URL) -> str | None:
    """What HTTPS_PROXY, NO_PROXY and so on say; httpx looks at them only for a transport of its own."""
    proxies = {} if proxy_bypass(url.host) else getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float:
    """How many seconds the header Retry-After asks for, as a number or as a time; 0 without one that can be read."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    # RFC 9110 has it in GMT; one that says "-0000" comes without a zone.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, NotAvailableError):
        log.info("%s: %s; once more in %.1f s", error.facts["city"], error.facts["reason"], state.upcoming_sleep)
