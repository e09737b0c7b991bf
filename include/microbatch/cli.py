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
from microbatch.settings import KAFKA_BOOTSTRAP_SERVERS


class _Commands(TyperGroup):
    """Our own errors end a command with their one line, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with contextlib.suppress(ModuleNotFoundError):  # the wheel has neither a checkout nor its `.env`
            importlib.import_module("local.home").read_settings()
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
def send(
    topic: Annotated[str, typer.Argument(help="The topic; it is made if it does not exist.")],
) -> None:
    """Send the lines of standard input to a topic, a message each."""
    print(f"{_module('cli_data').send(find_stack(), topic, sys.stdin.buffer):,} messages sent to {topic}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def kafka(
    tool: Annotated[str, typer.Argument(help='Such as "topics", "console-consumer" or "consumer-groups".')],
    arguments: Annotated[list[str] | None, typer.Argument(help="What the tool takes.")] = None,
) -> None:
    """Run one of Kafka's own command-line tools against the broker."""
    stack = _stack("kafka")
    stack.kafka(tool, arguments or [], _module("cli_data").needed(find_stack(), KAFKA_BOOTSTRAP_SERVERS))


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


# -- watching pipelines (microbatch.cli_watch) ---------------------------------------------------------------

OnePipeline = Annotated[str | None, typer.Argument(help="The name of a pipeline; without one, all.")]


@app.command()
def lag(pipeline: OnePipeline = None) -> None:
    """Show how far each source partition is covered, beside what Kafka has now."""
    _module("cli_watch").lag(find_stack(), pipeline)


@app.command()
def gaps(pipeline: OnePipeline = None) -> None:
    """Show offsets that were stepped over: the next run reads them."""
    _module("cli_watch").gaps(find_stack(), pipeline)


@app.command()
def freshness(
    pipeline: OnePipeline = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only what is behind or stopped, a line each; exit status 1 if anything is.")
    ] = False,
) -> None:
    """Show from when and up to when pipelines are complete, and their last errors."""
    if check:
        raise typer.Exit(_module("cli_watch").check(find_stack(), pipeline))
    _module("cli_watch").freshness(find_stack(), pipeline)


@app.command()
def watch(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    once: Annotated[bool, typer.Option("--once", help="Print it once, for pipes.")] = False,
) -> None:
    """Show a pipeline live, until Ctrl-C: newest results, lag, last batches, last error."""
    _module("cli_watch").watch(find_stack(), pipeline, once=once)


@app.command(context_settings={"ignore_unknown_options": True})  # a key may be a negative number
def explain(
    table: Annotated[str, typer.Argument(help="The table of a window's results.")],
    window: Annotated[str, typer.Option(help="Any moment in the window, such as 2026-11-21T10:00; UTC if no zone.")],
    key: Annotated[list[str] | None, typer.Argument(help="The values of its `by` columns, in their order.")] = None,
    messages: Annotated[bool, typer.Option("--messages", help="Show the messages too, as far as kept.")] = False,
    dags: Annotated[Path, typer.Option(help="With --messages: the folder whose files declare it.")] = Path("dags"),
) -> None:
    """Show where a published number comes from: its revisions, their batches and offsets, the runs that wrote them."""
    _module("cli_explain").explain(find_stack(), table, key or [], window, dags if messages else None)


