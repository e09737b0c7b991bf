"""docker-compose.yaml and Dockerfile, looked at without Docker."""

import importlib.metadata
import itertools
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
EXAMPLE = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
ONE_SHOT = "airflow-init"
ONLY_EMBEDDED = {"MICROBATCH_HOME", "MICROBATCH_CONTROLLER_PORT", "REPORTS_FOLDER"}
"""What `make up` reads and containers have no use for."""


def passed_on() -> set[str]:
    """Variables that Airflow's services have only if they are set."""
    return {name for name, value in SERVICES["airflow-scheduler"]["environment"].items() if value is None}


def test_all_services_of_the_embedded_stack_are_there() -> None:
    assert set(SERVICES) == {
        "kafka",
        "postgres",
        "weather-api",
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
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE)) | passed_on()

    assert set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE)) == used | ONLY_EMBEDDED


def test_every_line_of_the_example_has_its_sentence() -> None:
    lines = EXAMPLE.splitlines()
    settings = lines[lines.index("# -- settings of the pipelines and producers") :]

    assert len(settings) > 20
    assert [line for before, line in itertools.pairwise(settings) if "=" in line and not before.startswith("# ")] == []


def test_settings_that_have_a_default_in_the_code_are_left_empty() -> None:
    assert passed_on() >= {"NUMBER_PAIRS_SUM", "LOGINS_MIN_APP_VERSION", "WEATHER_CITIES", "ORDERS_FILE"}
    assert set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)) >= passed_on()


def test_every_secret_must_be_given() -> None:
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)([^}]*)\}", COMPOSE)

    assert secrets
    # A key of one's own for the weather is the one that nobody needs: the mock has its own.
    assert {name for name, rest in secrets if not rest.startswith(":?")} == {"OPENWEATHERMAP_API_KEY"}


def test_the_mock_of_the_weather_gets_its_own_settings_and_no_secret_of_others() -> None:
    mock = SERVICES["weather-api"]

    assert set(mock["environment"]) == {"WEATHER_API_HOST", "WEATHER_API_PORT", "WEATHER_API_KEY"}
    assert mock["entrypoint"] == ["python", "-m", "weather_api"]


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
