"""A new pipeline: its file and its test are accepted by every check that this project has."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from microbatch import cli
from microbatch.cli_new import MAX_NAME, new
from microbatch.declared import find_pipeline
from microbatch.errors import NewPipelineRefusedError

ROOT = Path(__file__).parents[2]
NAMES = ["a", "my-orders", "b_2", "dag", "z" * MAX_NAME]


def made(folder: Path, name: str) -> list[Path]:
    return new(name, folder / "dags", folder / "tests" / "pipelines")


@pytest.mark.parametrize("name", NAMES)
def test_its_file_declares_a_pipeline_of_that_name(tmp_path: Path, name: str) -> None:
    made(tmp_path, name)

    pipeline = find_pipeline(tmp_path / "dags", name)

    assert pipeline.source.name == name
    assert [output.table for output in pipeline.outputs] == [f"{name.replace('-', '_')}_per_minute"]


def test_its_test_passes_as_it_is(tmp_path: Path) -> None:
    _, test = made(tmp_path, "my-orders")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(tmp_path: Path, check: list[str]) -> None:
    for name in NAMES:
        made(tmp_path, name)

    assert_clean(["ruff", *check, "--no-cache", "--config", str(ROOT / "pyproject.toml"), "."], tmp_path)


def test_mypy_has_nothing_to_say(tmp_path: Path) -> None:
    files = made(tmp_path, "my-orders")

    assert_clean(["mypy", "--config-file", str(ROOT / "pyproject.toml"), *map(str, files)], ROOT)


def assert_clean(tool: list[str], folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_names_the_files_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(cli.app, ["new", "my-orders"])

    assert result.exit_code == 0
    assert result.output.split() == ["dags/my_orders.py", "tests/pipelines/test_my_orders.py"]
    assert (tmp_path / "tests/pipelines/test_my_orders.py").exists()


@pytest.mark.parametrize("name", ["", "Orders", "1st", "my orders", "a.b", "../a", "ö", "z" * (MAX_NAME + 1), "class"])
def test_a_name_that_is_not_usable_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NewPipelineRefusedError, match="was not made"):
        made(tmp_path, name)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["dags/orders.py", "tests/pipelines/test_orders.py"])
def test_no_file_is_overwritten(tmp_path: Path, there: str) -> None:
    file = tmp_path / there
    file.parent.mkdir(parents=True)
    file.write_text("mine", encoding="ascii")

    with pytest.raises(NewPipelineRefusedError, match="is there already; choose another name"):
        made(tmp_path, "orders")

    assert file.read_text(encoding="ascii") == "mine"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [file]


def test_a_test_finds_the_file_wherever_both_are(tmp_path: Path) -> None:
    _, test = new("orders", tmp_path / "flows", tmp_path)

    assert 'Path(__file__).parents[0] / "flows"' in test.read_text(encoding="utf-8")
