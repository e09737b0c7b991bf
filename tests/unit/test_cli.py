"""The command line, as far as it goes without a stack."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from microbatch import cli
from microbatch.addresses import ADDRESSES

runner = CliRunner()
COMMANDS = (
    *("up", "down", "reset", "status", "env", "check", "consume", "kafka", "send", "sql"),
    *("lag", "gaps", "freshness", "watch", "export", "audit", "run", "rename", "new"),
)


@pytest.fixture(autouse=True)
def no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack runs, and the environment names none."""
    monkeypatch.setenv("MICROBATCH_HOME", str(tmp_path / "none"))
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)


def test_help_lists_every_command() -> None:
    result = runner.invoke(cli.app, ["--help"])

    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_is_for(command: str) -> None:
    result = runner.invoke(cli.app, [command, "--help"])

    assert result.exit_code == 0
    usage, _, rest = result.output.partition("[OPTIONS]")
    assert usage.split()[-1] == command
    # A sentence before the options.
    assert "." in rest.partition("╭")[0]


@pytest.mark.parametrize(
    "command",
    [
        ["env"],
        ["consume", "sales-usd"],
        ["send", "sales-usd"],
        ["kafka", "topics", "--list"],
        ["sql", "select 1"],
        ["lag"],
        ["gaps", "sales"],
        ["freshness"],
        ["watch", "sales"],
    ],
    ids=" ".join,
)
def test_without_a_stack_a_command_says_so_in_one_line(command: list[str]) -> None:
    result = runner.invoke(cli.app, command)

    assert result.exit_code == 1
    assert result.stderr.startswith("microbatch: ")
    assert "make up" in result.stderr
    assert result.stderr.count("\n") == 1


def test_status_and_check_fail_without_a_stack() -> None:
    assert runner.invoke(cli.app, ["status"]).exit_code == 1
    assert runner.invoke(cli.app, ["check"]).exit_code == 1


def test_down_and_reset_without_a_stack_are_harmless() -> None:
    assert runner.invoke(cli.app, ["down"]).exit_code == 0
    assert runner.invoke(cli.app, ["reset", "--yes"]).exit_code == 0


def test_reset_deletes_no_folder_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine", encoding="ascii")
    monkeypatch.setenv("MICROBATCH_HOME", str(tmp_path))

    result = runner.invoke(cli.app, ["reset", "--yes"])

    assert result.exit_code == 1
    assert "is no state folder of microbatch" in result.stderr
    assert (tmp_path / "precious").exists()


def test_from_the_wheel_the_commands_of_the_stack_ask_for_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "microbatch.cli_stack", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "local"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "local", None)

    result = runner.invoke(cli.app, ["up"])

    assert result.exit_code == 1
    assert "`microbatch up` works on the embedded stack and needs a checkout" in result.stderr
