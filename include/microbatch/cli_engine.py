"""Commands that run a pipeline: the code that Airflow's tasks run, without Airflow."""

import logging
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from microbatch.clock import Clock
from microbatch.consume import consume
from microbatch.declared import find_pipeline
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.settings import connections

DAG_ID = "cli"


def run(name: str, dags: Path) -> None:
    """Catch up with the source of a pipeline, shard after shard, then publish."""
    console = Console(stderr=True, highlight=False)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_level=False)],
    )
    there = connections()
    pipeline = find_pipeline(dags, name)
    this_run = Run(DAG_ID, f"{DAG_ID}__{Clock().now():%Y-%m-%dT%H:%M:%S.%f}")
    for shard in range(pipeline.shards):
        print(consume(pipeline, shard, this_run, there).describe())
    print(publish(pipeline, this_run, there).describe())
