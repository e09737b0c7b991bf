"""The wheel in somebody's own Airflow: docs/existing-airflow.md, run as it stands there.

An environment of its own has Airflow and nothing else, in a folder that is laid out as Astro's; Kafka and PostgreSQL
are those of the test run. Versions are those that are locked, so packages come from uv's cache.
"""

import email
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import make_conninfo

from fix_stack import Stack
from local.home import REPOSITORY
from local.ports import HOST
from shell_pages import DOCS, Did, Step, blocks_of, check_step, printed_by, run_steps, steps_of

PATIENCE_S: Final = 540
pytestmark = pytest.mark.timeout(PATIENCE_S + 60)

PAGE: Final = DOCS / "existing-airflow.md"
STEPS: Final = steps_of(PAGE)
VERSION: Final = importlib.metadata.version("microbatch")
WHEEL: Final = f"microbatch-{VERSION}-py3-none-any.whl"
PACKAGES: Final = ("microbatch", "microbatch_ui", "recount")
PLUGIN: Final = """
from airflow.plugins_manager import AirflowPlugin

class Theirs(AirflowPlugin):
    name = "theirs"
"""


PROBE: Final = """
import importlib, json, pkgutil
from airflow import plugins_manager
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager

missing = {}
modules = [
    module.name
    for package in map(importlib.import_module, ("microbatch", "microbatch_ui", "recount"))
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith(".__main__")
]
for name in [*modules, "local", "producers", "reports", "weather_api"]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name
bag = DagBag("dags")
plugins, errors = plugins_manager._get_plugins()
print(json.dumps({
    "modules": len(modules),
    "missing": missing,
    "dags": sorted(bag.dags),
    "broken": bag.import_errors,
    "plugins": [plugin.name for plugin in plugins],
    "plugin errors": errors,
    "provider": ProvidersManager().providers["microbatch"].version,
}))
"""
OWN: Final = [
    Step("python probe.py\n", fails=False, shown=[]),
    Step(
        """
microbatch send payments <<< '{"key": "a", "amount": 5, "at": "2026-01-01T10:00:30Z"}'
airflow dags test payments > again.log 2>&1
microbatch consume payments-per-minute
python -m recount payments
""",
        fails=False,
        shown=["all agrees"],
    ),
    Step("microbatch up\n", fails=True, shown=["microbatch: `microbatch up` works on the embedded stack …"]),
]
"""What is done beside the page's own blocks, before the last of them removes all of it."""
ALL: Final = [*STEPS[:-1], *OWN, STEPS[-1]]


def blocks(language: str) -> list[str]:
    """The page's blocks of a language."""
    return blocks_of(PAGE.read_text(encoding="utf-8"), language)


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[None]:
    """What the page's SQL makes, and in the end drops."""
    roles, privileges, removal = blocks("sql")
    figures = make_conninfo(stack.admin_dsn, dbname="figures")
    pipelines = make_conninfo(figures, user="pipelines", password="secret")  # noqa: S106 - the page has it
    with psycopg.connect(stack.admin_dsn, autocommit=True) as admin:
        for statement in roles.split(";\n")[:-1]:
            admin.execute(statement.encode())
        with psycopg.connect(figures) as inside:
            inside.execute(privileges.encode())
        yield
        with psycopg.connect(pipelines) as owner:
            owner.execute(removal.encode())
            left = owner.execute("select relname from pg_class where relowner = 'pipelines'::regrole").fetchall()
        for statement in ("database figures with (force)", "role pipelines", "role figures_reader"):
            admin.execute(f"drop {statement}".encode())
    assert left == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with an Airflow of its own and a plugin."""
    made = tmp_path_factory.mktemp("airflow-project")
    for name in ("dags", "include", "plugins", "tests/dags"):
        (made / name).mkdir(parents=True)
    (made / "plugins" / "theirs.py").write_text(PLUGIN)
    (made / "probe.py").write_text(PROBE)
    return made


@pytest.fixture(scope="module")
def did(stack: Stack, database: None, folder: Path) -> Iterator[list[Did]]:
    """What each block did."""
    forget(stack)  # the README's first pipeline has the same name
    environment = environment_of(folder)
    airflow = f"apache-airflow=={importlib.metadata.version('apache-airflow')}"
    for command in (
        ["uv", "venv", "-q", "--python", sys.executable],
        ["uv", "pip", "install", "-q", airflow],
        [".venv/bin/airflow", "db", "migrate"],
    ):
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    yield run_steps([here(step, stack, folder) for step in ALL], folder, environment=environment, patience_s=PATIENCE_S)
    forget(stack)


def forget(stack: Stack) -> None:
    """Delete the topics of the page, those that there are."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    there = {"payments", "payments-dlq", "payments-per-minute"} & set(admin.list_topics(timeout=60).topics)
    for deleted in (admin.delete_topics(sorted(there)) if there else {}).values():
        deleted.result()


