"""Spill folders: nothing is left of a process that was killed, and nothing is taken from one that lives."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from microbatch.spilling import PREFIX, SpillFolder

KEEPS_ONE = """
import sys
from microbatch.spilling import SpillFolder
spill = SpillFolder()
(spill.path / "rows").write_text("what outgrew memory")
print(spill.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, for this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path("include").absolute()))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_is_gone_when_it_is_closed(folder: Path) -> None:
    spill = SpillFolder()
    (spill.path / "rows").touch()

    spill.close()

    assert list(folder.iterdir()) == []


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next_and_that_of_a_living_one_is_not(
    folder: Path,
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", KEEPS_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())

    SpillFolder().close()
    assert (left / "rows").exists()

    other.kill()
    other.communicate()
    SpillFolder().close()
    assert list(folder.glob(f"{PREFIX}*")) == []
