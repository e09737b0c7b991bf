"""`python -m mutations` in the folder tests: takes each protection out of a copy of the code and runs tests on it.

Each time a test has to fail: a protection whose removal no test notices is a missing test. Exit status 1 if there is
one. Names of protections, or parts of them, choose some.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from mutations.protections import MUTATIONS, Mutation

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("include", "tests", "dags", "docs", "pyproject.toml")
TEST_S: Final = 900
SMOKE: Final = "tests/integration/test_path.py::test_a_closed_minute_has_its_sums_per_seller"
"""Has to pass without any of the protections: an engine that does not work at all proves nothing."""


class Verdict(msgspec.Struct, frozen=True):
    """What became of one mutation; `by`: the test that has noticed, empty if none did."""

    mutation: Mutation
    by: str
    seconds: float


def main(words: list[str]) -> int:
    """Print a line for each as it comes, then the table; returns the exit status."""
    console = Console(highlight=False)
    chosen = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    verdicts = []
    for number, mutation in enumerate(chosen, 1):
        with console.status(f"{number} of {len(chosen)}: without {mutation.name}"):
            verdicts.append(verdict := judge(mutation))
        head = f"{number:>2} of {len(chosen)}  {verdict.seconds:>5.0f} s  without {mutation.name}"
        console.print(f"{head}\n                  {verdict.by or '[red]no test has noticed[/red]'}", soft_wrap=True)
    console.print(_table(verdicts))
    unnoticed = [verdict for verdict in verdicts if not verdict.by]
    console.print(f"{len(verdicts)} protections taken away, {len(unnoticed)} of them unnoticed")
    return 1 if unnoticed else 0


def judge(mutation: Mutation) -> Verdict:
    """Run the tests on a copy of the code without the protection."""
    began_s = monotonic()
    with tempfile.TemporaryDirectory(prefix="microbatch-mutation-") as folder:
        copy = Path(folder)
        for name in COPIED:
            _copy(ROOT / name, copy / name)
        for edit in mutation.edits:
            file = copy / edit.file
            text = file.read_text()
            if text.count(edit.old) != 1:
                raise SystemExit(f"{mutation.name}: {edit.file} has not once what is to be taken away:\n{edit.old}")
            file.write_text(text.replace(edit.old, edit.new))
        return Verdict(mutation, _first_failure(copy, mutation.tests), monotonic() - began_s)


def _first_failure(copy: Path, tests: tuple[str, ...]) -> str:
    """The name of the first test that fails there; empty: none does."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", SMOKE, *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": f"{copy / 'include'}{os.pathsep}{copy / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=TEST_S,
        check=False,
    )
    if done.returncode == 0:
        return ""
    failed = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode != 1 or not failed:
        raise SystemExit(f"the tests could not be run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    name = failed[0].partition(" - ")[0]
    if name == SMOKE:
        raise SystemExit(f"the engine does not work at all any more:\n{done.stdout[-3000:]}")
    return name


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def _table(verdicts: list[Verdict]) -> Table:
    table = Table("without", "noticed by", title_justify="left", title="protections taken away")
    for verdict in verdicts:
        table.add_row(verdict.mutation.name, verdict.by.rpartition("::")[2] or "[red]nothing[/red]")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