def environment_of(folder: Path) -> dict[str, str]:
    """Of a shell that knows nothing of this checkout but where uv keeps packages, and their versions."""
    ours = ("AIRFLOW", "KAFKA_", "MICROBATCH", "POSTGRES_", "PYTEST", "PYTHON", "VIRTUAL_ENV")
    uv = Path(sys.executable).with_name("uv")
    programs = folder / ".programs"
    programs.mkdir()
    (programs / "uv").symlink_to(uv)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "PATH": f"{programs}:/usr/bin:/bin",
        "UV_CONSTRAINT": str(REPOSITORY / "requirements-dev.txt"),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "COLUMNS": "100",
    }


def here(step: Step, stack: Stack, folder: Path) -> Step:
    """A block of the page, for this machine."""
    text = step.script
    for shown, place in {
        "~/microbatch": str(REPOSITORY),
        "~/airflow-project": str(folder),
        "kafka.example:9092": stack.bootstrap,
        "postgres.example:5432": f"{HOST}:{stack.postgres_port}",
        "> run.log 2>&1": "> run.log 2>&1 || (tail -n 100 run.log && false)",  # why it failed, if it did
    }.items():
        text = text.replace(shown, place)
    return msgspec.structs.replace(step, script=text)


def as_shown(did: list[Did]) -> list[Did]:
    """What was printed, with the page's names of servers."""
    return [
        msgspec.structs.replace(
            each,
            printed=re.sub(f"(PostgreSQL at ){HOST}", r"\1postgres.example", each.printed).replace(
                f"Kafka at {HOST}", "Kafka at kafka.example"
            ),
        )
        for each in did
    ]


@pytest.mark.parametrize("number", range(len(ALL)))
def test_a_block_does_what_the_page_shows(did: list[Did], number: int) -> None:
    check_step(ALL, as_shown(did), number)


def test_the_first_run_makes_the_ledger_and_counts(did: list[Did]) -> None:
    printed = printed_by(ALL, did, "payments-dlq")

    assert "│ a │ 7 │ 2 │ True │" in printed
    assert '{"key": "a", "amount": "many"}' in printed


def test_a_late_payment_corrects_the_minute(did: list[Did]) -> None:
    printed = printed_by(ALL, did, "recount payments")

    assert re.findall(r'"total":(\d+),"events":(\d),.*"revision":(\d)}', printed) == [("7", "2", "1"), ("12", "3", "2")]


def test_airflow_finds_dag_plugin_and_provider(did: list[Did]) -> None:
    found = json.loads(printed_by(ALL, did, "probe.py").splitlines()[-1])

    assert found["dags"] == ["payments"]
    assert found["broken"] == found["plugin errors"] == {}
    assert sorted(found["plugins"]) == ["kafka_event_producer", "microbatch", "theirs"]
    assert found["provider"] == VERSION


def test_every_module_is_there_but_those_of_other_extras_and_of_the_checkout(did: list[Did]) -> None:
    found = json.loads(printed_by(ALL, did, "probe.py").splitlines()[-1])

    assert found["modules"] > 100
    assert found["missing"] == {
        "local": "local",
        "microbatch.avro_values": "authlib",
        "microbatch.cli_stack": "local",
        "microbatch.protobuf_values": "authlib",
        "microbatch.schema_registry": "authlib",
        "producers": "producers",
        "reports": "reports",
        "weather_api": "weather_api",
    }


def test_the_wheel_has_the_files_of_its_packages_and_no_other(did: list[Did], folder: Path) -> None:
    with zipfile.ZipFile(folder / "include" / "wheels" / WHEEL) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = REPOSITORY / "include"
    files = [file for package in PACKAGES for file in (source / package).rglob("*") if file.is_file()]

    assert names == {str(file.relative_to(source)) for file in files if "__pycache__" not in file.parts}
    assert {"microbatch/py.typed", "microbatch_ui/static/index.html", "recount/ledger.sql"} <= names


def test_the_wheel_asks_for_nothing_that_only_the_demo_needs(did: list[Did], folder: Path) -> None:
    with zipfile.ZipFile(folder / "include" / "wheels" / WHEEL) as wheel:
        facts = email.message_from_bytes(wheel.read(f"microbatch-{VERSION}.dist-info/METADATA"))
    wanted = {re.split(r"[^\w-]", line)[0] for line in facts.get_all("Requires-Dist", [])}
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]
    demo = {re.split(r"[^\w-]", line)[0] for group in ("demo", "dev", "local") for line in groups[group]}

    assert facts.get_all("Provides-Extra") == ["airflow", "avro", "celery", "protobuf"]
    assert facts["Requires-Python"] == "<3.14,>=3.11"
    assert wanted & demo == set()


def test_nothing_is_left_of_the_package_at_the_end(did: list[Did], folder: Path) -> None:
    packages = folder / ".venv" / "lib"

    assert len(did) == len(ALL)
    assert list(packages.glob("*/site-packages/airflow"))
    assert list(packages.glob("*/site-packages/*microbatch*")) == []


def test_the_dockerfile_for_astro_has_no_fault_that_can_be_seen(folder: Path) -> None:
    (file,) = blocks("dockerfile")
    hadolint = Path(sys.executable).with_name("hadolint")
    judged = subprocess.run([hadolint, "-"], input=file, capture_output=True, text=True, check=False)

    assert judged.returncode == 0, judged.stdout
    assert f"include/wheels/{WHEEL}" in file
