"""Containers, embedded stack, .env.example and documentation say the same; what differs is listed here, with why."""

import importlib.metadata
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from compose_file import REPOSITORY, read_env_file, services
from local import kafka, ports, postgres
from local.airflow_services import airflow_environment
from local.credentials import Credentials
from local.jars import kafka_version
from local.postgres import postgres_version

PROFILES = {"celery", "observability"}
EXAMPLE = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
DRAWN = {name: value or "drawn" for name, value in read_env_file(REPOSITORY / ".env.example").items()}
COMPOSE = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
DOCUMENT = (REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8")
SETTINGS = "# -- settings of the pipelines and producers"

ONLY_EMBEDDED = {"MICROBATCH_HOME", "MICROBATCH_CONTROLLER_PORT", "REPORTS_FOLDER"}
"""Variables of .env.example that containers have no use for."""
READ_BY_COMPOSE = {"COMPOSE_PROFILES"}
"""Those that the compose command itself reads."""

HOME = Path("/state")
SAME_PLACE = {
    "kafka:19092": "127.0.0.1:9092",
    "@postgres:": "@127.0.0.1:",
    '"host": "postgres"': '"host": "127.0.0.1"',
    "//airflow-api-server:": "//127.0.0.1:",
    "//weather-api:": "//127.0.0.1:",
    "/opt/airflow/login/": f"{HOME}/airflow/",
    "/opt/airflow/reports": f"{HOME}/reports",
    "/opt/microbatch/": f"{REPOSITORY}/",
}
"""Addresses and paths of containers, and the embedded stack's for the same thing."""

DIFFERS = {
    "AIRFLOW__CORE__EXECUTOR": "the embedded one rests until it is told news, which needs its scheduler's process",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "for that: here the scheduler itself rests",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "`make up` unpauses them when all is there; here nobody does",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "Prometheus has a login here",
}
NOT_IN_CONTAINERS = {
    "AIRFLOW__API__HOST": "inside its container it listens on all addresses",
    "AIRFLOW__API__PORT": "8080, as by default; another one of the machine leads there",
    "AIRFLOW_HOME": "the image's",
    "PATH": "the image's",
    "PYTHONPATH": "the image's",
    "MICROBATCH_HOME": "there is no embedded stack",
    "MICROBATCH_AIRFLOW_COMMAND": "no task gets access to Airflow's database",
}
NOT_EMBEDDED = {
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "the health check asks there; the embedded stack looks at the heartbeat",
    "MICROBATCH_DEPLOYMENT": "the embedded stack hands on what is set",
    "KAFKA_BOOTSTRAP_SERVERS": "for commands in a container; the embedded stack is found by itself",
    "POSTGRES_OWNER_DSN": "likewise",
    "POSTGRES_DSN": "likewise",
    "AIRFLOW__CELERY": "the profile `celery`",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "likewise",
    "AIRFLOW__METRICS__OTEL_ON": "the profile `observability`",
    "AIRFLOW__TRACES__OTEL_ON": "likewise",
    "OTEL_": "likewise",
}
"""Names, or how they begin."""
KAFKA_DIFFERS = {
    "listeners": "one for the network of the containers, one for this machine",
    "advertised.listeners": "likewise",
    "listener.security.protocol.map": "likewise",
    "inter.broker.listener.name": "likewise",
    "log.dirs": "a volume",
}
KAFKA_ONE_HAS = {
    "controller.quorum.bootstrap.servers": "a controller that formatted itself alone",
    "controller.quorum.voters": "the image formats without that option, and needs the voters named",
}


def passed_on() -> set[str]:
    """Variables that Airflow's services have only if they are set."""
    without = services({name: value for name, value in DRAWN.items() if name in required()})
    everything = services(DRAWN)
    return everything["airflow-scheduler"].environment.keys() - without["airflow-scheduler"].environment.keys()


def required() -> set[str]:
    """Variables without which nothing starts."""
    return set(re.findall(r"\$\{(\w+):\?", COMPOSE))


def embedded_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the embedded stack sets for Airflow's processes, with the containers' secrets."""
    monkeypatch.setattr(os, "environ", {})
    return airflow_environment(
        HOME,
        kafka_port=ports.KAFKA.default,
        postgres_port=ports.POSTGRES.default,
        airflow_port=ports.AIRFLOW.default,
        weather_port=ports.WEATHER.default,
        credentials=Credentials(
            airflow_role=DRAWN["AIRFLOW_DB_PASSWORD"],
            microbatch_role=DRAWN["MICROBATCH_DB_PASSWORD"],
            reader_role=DRAWN["READER_DB_PASSWORD"],
            fernet_key=DRAWN["AIRFLOW_FERNET_KEY"],
            jwt_secret=DRAWN["AIRFLOW_JWT_SECRET"],
            weather_api_key=DRAWN["WEATHER_API_KEY"],
        ),
    )


def container_environment() -> dict[str, str]:
    """What containers of Airflow have with nothing but secrets in .env, in the embedded stack's places."""
    found = services({name: value for name, value in DRAWN.items() if name in required()})[
        "airflow-scheduler"
    ].environment
    for ours, theirs in SAME_PLACE.items():
        found = {name: value.replace(ours, theirs) for name, value in found.items()}
    return found


def test_versions_are_those_of_the_embedded_stack() -> None:
    airflow = importlib.metadata.version("apache-airflow")
    found = services(DRAWN)

    assert found["kafka"].image.startswith(f"apache/kafka:{kafka_version()}@")
    assert found["postgres"].image.startswith(f"postgres:{postgres_version()}@")
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {f"apache/airflow:slim-{airflow}-python3.11"}


def test_airflow_is_set_as_in_the_embedded_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    here, embedded = container_environment(), embedded_environment(monkeypatch)

    assert {name for name in here.keys() & embedded.keys() if here[name] != embedded[name]} == set(DIFFERS)
    assert embedded.keys() - here.keys() == set(NOT_IN_CONTAINERS)
    more = here.keys() - embedded.keys()
    assert {name for name in more if not name.startswith(tuple(NOT_EMBEDDED))} == set()
    assert [start for start in NOT_EMBEDDED if not any(name.startswith(start) for name in more)] == []


def test_all_services_of_airflow_have_the_same_settings() -> None:
    found = services(DRAWN, PROFILES)
    common = found["airflow-scheduler"].environment

    assert found["airflow-api-server"].environment == found["airflow-dag-processor"].environment == common
    assert found["airflow-worker"].environment == common | {"DUMB_INIT_SETSID": "0"}
    assert found["airflow-init"].environment.items() >= common.items()


def test_the_image_imports_what_the_embedded_stack_imports_first(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(embedded_environment(monkeypatch)["PYTHONPATH"]).relative_to(REPOSITORY)

    assert f"PYTHONPATH=/opt/microbatch/{folder}\n" in DOCKERFILE


def test_kafka_is_set_as_in_the_embedded_stack() -> None:
    environment = services(DRAWN)["kafka"].environment
    here = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name not in {"CLUSTER_ID", "KAFKA_HEAP_OPTS"}
    }
    written = kafka.server_properties(Path("/data"), ports.KAFKA.default, ports.CONTROLLER.default)
    embedded = dict(line.split("=", 1) for line in written.splitlines())

    assert {name for name in here.keys() & embedded.keys() if here[name] != embedded[name]} == set(KAFKA_DIFFERS)
    assert here.keys() ^ embedded.keys() == set(KAFKA_ONE_HAS)
    assert environment["KAFKA_HEAP_OPTS"] in kafka.JVM_OPTIONS
    assert environment["KAFKA_LISTENERS"].endswith(f"CONTROLLER://:{ports.CONTROLLER.default}")


def test_postgres_is_set_as_in_the_embedded_stack() -> None:
    command = services(DRAWN)["postgres"].command
    assert command
    here = dict(word.split("=", 1) for option, word in itertools.pairwise(command) if option == "-c")

    # Where it listens is the image's affair.
    assert postgres.SETTINGS.items() - here.items() == {
        ("listen_addresses", ports.HOST),
        ("unix_socket_directories", ""),
    }
    assert here.items() <= postgres.SETTINGS.items()


def test_roles_may_do_what_they_may_in_the_embedded_stack() -> None:
    def rights(text: str) -> set[str]:
        return set(re.findall(r"^(?:grant|revoke|alter (?:role \S+ set|default)) .+?(?=;?$)", text, re.MULTILINE))

    script = (REPOSITORY / "deploy" / "compose" / "create-databases.sh").read_text(encoding="utf-8")
    embedded = (REPOSITORY / "include" / "local" / "roles.sql").read_text(encoding="utf-8")
    closed = "revoke all on database {database} from public"

    assert closed in rights(embedded)
    assert rights(script) == rights(embedded) - {closed} | {
        closed.format(database="airflow"),
        closed.format(database="warehouse"),
    }


@pytest.mark.parametrize(
    "wanted", [ports.KAFKA, ports.POSTGRES, ports.AIRFLOW, ports.WEATHER], ids=lambda port: port.component
)
def test_ports_are_those_of_the_embedded_stack(wanted: ports.Wanted) -> None:
    published = {
        name: service.ports
        for name, service in services({**DRAWN, wanted.variable: "12345"}).items()
        if any(":12345:" in port for port in service.ports)
    }

    assert len(published) == 1
    assert f"\n{wanted.variable}={wanted.default}\n" in EXAMPLE
    assert f"${{{wanted.variable}:-{wanted.default}}}" in COMPOSE


def test_default_ports_are_the_same_everywhere_and_no_two_are() -> None:
    by_example = {name: service.ports for name, service in services(DRAWN, PROFILES).items()}
    by_default = services({name: value for name, value in DRAWN.items() if name in required()}, PROFILES)
    published = [port.split(":")[1] for given in by_example.values() for port in given]

    assert {name: service.ports for name, service in by_default.items()} == by_example
    assert len(set(published)) == len(published) == 7
    for name, given in by_example.items():
        for port in given:
            row = re.search(rf"^\| `{name}` \|.*$", DOCUMENT, re.MULTILINE)
            assert row
            assert f"127.0.0.1:{port.split(':')[1]} |" in row[0]


def test_kafka_tells_clients_of_this_machine_the_port_that_leads_to_it() -> None:
    found = services({**DRAWN, "MICROBATCH_KAFKA_PORT": "12345"})["kafka"]

    assert found.ports == ["127.0.0.1:12345:9092"]
    assert "EXTERNAL://127.0.0.1:12345" in found.environment["KAFKA_ADVERTISED_LISTENERS"]
    assert "EXTERNAL://:9092" in found.environment["KAFKA_LISTENERS"]


def test_settings_of_pipelines_and_producers_reach_their_containers() -> None:
    files = [path for folder in ("dags", "include/producers") for path in (REPOSITORY / folder).glob("*.py")]
    read = set(re.findall(r'\bsetting\(\s*"(\w+)"', "".join(path.read_text(encoding="utf-8") for path in files)))
    environment = services(DRAWN)["airflow-scheduler"].environment

    assert {"NUMBER_PAIRS_SUM", "LOGINS_MIN_APP_VERSION"} <= read
    assert read - environment.keys() == {"MICROBATCH_AIRFLOW_COMMAND"}


def test_every_variable_has_its_line_in_the_example_and_no_other_line_is_there() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE)) | passed_on()

    assert set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE)) == used | ONLY_EMBEDDED | READ_BY_COMPOSE


