"""`python -m local.declare`: make the topics and the ledger that the pipelines of `dags/` need.

A process of its own, because importing the DAG files imports Airflow, which reads its settings once. It gets
the stack's environment, and prints a `Declared` as JSON on its last line.
"""

import sys
from pathlib import Path

import msgspec

from microbatch.declared import load_pipelines
from microbatch.errors import MicrobatchError
from microbatch.migrations import migrate
from microbatch.pipeline import Pipeline
from microbatch.postgres import connect
from microbatch.settings import connections
from microbatch.topics import create_topics


class Declared(msgspec.Struct, frozen=True):
    """What the DAG files declare: tables by pipeline, and the topics that were made just now."""

    tables: dict[str, list[str]]
    created: list[str]


def declare(dags: Path) -> Declared:
    """Make what is missing of topics and ledger for all pipelines of a folder."""
    pipelines = load_pipelines(dags)
    there = connections()
    created = create_topics(pipelines, there)
    with connect(there.postgres, "declare") as ledger:
        migrate(ledger)
    return Declared({pipeline.name: _tables(pipeline) for pipeline in pipelines}, created)


def _tables(pipeline: Pipeline) -> list[str]:
    return [output.table for output in pipeline.outputs if output.table]


def main() -> None:
    """Declare what the given folder has."""
    try:
        declared = declare(Path(sys.argv[1]))
    except MicrobatchError as error:
        sys.exit(str(error))
    print(msgspec.json.encode(declared).decode())


if __name__ == "__main__":
    main()
