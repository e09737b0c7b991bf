"""Commands that run a pipeline: the code that Airflow's tasks run, without Airflow."""

import logging
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from microbatch import renaming
from microbatch.clock import Clock
from microbatch.consume import consume
from microbatch.declared import find_pipeline
from microbatch.modes import run_in_mode
from microbatch.publish import publish
from microbatch.settings import connections

DAG_ID = "cli"


def run(name: str, dags: Path, *, mode: str, start: str | None, end: str | None, max_records: int | None) -> None:
    """Do a run of a pipeline: consume, shard after shard, then publish."""
    now = Clock().now()
    this_run = run_in_mode(
        DAG_ID,
        f"{DAG_ID}__{now:%Y-%m-%dT%H:%M:%S.%f}",
        0,
        mode=mode,
        start=start,
        end=end,
        max_records=max_records,
        now=now,
    )
    there = connections()
    pipeline = find_pipeline(dags, name)
    console = _show_log()
    # On a terminal, something moves between the lines of the log.
    for shard in range(pipeline.shards):
        with console.status(f"consume, shard {shard} of {pipeline.shards}"):
            summary = consume(pipeline, shard, this_run, there)
        print(summary.describe())
    with console.status("publish"):
        published = publish(pipeline, this_run, there)
    print(published.describe())


def rename(old: str, new: str, dags: Path) -> None:
    """Let a registered pipeline have the name that its file declares now."""
    there = connections()
    pipeline = find_pipeline(dags, new)
    _show_log()
    renaming.rename(old, pipeline, there)
    print(f"{old} is {new} now; Airflow shows it as a new DAG, and the runs of the old one stay under its name")


def _show_log() -> Console:
    """Let the engine's log, a line for each batch and each lot that is sent, go to stderr and nowhere else.

    To be called once the DAG files are imported: Airflow, which they import, has its own idea of logging.
    """
    console = Console(stderr=True, highlight=False)
    log = logging.getLogger("microbatch")
    log.setLevel(logging.INFO)
    log.handlers = [RichHandler(console=console, show_path=False, show_level=False)]
    log.propagate = False
    return console
