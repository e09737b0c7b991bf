"""What `make up` does once the stack runs: lets the DAGs run and waits for the first results."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from local.airflow_api import AirflowApi, Dag
from local.airflow_services import DAGS
from local.data import Say
from local.errors import StackError
from local.roles import reader_dsn
from local.stack import Running
from microbatch.settings import deployment
from producers.registry import PRODUCERS

TAG = "microbatch"
POOL = ("producers", 5, "Demo event generators: they never take the slots of pipelines")
DAGS_S = 180.0
RESULTS_S = 300.0
SAMPLE = "aggregated_sales"
ROWS = 12
NEXT = (
    'microbatch sql "select * from aggregated_sales order by window_start desc, seller_id limit 8"',
    "microbatch consume enriched-topic --max-messages 4",
    "microbatch watch logins",
    "microbatch status",
)
NEXT_ONLY_DATA = ("microbatch check", 'eval "$(microbatch env)"', "microbatch status")


class DagsMissingError(StackError):
    """Airflow does not know all DAG files in time."""

    message = "Airflow has not read {missing} within {timeout_s:g} s; look at {log}"


class DagBrokenError(StackError):
    """A file of the DAGs folder cannot be imported."""

    message = "{file} cannot be imported by Airflow; correct it and run `make up` again:\n{error}"


class NoResultsError(StackError):
    """No minute has given results in time."""

    message = "no minute with results within {timeout_s:g} s: {pipelines}; look at their runs in Airflow"


class Rows(msgspec.Struct, frozen=True):
    """Rows of the warehouse, with the names of their columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def let_dags_run(running: Running, say: Say) -> None:
    """Wait until Airflow has read every DAG file, make the producers' pool, and unpause our DAGs."""
    api = AirflowApi(running.ports.airflow, running.credentials.airflow_admin)
    api.ensure_pool(*POOL)
    dags = _wait_for_dags(running, api)
    for dag in dags:
        if dag.is_paused:
            api.unpause(dag.dag_id)
    say(f"DAGs at work: {', '.join(sorted(dag.dag_id for dag in dags))}")


def wait_for_results(running: Running, tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The pipelines, each as soon as it has closed a minute since this command started Airflow.

    A pipeline with a demo producer has rows in all of its tables too; of others nobody knows whether anything comes.

    Args:
        running: the stack.
        tables: of each pipeline.

    Raises:
        NoResultsError: for some of them that takes too long.
    """
    deadline = time.monotonic() + RESULTS_S
    left = list(tables)
    with _reader(running) as reader:
        while left:
            if time.monotonic() > deadline:
                raise NoResultsError(pipelines=", ".join(left), timeout_s=RESULTS_S)
            time.sleep(0.25)
            done = [name for name in left if _has_results(reader, name, tables[name], running)]
            left = [name for name in left if name not in done]
            yield from done


def sample(running: Running) -> Rows:
    """The newest results of the sales pipeline."""
    query = sql.SQL("select * from {} order by window_start desc, 3 limit {}")
    with _reader(running) as reader:
        found = reader.execute(query.format(sql.Identifier(SAMPLE), sql.Literal(ROWS)))
        return Rows([column.name for column in found.description or []], found.fetchall())


def row_counts(running: Running, tables: Mapping[str, Sequence[str]]) -> Rows:
    """How many rows each table of each pipeline has."""
    count = sql.SQL("select count(*) from {}")
    with _reader(running) as reader:
        rows = [
            (name, table, reader.execute(count.format(sql.Identifier(table))).fetchall()[0][0])
            for name, its_tables in tables.items()
            for table in its_tables
        ]
    return Rows(["pipeline", "table", "rows"], rows)


def dag_files(folder: Path) -> set[str]:
    """The files that Airflow takes for DAG files: they speak of both, `dag` and `airflow`."""
    texts = {file.name: file.read_text(encoding="utf-8").lower() for file in folder.glob("*.py")}
    return {name for name, text in texts.items() if "dag" in text and "airflow" in text}


def _wait_for_dags(running: Running, api: AirflowApi) -> list[Dag]:
    deadline = time.monotonic() + DAGS_S
    files = dag_files(DAGS)
    while True:
        dags = api.dags(TAG)
        for file, error in api.import_errors().items():
            raise DagBrokenError(file=file, error=error.strip())
        missing = files - {str(dag.relative_fileloc) for dag in dags}
        if not missing:
            return dags
        if time.monotonic() > deadline:
            log = running.home / "log" / "airflow-dag-processor.log"
            raise DagsMissingError(missing=", ".join(sorted(missing)), timeout_s=DAGS_S, log=log)
        time.sleep(0.25)


def _reader(running: Running) -> psycopg.Connection:
    return psycopg.connect(reader_dsn(running.ports.postgres, running.credentials), autocommit=True)


def _has_results(reader: psycopg.Connection, name: str, tables: Sequence[str], running: Running) -> bool:
    closed = reader.execute(
        "select closed_until > coalesce(%s, timestamptz '-infinity') from microbatch.pipeline"
        " where name = %s and deployment = %s",
        [running.results_since, name, deployment()],
    ).fetchone()
    has_rows = sql.SQL("select exists (select from {})")
    return closed == (True,) and (
        name not in PRODUCERS
        or all(reader.execute(has_rows.format(sql.Identifier(table))).fetchone() == (True,) for table in tables)
    )