@app.command()
def export(
    table: Annotated[str, typer.Argument(help="The table of a window's results.")],
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    history: Annotated[bool, typer.Option("--history", help="Every revision, not only what holds.")] = False,
    start: Annotated[str | None, typer.Option("--from", help="Only windows that start at this time or later.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only windows that start before this time.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write results, or their history, into a Parquet file, with exact types."""
    module = _module("cli_export")
    module.export(find_stack(), table, file, history=history, start=start, end=end, overwrite=overwrite)


@app.command()
def audit(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    dags: Annotated[Path, typer.Option(help="The folder whose files declare it: read for a transform.")] = Path("dags"),
    start: Annotated[
        str | None, typer.Option("--from", help="Only windows that start at this time or later, and what they need.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only windows that start before this time.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for the pipeline to be at rest.")] = 60.0,
) -> None:
    """Recount a pipeline's input with code that is not the engine's, and compare it with all that it gave.

    Exit status 0: all agrees; 1: something differs; 2: it could not look.
    """
    raise typer.Exit(_module("cli_audit").audit(pipeline, dags, start=start, end=end, patience_s=patience))


# -- running pipelines (microbatch.cli_engine) and producers -------------------------------------------------


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    dags: Annotated[Path, typer.Option(help="The folder whose files declare it.")] = Path("dags"),
    mode: Annotated[
        str, typer.Option(help='"catch up" with all that is new, or "interval" or "reprocess" from --from to --to.')
    ] = "catch up",
    start: Annotated[
        str | None, typer.Option("--from", help="Start of the interval, such as 2026-11-21T10:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the interval, not included.")] = None,
    max_records: Annotated[
        int | None, typer.Option(help="Bounds a batch, instead of the pipeline's own bound.")
    ] = None,
) -> None:
    """Run a pipeline once, without Airflow: read what its source has, then publish.

    The modes: catch up reads all that no run has read yet. interval reads what the source got in an interval (by
    Kafka's timestamps) and no run has read. reprocess redoes the batches that read what the source got in an interval.
    """
    find_stack()
    _module("cli_engine").run(pipeline, dags, mode=mode, start=start, end=end, max_records=max_records)


@app.command()
def rename(
    old: Annotated[str, typer.Argument(help="The name that it has had so far.")],
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The name that its file has now.")],
    dags: Annotated[Path, typer.Option(help="The folder whose files declare it.")] = Path("dags"),
) -> None:
    """Rename a pipeline, after its name was changed in its file; what it has counted stays."""
    find_stack()
    _module("cli_engine").rename(old, new_name, dags)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits, _ and -.")],
    dags: Annotated[Path, typer.Option(help="The folder for its file.")] = Path("dags"),
    tests: Annotated[Path, typer.Option(help="The folder for its test.")] = Path("tests/pipelines"),
) -> None:
    """Begin a pipeline: write its file and a test, which pass as they are."""
    for file in _module("cli_new").new(name, dags, tests):
        print(file)


# -- ways out: what a person decides (microbatch.cli_accept and others) --------------------------------------

Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept on record with who and when.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needs --reason.")]


@app.command("accept-loss")
def accept_loss(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Go on without messages that retention deleted before they were read; shows them and asks."""
    find_stack()
    _module("cli_accept").accept_loss(pipeline, reason, yes=yes)


@app.command()
def recover(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Go on where Kafka and the ledger disagree, or the source is another log; shows what is kept and asks."""
    find_stack()
    _module("cli_recover").recover(pipeline, reason, yes=yes)


@app.command("accept-rejects")
def accept_rejects(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Store what was refused for too many rejects: they become dead letters; shows them and asks."""
    find_stack()
    _module("cli_accept").accept_rejects(pipeline, reason, yes=yes)


@app.command()
def redrive(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    rejected_for: Annotated[
        str, typer.Option("--rejected-for", metavar="TEXT", help="Only those with this in their reason.")
    ] = "",
    start: Annotated[
        str | None, typer.Option("--from", help="Only those of this time or later (their own, in Kafka).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only those before this time.")] = None,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Send dead letters to their topic again, each at most once, after a fix; shows them and asks."""
    find_stack()
    _module("cli_redrive").redrive(pipeline, rejected_for, start, end, reason, yes=yes)


@app.command()
def rebuild(
    pipeline: Annotated[str, typer.Argument(help="The name of a pipeline.")],
    dags: Annotated[Path, typer.Option(help="The folder whose files declare it.")] = Path("dags"),
    start: Annotated[
        str | None, typer.Option("--from", help="Only batches that read what the source got at this time or later.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Only batches that read what it got before this time.")
    ] = None,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Count again what was counted before its definition was changed in its file; shows what and asks.

    What was cut off goes on with the same command.
    """
    find_stack()
    _module("cli_rebuild").rebuild(pipeline, dags, start, end, reason, yes=yes)


with contextlib.suppress(ModuleNotFoundError):  # the wheel leaves the demo out
    app.command()(importlib.import_module("producers.cli").produce)


def _stack(command: str) -> Any:
    stack = embedded_stack()
    if stack is None:
        raise CheckoutNeededError(command=command)
    return stack


def _module(name: str) -> Any:
    return importlib.import_module(f"microbatch.{name}")
