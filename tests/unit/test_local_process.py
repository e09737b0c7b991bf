"""Background processes, tried with small ones."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from local import process
from local.errors import ComponentDiedError, ComponentSlowError
from local.files import write_json

Start = Callable[[str], process.Record]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder; what was started in it is stopped in the end."""
    for name in ("run", "log"):
        (tmp_path / name).mkdir()
    yield tmp_path
    process.stop(tmp_path, "small")


@pytest.fixture
def start(home: Path) -> Start:
    """Starts a shell script as the component `small`."""

    def started(script: str) -> process.Record:
        launch = process.Launch(
            component="small",
            arguments=["/bin/sh", "-c", script],
            folder=home,
            environment=os.environ,
            log=home / "log" / "small.log",
            stop_deadline_s=0.5,
        )
        return process.start(home, launch)

    return started


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_a_started_component_is_found_again_and_stopped(home: Path, start: Start) -> None:
    record = start("sleep 60")

    assert process.load(home, "small") == record
    assert process.is_alive(record)
    assert process.stop(home, "small")
    assert not psutil.pid_exists(record.pid)
    assert process.load(home, "small") is None


def test_stopping_what_was_never_started_does_nothing(home: Path) -> None:
    assert not process.stop(home, "small")


def test_a_component_that_ignores_sigterm_is_killed(home: Path, start: Start) -> None:
    record = start("trap '' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: "up" in process.tail(Path(record.log)))

    process.stop(home, "small")

    assert not psutil.pid_exists(record.pid)


def test_children_of_a_killed_component_are_stopped_too(home: Path, start: Start) -> None:
    record = start("sleep 60 & sleep 60")
    until(lambda: len(process.members(record)) == 3)
    pids = [member.pid for member in process.members(record)]

    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not process.is_alive(record))
    process.stop(home, "small")

    assert not [pid for pid in pids if psutil.pid_exists(pid) and process.birth_of(pid)]


def test_a_later_process_with_the_same_pid_is_left_alone(home: Path, start: Start) -> None:
    process.stop(home, start("sleep 60").component)
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as stranger:
        record = process.Record(
            component="small",
            pid=stranger.pid,
            birth="an earlier one",
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            log="",
            port=None,
            stop_signal=signal.SIGTERM,
            stop_deadline_s=0.5,
        )
        write_json(home / "run" / "small.json", record)

        assert not process.is_alive(record)
        assert not process.stop(home, "small")
        assert stranger.poll() is None
        stranger.kill()


def test_waiting_for_a_component_that_ends_shows_the_end_of_its_log(start: Start) -> None:
    record = start("echo the reason; exit 3")

    with pytest.raises(ComponentDiedError, match=r"small ended before it was ready(?s:.*)the reason"):
        process.wait_until_ready(record, lambda: "not yet", timeout_s=5)


def test_waiting_for_a_component_that_never_answers_says_what_is_missing(start: Start) -> None:
    record = start("sleep 60")

    with pytest.raises(ComponentSlowError, match=r"did not answer within 0\.1 s \(nobody listens\)"):
        process.wait_until_ready(record, lambda: "nobody listens", timeout_s=0.1)


def test_the_log_of_the_run_before_is_kept(home: Path, start: Start) -> None:
    for word in ("first", "second"):
        record = start(f"echo {word}")
        until(lambda record=record: not process.is_alive(record))  # type: ignore[misc]

    assert process.tail(home / "log" / "small.log") == "second"
    assert process.tail(home / "log" / "small.log.1") == "first"


def test_a_tail_is_short_however_long_the_log_is(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"{number} {'x' * 500}\n" for number in range(1000)), encoding="ascii")

    lines = process.tail(log, lines=3).splitlines()

    assert [line.split()[0] for line in lines] == ["997", "998", "999"]
    assert max(map(len, lines)) == process.TAIL_WIDTH


def test_a_tail_begins_with_the_last_errors_further_up(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    errors = [f"{number} [main] ERROR Fatal error during broker startup" for number in range(9)]
    cause = "Caused by: java.net.BindException: Address already in use"
    log.write_text("\n".join([*errors, cause, *["[hook] INFO no error here"] * 300, "the end"]), encoding="ascii")

    assert process.tail(log, lines=2).splitlines() == [
        *errors[-4:],
        cause,
        "[…]",
        "[hook] INFO no error here",
        "the end",
    ]
