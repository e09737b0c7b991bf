"""docker-compose.yaml and Dockerfile, looked at without Docker."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.jars import kafka_version
from local.postgres import postgres_version

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
ONE_SHOT = "airflow-init"


def test_all_services_of_the_embedded_stack_are_there() -> None:
    assert set(SERVICES) == {
        "kafka",
        "postgres",
        "airflow-init",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-api-server",
    }


def test_versions_are_those_of_the_embedded_stack() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    airflow = importlib.metadata.version("apache-airflow")

    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_version()}"
    assert SERVICES["postgres"]["image"] == f"postgres:{postgres_version()}"
    assert f"FROM apache/airflow:{airflow}-python3.11\n" in dockerfile


@pytest.mark.parametrize("service", SERVICES)
def test_every_port_is_bound_to_the_loopback_address(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {ONE_SHOT}))
def test_every_lasting_service_has_a_healthcheck_and_is_restarted(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"]
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_every_variable_has_its_line_in_the_example_and_no_other_line_is_there() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE))
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")

    assert set(re.findall(r"^(\w+)=", example, re.MULTILINE)) == used


def test_every_secret_must_be_given() -> None:
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)([^}]*)\}", COMPOSE)

    assert secrets
    assert all(rest.startswith(":?") for _, rest in secrets)


def test_every_file_that_is_mounted_or_copied_exists() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    mounted = re.findall(r"- (\./\S+?):", COMPOSE)
    copied = [
        source
        for line in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", dockerfile, re.MULTILINE)
        for source in line.split()
    ]

    assert mounted
    assert [path for path in [*mounted, *copied] if not (REPOSITORY / path).exists()] == []
