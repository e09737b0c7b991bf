"""The mock of the weather API, as a process of its own."""

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from free_ports import random_free
from local.home import REPOSITORY
from local.ports import HOST
from local.weather_api import unready
from microbatch.clock import Clock
from producers.openweathermap import Service

KEY = "mock-key-of-a-test/+&"
"""With signs that an address has to quote."""

START_S = 120.0


class Mock(msgspec.Struct, frozen=True):
    """A running mock."""

    url: str

    @property
    def service(self) -> Service:
        """How a client reaches it."""
        return Service(self.url, KEY, "metric")

    def fault(self, city: str, fault: str, times: int = 1, seconds: float = 3.0) -> None:
        """Let the next answers about a city go wrong."""
        query = urllib.parse.urlencode({"appid": KEY})
        body = json.dumps({"city": city, "fault": fault, "times": times, "seconds": seconds}).encode()
        with urllib.request.urlopen(self._put(f"{self.url}/faults?{query}", body), timeout=60) as answer:  # noqa: S310
            assert answer.status == 200

    def _put(self, url: str, body: bytes) -> urllib.request.Request:
        return urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")  # noqa: S310


@contextmanager
def running_mock(**environment: Any) -> Iterator[Mock]:
    """`python -m weather_api` on a free port, until the block is left."""
    port = random_free()
    ours = {"WEATHER_API_PORT": port, "WEATHER_API_KEY": KEY, "PYTHONPATH": REPOSITORY / "include"}
    command = [sys.executable, "-m", "weather_api"]
    settings = {name: str(value) for name, value in (ours | environment).items()}
    with subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(process, port)
            yield Mock(f"http://{HOST}:{port}")
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=120)
    assert KEY not in errors, "the key is in the mock's log"
    assert "/data/2.5/weather" not in errors, "the mock logs addresses, which have keys"


def _wait(process: "subprocess.Popen[str]", port: int) -> None:
    clock = Clock()
    until_s = clock.monotonic_s() + START_S
    while (reason := unready(port)) is not None:
        assert process.poll() is None, "the mock ended at once"
        assert clock.monotonic_s() < until_s, reason
        clock.sleep(0.05)
