"""`docs/operations.md`: the workflow to copy, over a project as `microbatch new` begins it; and logs that are cut."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fix_child import wait_for
from local import process
from local.home import REPOSITORY
from microbatch.cli_new import new
from shell_pages import blocks_of

PAGE: Final = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
[WORKFLOW] = blocks_of(PAGE, "yaml")
JOB: Final[dict[str, Any]] = yaml.safe_load(WORKFLOW)["jobs"]["pipelines"]
STEPS: Final[dict[str, str]] = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}
PATIENCE_S: Final = 120


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's project with one pipeline."""
    monkeypatch.chdir(tmp_path)
    new("payments", Path("dags"), Path("tests/pipelines"))
    return tmp_path


def do(step: str, project: Path) -> subprocess.CompletedProcess[str]:
    """A step as the runner does it, with the programs of this environment."""
    environment = {name: value.replace("${{ github.workspace }}", str(project)) for name, value in JOB["env"].items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]],
        cwd=project,
        env={**environment, "PATH": path, "HOME": str(project)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_workflow_is_one() -> None:
    """YAML reads `on` as true."""
    workflow = yaml.safe_load(WORKFLOW)

    assert set(workflow) == {"name", True, "permissions", "jobs"}
    assert set(JOB) == {"runs-on", "timeout-minutes", "env", "steps"}
    assert all(("run" in step) != ("uses" in step) for step in JOB["steps"])
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in JOB["steps"] if "uses" in step)
    assert STEPS["Install"] == "pip install -r requirements.txt pytest ruff"


def test_its_steps_pass_over_a_new_project(project: Path) -> None:
    for step in STEPS.keys() - {"Install"}:
        done = do(step, project)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_a_declaration_fails_it(project: Path) -> None:
    file = project / "dags" / "payments.py"
    file.write_text(file.read_text().replace('by=["key"]', 'by=["kee"]'))

    done = do("Import every DAG file, which checks every declaration", project)

    assert done.returncode != 0
    assert "by names the field 'kee', which Payment" in done.stderr


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[tuple[process.Record, Path]]:
    """A component that writes a line into its log whenever a file appears, and deletes that file; and the file."""
    wanted = tmp_path / "wanted"
    code = (
        "import pathlib, sys, time\nwanted = pathlib.Path(sys.argv[1])\n"
        "while True:\n time.sleep(0.01)\n if wanted.exists():\n  print('a line', flush=True)\n  wanted.unlink()"
    )
    (tmp_path / "run").mkdir()
    launch = process.Launch(
        component="writer",
        arguments=[sys.executable, "-c", code, str(wanted)],
        folder=tmp_path,
        environment={},
        log=tmp_path / "writer.log",
    )
    yield process.start(tmp_path, launch), wanted
    process.stop(tmp_path, "writer")


def test_a_log_can_be_cut_while_its_program_writes(writer: tuple[process.Record, Path]) -> None:
    """As `copytruncate` of logrotate does it: the program goes on at the beginning, not after a hole."""
    record, wanted = writer
    log = Path(record.log)

    def write() -> None:
        wanted.touch()
        wait_for("the line is written", lambda: not wanted.exists())

    write()
    os.truncate(log, 0)
    write()

    assert log.read_text() == "a line\n"
