"""Which port each component gets: the wanted one, or the next free one, and then always the same."""

import os
import random
import socket
from pathlib import Path

import msgspec

from local.errors import PortError
from local.files import read_json, write_json

HOST = "127.0.0.1"
PRIVATE = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections."""


class Wanted(msgspec.Struct, frozen=True):
    """The port that a component should have, and the variable that says so."""

    component: str
    variable: str
    default: int


class Kept(msgspec.Struct, frozen=True):
    """The port that a component has, and the one that was wanted when it was chosen."""

    port: int
    wanted: int


KAFKA = Wanted("kafka", "MICROBATCH_KAFKA_PORT", 9092)
CONTROLLER = Wanted("kafka-controller", "MICROBATCH_CONTROLLER_PORT", 19093)
POSTGRES = Wanted("postgres", "MICROBATCH_POSTGRES_PORT", 5432)
AIRFLOW = Wanted("airflow", "MICROBATCH_AIRFLOW_PORT", 8080)
WEATHER = Wanted("weather-api", "MICROBATCH_WEATHER_PORT", 8090)


def wanted_port(wanted: Wanted, environment: dict[str, str]) -> int:
    """The port that the environment asks for, or the default."""
    text = environment.get(wanted.variable, "")
    if not text:
        return wanted.default
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise PortError(what=f"{wanted.variable}={text!r} is no port", variable=wanted.variable)
    return int(text)


def is_free(port: int) -> bool:
    """Whether nobody listens on the port. Asked twice: macOS lets one bind beside a wildcard listener."""
    with socket.socket() as client:
        client.settimeout(0.5)
        if client.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
    return True


def next_free(start: int, taken: frozenset[int] = frozenset()) -> int:
    """The first free port from `start` on that is not promised to another component."""
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise PortError(what=f"no port from {start} on is free", variable=f"MICROBATCH_..._PORT (not {start})")


def random_free(taken: frozenset[int] = frozenset(), among: range = PRIVATE) -> int:
    """A free port from a random one of a range on, for what a test or a benchmark starts."""
    return next_free(random.SystemRandom().choice(among), taken)


def kept_ports(home: Path) -> dict[str, Kept]:
    """The ports that were chosen before, by component."""
    return read_json(home / "ports.json", dict[str, Kept]) or {}


def choose_port(home: Path, wanted: Wanted, *, running: bool = False) -> Kept:
    """Choose the port of a component and keep it.

    A port that was chosen before stays, unless another one is wanted now or somebody else took it; while the
    component itself is running it stays in any case.
    """
    kept = kept_ports(home)
    before = kept.get(wanted.component)
    if running and before is not None:
        return before
    want = wanted_port(wanted, dict(os.environ))
    first = before.port if before is not None and before.wanted == want else want
    taken = frozenset(other.port for name, other in kept.items() if name != wanted.component)
    chosen = Kept(next_free(first, taken), want)
    if chosen != before:
        write_json(home / "ports.json", {**kept, wanted.component: chosen})
    return chosen