def test_every_secret_and_setting_of_the_example_has_its_sentence() -> None:
    ports_part = "# -- ports on this machine, and names"
    lines = [line for line in EXAMPLE.splitlines() if line]
    start, end = (next(at for at, line in enumerate(lines) if line.startswith(part)) for part in (ports_part, SETTINGS))
    told = lines[:start] + lines[end:]

    assert len(told) > 60
    assert [line for before, line in itertools.pairwise(told) if "=" in line and not before.startswith("# ")] == []


def test_settings_that_have_a_default_in_the_code_are_left_empty() -> None:
    assert passed_on() >= {"NUMBER_PAIRS_SUM", "LOGINS_MIN_APP_VERSION", "WEATHER_CITIES", "ORDERS_FILE"}
    assert set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)) >= passed_on()


def test_the_example_has_the_defaults() -> None:
    given = {name: value for name, value in read_env_file(REPOSITORY / ".env.example").items() if value}
    only_required = {name: value for name, value in DRAWN.items() if name in required()}

    assert services(only_required | given, PROFILES) == services(only_required, PROFILES)


def test_the_document_names_variables_that_there_are() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:__?[A-Z0-9]+)+\b", DOCUMENT))

    assert {"AIRFLOW_ADMIN_PASSWORD", "COMPOSE_PROFILES", "MICROBATCH_EXECUTOR"} <= named
    assert named - DRAWN.keys() - services(DRAWN)["airflow-scheduler"].environment.keys() == set()


