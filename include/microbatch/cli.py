"""The command line. `app` is what `microbatch` runs; every command is a small function.

Heavy modules are imported when a command needs them, so that `microbatch --help` answers at once.
"""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from microbatch.addresses import embedded_stack, find_stack
from microbatch.errors import CheckoutNeededError, MicrobatchError


class _Commands(TyperGroup):
    """Our own errors end a command with their one line, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MicrobatchError as error:
            print(f"microbatch: {error}", file=sys.stderr)
            raise SystemExit(1) from None


app = typer.Typer(
    cls=_Commands,
    help="Windowed aggregates from Kafka to Postgres, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they would show passwords
)


# -- the embedded stack (microbatch.cli_stack) ---------------------------------------------------------------


@app.command()
def up(
    only: Annotated[str | None, typer.Option(help='"stack": Kafka and PostgreSQL alone, without Airflow.')] = None,
) -> None:
    """Start the embedded stack, or repair it; harmless when it runs already."""
    if only not in (None, "stack"):
        raise typer.BadParameter('the only choice is "stack"', param_hint="--only")
    _stack("up").up(only_data=only == "stack")


@app.command()
def down() -> None:
    """Stop everything that `up` has started; data stays."""
    _stack("down").down()


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the stack and delete its state folder: all topics, tables, runs and passwords."""
    _stack("reset").reset(ask=not yes)


@app.command()
def status() -> None:
    """Show how each component is; exit status 1 if one does not work, with the end of its log."""
    raise typer.Exit(_stack("status").status())


@app.command()
def env() -> None:
    """Print shell lines that tell programs where the stack is: eval "$(microbatch env)"."""
    _stack("env").env()


# -- looking at data (microbatch.cli_data) -------------------------------------------------------------------


@app.command()
def check() -> None:
    """Try both connections: what, where, and what to do if one does not work. Exit status 1 if so."""
    raise typer.Exit(_module("cli_data").check(find_stack()))


@app.command()
def consume(
    topic: Annotated[str, typer.Argument(help="The topic to read.")],
    live: Annotated[bool, typer.Option("--live", help="Only what comes from now on, until Ctrl-C.")] = False,
    max_messages: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
) -> None:
    """Print the committed messages of a topic, one a line: place, time, key, headers, value."""
    _module("cli_data").consume(find_stack(), topic, live=live, max_messages=max_messages)


@app.command()
def sql(
    statement: Annotated[str | None, typer.Argument(help="A statement; without one, psql opens.")] = None,
) -> None:
    """Ask the warehouse, with the role that only reads."""
    if statement is None:
        stack = embedded_stack()
        _module("cli_data").become_psql(find_stack(), stack.binaries() if stack else None)
    else:
        _module("cli_data").sql(find_stack(), statement)


# -- running pipelines (microbatch.cli_engine) and producers -------------------------------------------------


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    dags: Annotated[Path, typer.Option(help="The folder whose files declare it.")] = Path("dags"),
) -> None:
    """Run a pipeline once, without Airflow: catch up with its source, then publish."""
    find_stack()
    _module("cli_engine").run(pipeline, dags)


with contextlib.suppress(ModuleNotFoundError):  # the wheel leaves the demo out
    app.command()(importlib.import_module("producers.cli").produce)


def _stack(command: str) -> Any:
    stack = embedded_stack()
    if stack is None:
        raise CheckoutNeededError(command=command)
    return stack


def _module(name: str) -> Any:
    return importlib.import_module(f"microbatch.{name}")
