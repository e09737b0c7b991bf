"""deploy/compose/make-env.sh, which draws the secrets of the containers."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from compose_file import REPOSITORY, read_env_file, services

NEEDED = ("base64", "dd", "dirname", "mv", "od", "rm", "sh", "tr")
"""All programs that it may use: they are in the smallest systems too."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, the example that it reads, and the programs that it may use."""
    (tmp_path / "deploy" / "compose").mkdir(parents=True)
    shutil.copy(REPOSITORY / "deploy" / "compose" / "make-env.sh", tmp_path / "deploy" / "compose")
    shutil.copy(REPOSITORY / ".env.example", tmp_path)
    (tmp_path / "bin").mkdir()
    for program in NEEDED:
        found = shutil.which(program)
        assert found, program
        (tmp_path / "bin" / program).symlink_to(found)
    return tmp_path


def make_env(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run it, from another folder."""
    return subprocess.run(
        [checkout / "bin" / "sh", checkout / "deploy" / "compose" / "make-env.sh"],
        cwd="/",
        env={"PATH": str(checkout / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_secret_is_drawn_and_nothing_else_is_changed(checkout: Path) -> None:
    done = make_env(checkout)

    example, drawn = read_env_file(checkout / ".env.example"), read_env_file(checkout / ".env")
    secrets = {name for name in example if re.search(r"PASSWORD|SECRET|FERNET_KEY|CLUSTER_ID|WEATHER_API_KEY", name)}
    assert (done.returncode, done.stderr) == (0, "")
    assert {name for name in example if drawn[name] != example[name]} == secrets
    assert len({drawn[name] for name in secrets}) == len(secrets) == 13
    passwords = [drawn[name] for name in secrets - {"AIRFLOW_FERNET_KEY", "KAFKA_CLUSTER_ID"}]
    # 192 bits, in nothing that a URL, JSON or a shell would take for something else.
    assert [password for password in passwords if not re.fullmatch(r"(mock-)?[0-9a-f]{48}", password)] == []
    Fernet(drawn["AIRFLOW_FERNET_KEY"])
    assert len(base64.urlsafe_b64decode(drawn["KAFKA_CLUSTER_ID"] + "==")) == 16


def test_what_it_wrote_starts_the_containers(checkout: Path) -> None:
    make_env(checkout)
    drawn = read_env_file(checkout / ".env")

    started = services(drawn, {"celery", "observability"})

    assert started["postgres"].environment["READER_DB_PASSWORD"] == drawn["READER_DB_PASSWORD"]
    assert (
        started["redis"].environment["REDISCLI_AUTH"]
        in started["airflow-worker"].environment["AIRFLOW__CELERY__BROKER_URL"]
    )
    # The mock's clients tell by its beginning that it is none of one's own.
    assert started["airflow-scheduler"].environment["OPENWEATHERMAP_API_KEY"].startswith("mock-")


def test_only_the_owner_may_read_it_and_it_shows_none(checkout: Path) -> None:
    done = make_env(checkout)

    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert not any(value in done.stdout for value in read_env_file(checkout / ".env").values() if len(value) > 20)


def test_another_run_draws_others_but_never_over_those_that_are_there(checkout: Path) -> None:
    make_env(checkout)
    first = read_env_file(checkout / ".env")

    refused = make_env(checkout)
    kept = read_env_file(checkout / ".env")
    (checkout / ".env").unlink()
    make_env(checkout)

    assert refused.returncode == 1
    assert ".env is there already" in refused.stderr
    assert kept == first
    assert read_env_file(checkout / ".env")["AIRFLOW_JWT_SECRET"] != first["AIRFLOW_JWT_SECRET"]


@pytest.mark.parametrize("broken", ["od", "base64"])
def test_where_nothing_random_comes_nothing_is_written(checkout: Path, broken: str) -> None:
    (checkout / "bin" / broken).unlink()
    (checkout / "bin" / broken).write_text("#!/bin/sh\ncat > /dev/null 2>&1 < /dev/null\n")
    (checkout / "bin" / broken).chmod(0o755)

    done = make_env(checkout)

    assert done.returncode == 1
    assert "no secret could be drawn" in done.stderr
    assert [path.name for path in checkout.glob(".env*")] == [".env.example"]
