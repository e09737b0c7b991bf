"""`docs/step-by-step.md`: its commands, run one after the other in one shell, print what the page shows.

Numbers, times and names differ from run to run, so lines are compared by their shape; what does not differ is asserted
by itself. Blocks of the language `sh` are run, `text` is what the block above it prints, `console` is not run.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from local import stack
from local.home import REPOSITORY
from own_stack import own_stack

# What a hang may cost; it takes less than two minutes on two cores that have nothing else to do.
PATIENCE_S: Final = 540
pytestmark = pytest.mark.timeout(PATIENCE_S + 60)

PAGE: Final = REPOSITORY / "docs" / "step-by-step.md"
BLOCK: Final = re.compile(
    r"^```sh(?P<fails> fails)?\n(?P<script>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
MORE: Final = "…"


class Step(msgspec.Struct, frozen=True):
    """A block of commands of the page.

    Attributes:
        fails: its last command is to end with a status other than 0.
        shown: the lines that the page says it prints.
    """

    script: str
    fails: bool
    shown: list[str]


class Did(msgspec.Struct, frozen=True):
    """What a block did."""

    printed: str
    status: int


def steps() -> list[Step]:
    blocks = BLOCK.finditer(PAGE.read_text(encoding="utf-8"))
    return [Step(each["script"], bool(each["fails"]), (each["shown"] or "").splitlines()) for each in blocks]


STEPS: Final = steps()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The state folder of a stack of the page's own, and the environment of its shell."""
    with own_stack(PYTHON=sys.executable) as folder:
        yield folder


@pytest.fixture(scope="module")
def did(home: Path) -> list[Did]:
    """What each block did; less than all of them if one failed that should not."""
    file = home / "printed"
    with file.open("wb") as printed:
        shell = subprocess.Popen(
            ["/bin/bash", "-c", whole()],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):  # also what it left in the background
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    text = file.read_text(encoding="utf-8")
    ended = [
        Did(printed, int(status))
        for printed, status in re.findall(r"(.*?)^@ended (\d+)\n", text, re.MULTILINE | re.DOTALL)
    ]
    if len(ended) < len(STEPS):
        print(f"{STEPS[len(ended)].script}\n{text.rpartition('@ended')[2]}")
    return ended


def whole() -> str:
    """All blocks as one script, which says after each how it ended."""
    parts = ["set -euo pipefail"]
    for step in STEPS:
        parts += ["set +e" if step.fails else "set -e", step.script, r'printf "@ended %s\n" $?']
    return "\n".join(parts)


def of(did: list[Did], command: str) -> str:
    """What the one block that has this in its commands printed, white space as single blanks."""
    (number,) = [number for number, step in enumerate(STEPS) if command in step.script]
    return re.sub(r"[ \t]+", " ", did[number].printed)


MASKS: Final = (
    (re.compile(r"^\S+(?=, line )"), "FILE"),
    (re.compile(r"(?<=key=)\S+"), "KEY"),
    (re.compile(r"(?<=reason=).*?(?= microbatch\.topic=)"), "REASON"),
    (re.compile(r'(?<=":)"[^"]*"'), '"TEXT"'),
    (re.compile(r"\b[0-9a-f]{12}\b"), "HASH"),
    (re.compile(r"-?\d+(\.\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)


def shape(line: str) -> str:
    """What two lines have in common that differ in numbers, times and names only; of a row, how many cells it has."""
    if line.startswith("│"):
        return "│" * line.count("│")
    for pattern, mask in MASKS:
        line = pattern.sub(mask, line)
    return re.sub("━+", "━", line.strip())


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines of the page that are not among the printed ones, in this order."""
    left = iter([shape(line) for line in printed.splitlines() if not line.startswith(("└", "┡", "┏"))])
    return [line for line in shown if line != MORE and not line.startswith(("└", "┡", "┏")) and not found(line, left)]


def found(line: str, left: Iterator[str]) -> bool:
    if line.endswith(f" {MORE}"):
        return any(each.startswith(shape(line.removesuffix(MORE))) for each in left)
    return shape(line) in left


def test_the_page_has_commands_and_what_they_print() -> None:
    assert len(STEPS) > 15
    assert sum(bool(step.shown) for step in STEPS) > 12
    assert [step.script for step in STEPS if step.fails] == ["LOGINS_MIN_APP_VERSION=2.9.0 microbatch run logins\n"]


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_block_does_what_the_page_shows(did: list[Did], number: int) -> None:
    assert number < len(did), "this block, or one before it, failed"
    step = STEPS[number]

    assert (did[number].status != 0) is step.fails, did[number].printed
    assert missing(step.shown, did[number].printed) == [], did[number].printed


def test_numbers_that_waited_are_paired_by_the_next_batch(did: list[Did]) -> None:
    assert re.search(r"│ \d+ │ 2 │ \d+ │ 3 │", of(did, "number_pairs_waiting"))


def test_a_late_sale_is_a_revision_in_history_and_topic(did: list[Did]) -> None:
    printed = of(did, "aggregated_sales_history")

    assert "│ 1 │ 25 │ 2 │ 12.50 │ [5] │ False │" in printed
    assert "│ 2 │ 32 │ 3 │ 10.67 │ [5, 6] │ True │" in printed
    assert re.findall(r'"amount_usd":(\d+).*"revision":(\d)}', printed) == [("25", "1"), ("32", "2")]


def test_versions_are_compared_by_their_parts(did: list[Did]) -> None:
    assert of(did, "from logins import logins") == "2.3.0 ['app version is too old']\n2.9.0 counts\n2.10.0 counts\n"


def test_repeated_observations_are_counted(did: list[Did]) -> None:
    match = re.search(r"│ 44 │ \d │ (\d+) │", of(did, "repeated from microbatch.batch_history"))

    # 13 cities, and now and then an observation that came late or was renewed in between.
    assert match
    assert int(match[1]) >= 10


def test_cents_are_exact_once_the_minute_has_ended(did: list[Did]) -> None:
    assert "│ IS │ 0.30 │ 2 │ True │" in of(did, "in ('IS', 'US')")


def test_all_six_checks_agree(did: list[Did]) -> None:
    assert of(did, "python -m recount").count("\nall agrees\n") == 6


def test_nothing_runs_at_the_end(did: list[Did], home: Path) -> None:
    assert len(did) == len(STEPS)
    assert {health.state for health in stack.status(home)} == {"not started"}
