"""The commands of a page of the documentation: read from it, run in one shell, and compared with what the page shows.

Blocks of the language `sh` are run (after `sh fails` the last command is to end with a status other than 0), `text` is
what the block above it prints, `console` is not run. Numbers, times and names differ from run to run, so lines are
compared by their shape.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from local.home import REPOSITORY

DOCS: Final = REPOSITORY / "docs"
BLOCK: Final = re.compile(
    r"^```sh(?P<fails> fails)?\n(?P<script>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
MORE: Final = "…"
MASKS: Final = (
    (re.compile(r"^\S+(?=, line )"), "FILE"),
    (re.compile(r"(?<=key=)\S+"), "KEY"),
    (re.compile(r"(?<=reason=).*?(?= microbatch\.topic=)"), "REASON"),
    (re.compile(r'(?<=":)"[^"]*"'), '"TEXT"'),
    (re.compile(r"\b[0-9a-f]{12}\b"), "HASH"),
    (re.compile(r"-?\d+(\.\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)


class Step(msgspec.Struct, frozen=True):
    """A block of commands of a page.

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


def blocks_of(page: str, language: str) -> list[str]:
    """The blocks of a language in a page's text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def steps_of(page: Path) -> list[Step]:
    """The blocks of commands of a page."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Step(each["script"], bool(each["fails"]), (each["shown"] or "").splitlines()) for each in found]


def run_steps(
    steps: Sequence[Step], folder: Path, *, environment: Mapping[str, str] = os.environ, patience_s: float
) -> list[Did]:
    """What each block did, one after the other in one shell; one that failed and should not is the last.

    Args:
        steps: the blocks.
        folder: where the shell starts.
        environment: of the shell.
        patience_s: what a hang may cost.
    """
    with tempfile.TemporaryFile() as printed:  # no pipe: what goes on in the background would keep it open
        shell = subprocess.Popen(
            ["/bin/bash", "-c", _whole(steps)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(patience_s)
        finally:
            with contextlib.suppress(ProcessLookupError):  # also what it left in the background
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        printed.seek(0)
        text = printed.read().decode()
    *ended, rest = re.split(r"^@ended (\d+)\n", text, flags=re.MULTILINE)
    did = [Did(printed, int(status)) for printed, status in zip(ended[::2], ended[1::2], strict=True)]
    return did if len(did) == len(steps) else [*did, Did(rest, shell.returncode)]


def check_step(steps: Sequence[Step], did: Sequence[Did], number: int) -> None:
    """Assert that this block ended as the page says, and printed what the page shows."""
    assert number < len(did), "a block before this one failed"
    assert (did[number].status != 0) is steps[number].fails, did[number].printed
    assert missing(steps[number].shown, did[number].printed) == [], did[number].printed


def printed_by(steps: Sequence[Step], did: Sequence[Did], command: str) -> str:
    """What the one block that has this in its commands printed, white space as single blanks."""
    (number,) = [number for number, step in enumerate(steps) if command in step.script]
    return re.sub(r"[ \t]+", " ", did[number].printed)


def shape(line: str) -> str:
    """What two lines have in common that differ in numbers, times and names only; of a row, how many cells it has."""
    if line.startswith("│"):
        return "│" * line.count("│")
    for pattern, mask in MASKS:
        line = pattern.sub(mask, line)
    return re.sub("━+", "━", line.strip())


def missing(shown: Sequence[str], printed: str) -> list[str]:
    """The lines of the page that are not among the printed ones, in this order."""
    left = iter([shape(line) for line in printed.splitlines() if not line.startswith(("└", "┡", "┏"))])
    return [line for line in shown if line != MORE and not line.startswith(("└", "┡", "┏")) and not _found(line, left)]


def _whole(steps: Sequence[Step]) -> str:
    """All blocks as one script, which says after each how it ended."""
    parts = ["set -euo pipefail"]
    for step in steps:
        parts += ["set +e" if step.fails else "set -e", step.script, r'printf "@ended %s\n" $?']
    return "\n".join(parts)


def _found(line: str, left: Iterator[str]) -> bool:
    if line.endswith(f" {MORE}"):
        return any(each.startswith(shape(line.removesuffix(MORE))) for each in left)
    return shape(line) in left
