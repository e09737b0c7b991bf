"""The command line over a world, as a person uses it."""

import re
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from fix_pipeline import World
from microbatch import cli
from microbatch.errors import MicrobatchError

Command = Callable[..., Result]


def advised(error: MicrobatchError) -> list[str]:
    """The command that an error's text names, in words."""
    found = re.search(r"`microbatch ([^`]+)`", str(error))
    assert found, str(error)
    return found.group(1).split()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """A function that runs `microbatch` over a world: `command(world, "accept-loss", "sales")`."""

    def run(world: World, *words: str) -> Result:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", world.connections.bootstrap)
        monkeypatch.setenv("POSTGRES_DSN", world.connections.postgres)
        monkeypatch.setenv("POSTGRES_OWNER_DSN", world.connections.postgres)
        monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)
        monkeypatch.setenv("COLUMNS", "100")
        return CliRunner().invoke(cli.app, list(words))

    return run
