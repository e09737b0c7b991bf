"""Crash points: each is visited where its name says, and does what the environment says."""

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import microbatch
from microbatch.crash import CRASH_POINTS, crash_point

# The modules of each task; a point's name begins with its task.
MODULES = {
    "consume": {"consume.py", "batching.py", "claiming.py", "registration.py", "storing.py"},
    "redo": {"redoing.py"},
    "publish": {"publish.py", "merging.py", "sending.py"},
    "rebuild": {"rebuilding.py", "rebuild_work.py"},
    "rename": {"renaming.py"},
    "recover": {"recovering.py"},
    "fold": {"folding.py"},
}


def visits() -> list[tuple[str, str]]:
    """File and name of each call of crash_point in the engine."""
    return [
        (file.name, node.args[0].value)
        for file in sorted(Path(microbatch.__file__).parent.glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "crash_point"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]


def test_each_point_is_visited_at_exactly_one_place() -> None:
    assert Counter(name for _, name in visits()) == Counter(CRASH_POINTS)


def test_each_point_is_visited_in_the_task_that_its_name_says() -> None:
    wrong = [(file, name) for file, name in visits() if file not in MODULES[name.partition(".")[0]]]

    assert wrong == []


def run(setting: str, body: str) -> int:
    """The return code of a process that runs `body` with the setting."""
    code = f"from microbatch.crash import crash_point\n{body}"
    environment = {**os.environ, "MICROBATCH_CRASH": setting}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode


def test_without_the_setting_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROBATCH_CRASH", raising=False)

    for point in CRASH_POINTS:
        crash_point(point)


def test_the_named_point_kills_and_no_other() -> None:
    both = 'crash_point("publish.after_mark")\nprint(end="")\ncrash_point("publish.after_intent")'

    assert run("publish.after_intent", both) == -signal.SIGKILL
    assert run("publish.before_fence", both) == 0


def test_a_number_waits_for_that_visit() -> None:
    visit = 'crash_point("consume.reading")\n'

    assert run("consume.reading:kill:3", visit * 2) == 0
    assert run("consume.reading:kill:3", visit * 3) == -signal.SIGKILL


def test_a_process_can_be_stopped_and_goes_on() -> None:
    code = 'from microbatch.crash import crash_point\ncrash_point("consume.before_commit")\nraise SystemExit(7)'
    environment = {**os.environ, "MICROBATCH_CRASH": "consume.before_commit:stop"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)

    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)

    process.send_signal(signal.SIGCONT)
    assert process.wait(120) == 7
