"""Commands of the embedded stack: what is printed, and in which order. The work is done by `local`."""

import shlex
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from local import demo, kafka_tools, postgres, stack
from local.data import Say
from local.errors import StackError, StackNotRunningError
from local.home import state_folder


class NoStateFolderError(StackError):
    """A folder that is about to be deleted does not look like ours."""

    message = "{home} is no state folder of microbatch; nothing was deleted. Correct MICROBATCH_HOME"


HIDDEN = ("window_end", "is_final", "updated_at")
"""Columns of a result table that `up` leaves out: all of them would not fit into 80 characters."""

COLOURS = {"running": "green", "not started": "dim"}


def up(*, only_data: bool) -> None:
    """Start or repair the stack; with Airflow, go on until the pipelines' first results are there."""
    console = Console(highlight=False)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.1f} s[/dim]  {escape(line)}", soft_wrap=True)

    running = stack.up(state_folder(), say, only_data=only_data)
    declared = stack.declare(running)
    if declared.created:
        say(f"topics created: {', '.join(sorted(declared.created))}")
    if not only_data:
        _show_results(console, running, declared.tables, say)
    _show_next(console, running, only_data=only_data)


def down() -> None:
    """Stop the stack."""
    console = Console(highlight=False)
    stack.down(state_folder(), lambda line: console.print(escape(line)))
    console.print(f"Nothing of the stack runs any more. Its data stays in {escape(str(state_folder()))}.")


def reset(*, ask: bool) -> None:
    """Stop the stack and delete its state folder."""
    home = state_folder()
    if not home.exists():
        print(f"There is no state folder {home}: nothing to delete.")
        return
    if not (home / "run").is_dir():
        raise NoStateFolderError(home=home)
    if ask:
        typer.confirm(f"Delete {home} with all topics, tables, runs and passwords?", abort=True)
    down()
    shutil.rmtree(home)
    print(f"{home} is deleted.")


def status() -> int:
    """Print a table of all components, and what is wrong; returns the exit status."""
    console = Console(highlight=False)
    home = state_folder()
    found = stack.status(home)
    whole = [Column(name, no_wrap=True) for name in ("component", "state", "pid", "port", "since")]
    table = Table(*whole, Column("log", overflow="fold"), box=SIMPLE_HEAD)
    for health in found:
        colour = COLOURS.get(health.state, "red")
        cells = [health.pid, health.port, _since(health.since), _short(home, health.log)]
        table.add_row(
            health.component,
            f"[{colour}]{health.state}[/{colour}]",
            *("" if cell is None else escape(str(cell)) for cell in cells),
        )
    console.print(f"state folder: {escape(str(home))}", soft_wrap=True)
    console.print(table)
    wrong = [health for health in found if health.state not in COLOURS]
    for health in wrong:
        console.print(f"\n[red]{health.component}: {health.state}[/red] ({escape(str(health.log))})")
        console.print(escape(health.detail or ""), soft_wrap=True)
    if all(health.pid is None for health in found):
        console.print("Nothing runs; start it with `make up`.")
        return 1
    if wrong:
        console.print("\n`make up` repairs it.")
    return 1 if wrong else 0


def env() -> None:
    """Print `export` lines."""
    for name, value in stack.addresses(stack.find(state_folder())).items():
        print(f"export {name}={shlex.quote(value)}")


def addresses_if_running() -> dict[str, str]:
    """The variables by which programs find the embedded stack; none if it does not run."""
    try:
        return stack.addresses(stack.find(state_folder()))
    except StackNotRunningError:
        return {}


def kafka(tool: str, arguments: list[str], bootstrap: str) -> None:
    """Become one of Kafka's own tools."""
    kafka_tools.become_tool(tool, arguments, bootstrap)


def binaries() -> Path:
    """The folder that has the embedded psql."""
    return postgres.binaries()


def _show_results(console: Console, running: stack.Running, tables: dict[str, list[str]], say: Say) -> None:
    demo.let_dags_run(running, say)
    say(f"waiting for {len(tables)} pipelines: their first results come when the running minute has closed")
    with console.status("the minute closes at the next full one"):
        for name in demo.wait_for_results(running, tables):
            say(f"{name}: results are there")
    if demo.SAMPLE in tables.get("sales", []):
        console.print(_as_table(f"{demo.SAMPLE}, the newest rows (UTC)", demo.sample(running)))
    console.print(_as_table("all tables", demo.row_counts(running, tables)))


def _show_next(console: Console, running: stack.Running, *, only_data: bool) -> None:
    at = stack.addresses(running)
    console.print()
    if not only_data:
        password = running.credentials.airflow_admin
        console.print(f"Airflow     {at['AIRFLOW_URL']}   login [b]admin[/b] / [b]{password}[/b]")
    console.print(f"Kafka       {at['KAFKA_BOOTSTRAP_SERVERS']}")
    console.print(
        f"PostgreSQL  127.0.0.1:{running.ports.postgres}, database warehouse; `microbatch env` has the logins"
    )
    console.print("\nTry next:")
    for line in demo.NEXT_ONLY_DATA if only_data else demo.NEXT:
        console.print(f"  {escape(line.replace('microbatch', _command(), 1))}", soft_wrap=True)


def _as_table(title: str, found: demo.Rows) -> Table:
    shown = [at for at, column in enumerate(found.columns) if column not in HIDDEN]
    columns = [found.columns[at] for at in shown]
    table = Table(*columns, title=title, title_justify="left")
    for row in found.rows:
        table.add_row(*(escape(_cell(row[at])) for at in shown))
    return table


def _cell(value: object) -> str:
    return f"{value.astimezone(UTC):%H:%M:%S}" if isinstance(value, datetime) else str(value)


def _command() -> str:
    """How to call this program from here: by its name if that finds it, else by its path."""
    own = Path(sys.executable).with_name("microbatch")
    if shutil.which("microbatch") == str(own):
        return "microbatch"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)


def _since(started: datetime | None) -> str | None:
    if started is None:
        return None
    local = started.astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def _short(home: Path, log: str | None) -> str | None:
    return None if log is None else str(Path(log).relative_to(home))
