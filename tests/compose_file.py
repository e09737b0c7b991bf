"""docker-compose.yaml as a compose command reads it: merged, interpolated, each service as its container would get it.

YAML's anchors and `<<` are PyYAML's; `${NAME:-default}` and `${NAME:?message}` are those of podman-compose, whose
functions need no program.
"""

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from podman_compose import normalize_service, var_interpolate

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE_FILE = REPOSITORY / "docker-compose.yaml"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service as `docker compose up` would start it."""

    name: str
    image: str
    entrypoint: list[str] | None
    """None: that of the image."""
    command: list[str] | None
    """None: that of the image; else the entrypoint's arguments."""
    environment: dict[str, str]
    """What the file sets; what the image sets is not in it."""
    healthcheck: list[str] | str | None
    """The program with its arguments, or a line for the image's `/bin/sh`; None if there is no health check."""
    depends_on: dict[str, str]
    """Services that it waits for, with the condition: `service_healthy`, `service_completed_successfully`, …"""
    ports: list[str]
    """`address:port on this machine:port of the container`."""
    volumes: list[str]
    """`volume or path:path in the container[:ro]`."""
    fields: dict[str, Any]
    """All that the file says of the service, the above too."""


def services(environment: Mapping[str, str], profiles: Collection[str] = ()) -> dict[str, Service]:
    """The services that start with these variables (`.env` and the shell) and profiles, by name.

    Raises:
        ValueError: a variable is missing that must be set; the text names it.
    """
    variables = tuple(environment.items())
    return {
        name: _service(name, _interpolated(fields, variables), environment)
        for name, fields in _written().items()
        if "profiles" not in fields or set(profiles) & set(fields["profiles"])
    }


@cache
def _written() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
    return found


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file such as `.env`, whose values need no quotes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _interpolated(value: Any, variables: tuple[tuple[str, str], ...]) -> Any:
    match value:
        case dict():
            return {key: _interpolated(part, variables) for key, part in value.items()}
        case list():
            return [_interpolated(part, variables) for part in value]
        case str() if "$" in value:
            return _interpolated_text(value, variables)
        case _:
            return value


@cache
def _interpolated_text(value: str, variables: tuple[tuple[str, str], ...]) -> str:
    """It takes podman-compose milliseconds, and Airflow's services have the same settings."""
    text: str = var_interpolate(value, dict(variables))
    return text


def _service(name: str, fields: dict[str, Any], environment: Mapping[str, str]) -> Service:
    fields = normalize_service(fields)
    return Service(
        name=name,
        image=fields["image"],
        entrypoint=fields.get("entrypoint"),
        command=fields.get("command"),
        environment=_container_environment(fields.get("environment", {}), environment),
        healthcheck=_healthcheck(fields.get("healthcheck")),
        depends_on={other: how["condition"] for other, how in fields.get("depends_on", {}).items()},
        ports=fields.get("ports", []),
        volumes=fields.get("volumes", []),
        fields=fields,
    )


def _container_environment(given: dict[str, str | None], environment: Mapping[str, str]) -> dict[str, str]:
    """A variable without a value is handed on if it is set, and is not there else."""
    handed_on = {name: environment[name] for name, value in given.items() if value is None and name in environment}
    return handed_on | {name: value for name, value in given.items() if value is not None}


def _healthcheck(given: dict[str, Any] | None) -> list[str] | str | None:
    if given is None:
        return None
    test: list[str] = given["test"]
    return test[1] if test[0] == "CMD-SHELL" else test[1:]
