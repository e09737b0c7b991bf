"""What `make up` does once the stack runs: lets the DAGs run and waits for the first results."""

import time
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

TAG = "microbatch"
PRODUCERS = ("producers", 2, "Demo event generators: they never take the slots of pipelines")
DAGS_S = 60.0
RESULTS_S = 150.0
ROWS = 12
NEXT = (
    'microbatch sql "select * from aggregated_sales order by window_start desc, seller_id limit 8"',
    "microbatch consume aggregated-sales --max-messages 4",
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
    """No minute has given a result in time."""

    message = "no new result in table {table} within {timeout_s:g} s; look at the runs in Airflow"


class Rows(msgspec.Struct, frozen=True):
    """A part of a result table."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def let_dags_run(running: Running, say: Say) -> None:
    """Wait until Airflow has read every DAG file, make the producers' pool, and unpause our DAGs."""
    api = AirflowApi(running.ports.airflow, running.credentials.airflow_admin)
    api.ensure_pool(*PRODUCERS)
    dags = _wait_for_dags(running, api)
    for dag in dags:
        if dag.is_paused:
            api.unpause(dag.dag_id)
    say(f"DAGs at work: {', '.join(sorted(dag.dag_id for dag in dags))}")


def wait_for_results(running: Running, table: str) -> Rows:
    """The newest rows of a result table, once a minute has closed since this command started Airflow."""
    deadline = time.monotonic() + RESULTS_S
    query = sql.SQL("select * from {} order by window_start desc, 3 limit {}").format(
        sql.Identifier(table), sql.Literal(ROWS)
    )
    with psycopg.connect(reader_dsn(running.ports.postgres, running.credentials), autocommit=True) as reader:
        while time.monotonic() < deadline:
            if _has_new(reader, table, running):
                found = reader.execute(query)
                return Rows([column.name for column in found.description or []], found.fetchall())
            time.sleep(0.25)
    raise NoResultsError(table=table, timeout_s=RESULTS_S)


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


def _has_new(reader: psycopg.Connection, table: str, running: Running) -> bool:
    if reader.execute("select to_regclass(quote_ident(%s)) is null", [table]).fetchone() == (True,):
        return False
    newer = sql.SQL("select exists (select from {} where updated_at >= coalesce(%s, timestamptz '-infinity'))")
    return reader.execute(newer.format(sql.Identifier(table)), [running.results_since]).fetchone() == (True,)
