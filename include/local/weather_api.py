"""The mock of OpenWeatherMap as a process of the stack, and what its clients have to know."""

import http.client
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from local import process
from local.credentials import MOCK, Credentials
from local.ports import HOST

COMPONENT = "weather-api"
READY_S = 120.0
TIMEOUT_S = 2.0
KEY = "OPENWEATHERMAP_API_KEY"
URL = "OPENWEATHERMAP_URL"


def start_weather_api(home: Path, port: int, credentials: Credentials) -> process.Record:
    """Start the mock. Returns before it answers."""
    launch = process.Launch(
        component=COMPONENT,
        arguments=[sys.executable, "-m", "weather_api"],
        folder=home,
        environment={
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "WEATHER_API_HOST": HOST,
            "WEATHER_API_PORT": str(port),
            "WEATHER_API_KEY": credentials.weather_api_key,
        },
        log=home / "log" / f"{COMPONENT}.log",
        port=port,
        stop_deadline_s=5.0,
    )
    return process.start(home, launch)


def wait_for_weather_api(record: process.Record) -> None:
    """Wait until it answers."""
    process.wait_until_ready(record, lambda: unready(record.port or 0), READY_S)


def unready(port: int) -> str | None:
    """Why it cannot be used yet; None if it can."""
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", "/health")
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{HOST}:{port} does not answer: {error}"
    return None if status == http.client.OK else f"it answers with status {status}"


def weather_variables(port: int, credentials: Credentials, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which clients find the mock; none if the environment has a key of one's own.

    The key of a mock is none of one's own: it may come from `microbatch env` before a `make reset`.
    """
    key = environment.get(KEY, "")
    if key and not key.startswith(MOCK):
        return {}
    return {URL: f"http://{HOST}:{port}", KEY: credentials.weather_api_key}