def test_another_compose_command_reads_the_same(tmp_path: Path) -> None:
    """podman-compose as a program: it wants a podman, of which it only asks the version here."""
    (tmp_path / "podman").write_text("#!/bin/sh\necho 'podman version 5.0.0'\n", encoding="utf-8")
    (tmp_path / "podman").chmod(0o755)
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in DRAWN.items()), encoding="utf-8")
    profiles = [f"--profile={profile}" for profile in sorted(PROFILES)]
    program = Path(sys.executable).with_name("podman-compose")

    done = subprocess.run(
        [program, "--file", REPOSITORY / "docker-compose.yaml", "--env-file", tmp_path / "env", *profiles, "config"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    theirs = yaml.safe_load(done.stdout)["services"]
    ours = services(DRAWN, PROFILES)
    assert theirs.keys() == ours.keys()
    for name, service in ours.items():
        for field in ("image", "command", "entrypoint", "user", "healthcheck", "depends_on", "volumes"):
            assert theirs[name].get(field) == service.fields.get(field)
        # What is handed on from .env, it looks up later.
        set_there = {key: value for key, value in theirs[name].get("environment", {}).items() if value is not None}
        handed_on = passed_on() if name.startswith("airflow-") else set()
        assert set_there == {key: value for key, value in service.environment.items() if key not in handed_on}
