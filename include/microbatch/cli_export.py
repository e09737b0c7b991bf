"""The command that writes results into a Parquet file."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from microbatch.cli_data import ask
from microbatch.errors import ExportRefusedError
from microbatch.explaining import Explainer
from microbatch.exporting import Wanted
from microbatch.exporting import export as write
from microbatch.modes import moment_of
from microbatch.settings import deployment


def export(
    at: dict[str, str], table: str, file: Path, *, history: bool, start: str | None, end: str | None, overwrite: bool
) -> None:
    """Write a result table, or its history, and say how much it was."""
    if file.exists() and not overwrite:
        raise ExportRefusedError(file=str(file), reason="it exists; --overwrite replaces it")
    since, until = (moment_of(name, text) if text else None for name, text in (("from", start), ("to", end)))
    with ask(at) as connection, _progress() as progress:
        task = progress.add_task(f"{file.name}: reading", total=None)
        output = Explainer(connection, deployment()).output(table)
        rows = write(
            connection,
            Wanted(output, history, since, until),
            file,
            lambda count: progress.update(task, description=f"{file.name}: {count:,} rows"),
        )
    what = "revisions" if history else "results"
    print(f"{file}: {rows:,} {what} of {output.schema}.{output.table}, {file.stat().st_size:,} bytes")


def _progress() -> Progress:
    """On the error stream, and only where somebody looks at it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
