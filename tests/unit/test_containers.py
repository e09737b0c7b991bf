"""docker-compose.yaml and the Dockerfile, looked at without Docker: what starts, as whom, with what, in which order."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compose_file import REPOSITORY, Service, read_env_file, services

PROFILES = {"celery", "observability"}
DRAWN = {name: value or "drawn" for name, value in read_env_file(REPOSITORY / ".env.example").items()}
ALL = services(DRAWN, PROFILES)
AIRFLOW = {name: service for name, service in ALL.items() if name.startswith("airflow-")}
OURS = {name: service for name, service in ALL.items() if service.image == "microbatch-airflow"}
ONE_SHOT = "airflow-init"
WITHOUT_SHELL = "otel-collector"
"""Its image has one program, and that one cannot ask whether it is well."""
ACCOUNTS = {
    "kafka": "appuser",
    "postgres": "999:999",
    "kafka-ui": "kafkaui",
    "grafana": "472:0",
    "redis": "999:1000",
    "prometheus": "65534:65534",
    "otel-collector": "10001:10001",
    **dict.fromkeys(OURS, "50000:0"),
}
"""As whom each service runs: the accounts that the images have for it."""
WRITES = {"kafka", *AIRFLOW}
"""Services that write into their image's file system: settings, and what Airflow keeps in its home."""
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
DOCUMENT = (REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8")


def test_what_starts_depends_on_the_profiles() -> None:
    always = {"kafka", "postgres", "weather-api", "kafka-ui", "grafana", *AIRFLOW} - {"airflow-worker"}

    assert set(services(DRAWN)) == always
    assert set(services(DRAWN, {"celery"})) == always | {"redis", "airflow-worker"}
    assert set(services(DRAWN, {"observability"})) == always | {"prometheus", "prometheus-login", "otel-collector"}


@pytest.mark.parametrize("service", ALL.values(), ids=lambda service: service.name)
def test_nobody_is_root_or_becomes_it(service: Service) -> None:
    assert service.fields["user"] == ACCOUNTS[service.name]
    assert service.fields["cap_drop"] == ["ALL"]
    assert service.fields["security_opt"] == ["no-new-privileges:true"]
    assert not set(service.fields) & {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"}


@pytest.mark.parametrize("service", ALL.values(), ids=lambda service: service.name)
def test_no_service_takes_the_whole_machine(service: Service) -> None:
    assert re.fullmatch(r"[0-9]+[mg]", service.fields["mem_limit"])
    assert service.fields["pids_limit"] <= 1024
    # More than the machine has is an error of Docker's, and it may have one.
    assert service.fields.get("cpus", 1) <= 1
    assert service.fields["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("service", ALL.values(), ids=lambda service: service.name)
def test_file_systems_are_read_only_but_where_it_is_said(service: Service) -> None:
    folders = [volume for volume in service.volumes if volume.startswith(".")]

    assert service.fields.get("read_only", False) is (service.name not in WRITES)
    assert [folder for folder in folders if not folder.endswith(":ro")] == []


@pytest.mark.parametrize("service", ALL.values(), ids=lambda service: service.name)
def test_every_port_is_bound_to_the_loopback_address(service: Service) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:[0-9]+:[0-9]+", port) for port in service.ports)


def test_any_number_of_workers_can_be_started() -> None:
    worker = ALL["airflow-worker"]

    assert worker.ports == []
    assert not set(worker.fields) & {"container_name", "hostname"}


@pytest.mark.parametrize("name", sorted(set(ALL) - {ONE_SHOT, WITHOUT_SHELL}))
def test_every_lasting_service_says_how_it_is(name: str) -> None:
    check = ALL[name].fields["healthcheck"]

    assert ALL[name].healthcheck
    assert set(check) == {"test", "start_period", "start_interval", "interval", "timeout", "retries"}
    assert ALL[name].fields["restart"] == "unless-stopped"


def test_what_is_waited_for_can_be_waited_for() -> None:
    for name, service in ALL.items():
        for other, condition in service.depends_on.items():
            assert other in services(DRAWN, set(service.fields.get("profiles", []))), (name, other)
            assert condition == ("service_completed_successfully" if other == ONE_SHOT else "service_healthy")
    assert ALL["airflow-init"].depends_on.keys() == {"kafka", "postgres"}
    assert all(ONE_SHOT in service.depends_on for name, service in AIRFLOW.items() if name != ONE_SHOT)
    assert "redis" in ALL["airflow-worker"].depends_on


def test_images_are_named_by_version_and_digest() -> None:
    others = {name: service.image for name, service in ALL.items() if name not in OURS}

    assert [
        image for image in others.values() if not re.fullmatch(r"[^:@]+:v?[0-9.]+[^:@]*@sha256:[0-9a-f]{64}", image)
    ] == []
    assert all(service.fields["build"] == {"context": "."} for service in OURS.values())


def test_no_secret_is_part_of_a_command_or_a_health_check() -> None:
    secrets = {name: f"secret-{name}" for name in DRAWN if re.search(r"PASSWORD|SECRET|_KEY$", name)}

    for service in services(DRAWN | secrets, PROFILES).values():
        shown = f"{service.entrypoint} {service.command} {service.healthcheck} {service.fields.get('labels')}"
        assert "secret-" not in shown, service.name


SECRETS = {
    "kafka": set(),
    "postgres": {"POSTGRES_SUPERUSER_PASSWORD", "AIRFLOW_DB_PASSWORD", "MICROBATCH_DB_PASSWORD", "READER_DB_PASSWORD"},
    "weather-api": {"WEATHER_API_KEY"},
    "kafka-ui": {"KAFKA_UI_PASSWORD"},
    "grafana": {"GRAFANA_ADMIN_PASSWORD", "READER_DB_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
    "prometheus": set(),
    "prometheus-login": {"PROMETHEUS_PASSWORD"},
    "otel-collector": set(),
}
FOR_AIRFLOW = {
    *("AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_DB_PASSWORD", "REDIS_PASSWORD"),
    *("MICROBATCH_DB_PASSWORD", "READER_DB_PASSWORD", "WEATHER_API_KEY"),
}


@pytest.mark.parametrize("name", ALL)
def test_every_service_gets_the_secrets_that_it_needs_and_no_others(name: str) -> None:
    secrets = {name: f"secret-{name}-" for name in DRAWN if re.search(r"PASSWORD|SECRET|_KEY$", name)}
    secrets["OPENWEATHERMAP_API_KEY"] = ""
    values = "\n".join(services(DRAWN | secrets, PROFILES)[name].environment.values())
    more = {"AIRFLOW_ADMIN_PASSWORD", "PROMETHEUS_PASSWORD"} if name == ONE_SHOT else set()

    assert set(re.findall(r"secret-(\w+)-", values)) == SECRETS.get(name, FOR_AIRFLOW | more)


def test_every_secret_must_be_given() -> None:
    text = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*)([^}]*)\}", text)

    assert {rest for _, rest in secrets} == {
        ":?run deploy/compose/make-env.sh",
        ":-${WEATHER_API_KEY:?run deploy/compose/make-env.sh",
    }
    with pytest.raises(ValueError, match=r"required variable \w+ is missing a value: run deploy/compose/make-env\.sh"):
        services({})


def test_every_volume_is_declared_and_described() -> None:
    named = {
        volume.split(":")[0] for service in ALL.values() for volume in service.volumes if not volume.startswith(".")
    }
    text = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")
    declared = set(re.findall(r"^  ([a-z-]+):$", text.split("\nvolumes:\n")[1], re.MULTILINE))

    assert declared == named
    assert [name for name in named if f"`{name}`" not in DOCUMENT] == []


def test_every_file_that_is_mounted_or_run_exists_and_may_be_run() -> None:
    mounted = [volume.split(":")[0] for service in ALL.values() for volume in service.volumes if volume.startswith(".")]
    scripts = sorted((REPOSITORY / "deploy" / "compose").rglob("*.sh"))

    assert [path for path in mounted if not (REPOSITORY / path).exists()] == []
    assert len(scripts) >= 3
    assert [script for script in scripts if not os.access(script, os.X_OK)] == []
    for script in scripts:
        interpreter = script.read_text(encoding="utf-8").splitlines()[0]
        assert interpreter in {"#!/bin/sh", "#!/usr/bin/env bash"}
        subprocess.run([interpreter.replace("env ", "").split("/")[-1], "-n", script], check=True)


def copied() -> list[str]:
    """What the Dockerfile takes from the checkout."""
    return [
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in shlex.split(line)
    ]


def test_the_image_is_made_of_files_that_reach_the_build_and_holds_what_is_run_in_it() -> None:
    let_in = re.findall(r"^!(\S+)$", (REPOSITORY / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    run = [
        word.removeprefix("/opt/microbatch/")
        for service in OURS.values()
        for word in [*(service.entrypoint or []), *(service.command or [])]
        if word.startswith("/")
    ]

    assert [source for source in copied() if source.split("/")[0] not in let_in] == []
    assert [source for source in copied() if not (REPOSITORY / source).exists()] == []
    assert set(run) <= set(copied())
    assert sorted(let_in) == sorted({source.split("/")[0] for source in copied()})


def test_volumes_are_mounted_where_the_image_has_a_folder_of_the_account() -> None:
    made = re.search(r"^RUN install -d -m 0775 (.+)$", DOCKERFILE, re.MULTILINE)
    mounted = {volume.split(":")[1] for service in OURS.values() for volume in service.volumes}

    assert made
    assert set(made[1].split()) == mounted


def test_the_image_is_built_in_two_stages_of_locked_packages_and_runs_as_no_root() -> None:
    build, last = DOCKERFILE.split("\n\n\n")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

    assert build.count("\nFROM ") == last.count("\nFROM ") == 1
    assert re.findall(r"-m pip install (?!--no-deps --require-hashes|--no-build-isolation --no-deps)", DOCKERFILE) == []
    assert not re.search(r"apt-get|pip|--mount|^ADD", last, re.MULTILINE)
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["50000:0"]
    assert f'image.version="{project["project"]["version"]}"' in last
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


def test_both_locks_of_the_image_agree() -> None:
    both = [
        dict(re.findall(r"^([\w.-]+)==([\w.]+)", (REPOSITORY / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.txt", "requirements-build.txt")
    ]

    assert both[1]["hatchling"]
    assert {name: both[0].get(name, version) for name, version in both[1].items()} == both[1]


def test_the_dockerfile_is_clean() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", REPOSITORY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (linted.stdout, linted.returncode) == ("", 0)


def test_the_document_has_every_service_with_its_account() -> None:
    def rows(heading: str) -> dict[str, list[str]]:
        part = DOCUMENT.split(f"\n{heading}\n")[1].split("\n## ")[0]
        cells = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if line.startswith("| `")
        ]
        return {name.strip("`"): rest for first, *rest in cells for name in first.split(", ")}

    what_runs, closed_off = rows("## What runs"), rows("## How it is closed off")

    assert set(what_runs) == set(ALL)
    assert set(closed_off) == set(ALL) - set(AIRFLOW) | {"airflow-…"}
    for name, (account, files) in closed_off.items():
        service = ALL["airflow-scheduler" if name == "airflow-…" else name]
        assert account.strip("`").replace(", group ", ":") in {
            ACCOUNTS[service.name],
            ACCOUNTS[service.name].split(":")[0],
        }
        assert (files == "read-only") is (service.name not in WRITES)
