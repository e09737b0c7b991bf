"""Waiting for what a whole Airflow does; if it does not come, the error says how Airflow stands."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg

from local import process

PATIENCE_S: Final = 300.0
"""Ends a hang on any machine; nothing here is about speed."""

STANDING: Final = {
    "The latest runs": """
        select dag_id, run_id, state, queued_at, start_date, end_date
        from dag_run
        order by coalesce(start_date, queued_at) desc nulls last
        limit 20
    """,
    "The latest tasks without success": """
        select dag_id, task_id, map_index, run_id, try_number, state, start_date, end_date, updated_at
        from task_instance
        where state is distinct from 'success'
        order by updated_at desc nulls last
        limit 20
    """,
}


def wait_until(what: str, condition: Callable[[], bool], airflow_dsn: str, logs: Path) -> None:
    """Wait for it.

    Args:
        what: it is, for the error.
        condition: whether it is there.
        airflow_dsn: of Airflow's database.
        logs: the folder of the logs of Airflow's processes.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE_S:g} s\n{_standing(airflow_dsn, logs)}")
        time.sleep(0.2)


def _standing(airflow_dsn: str, logs: Path) -> str:
    told: list[str] = []
    with psycopg.connect(airflow_dsn, options="-c timezone=UTC") as airflow:
        for title, query in STANDING.items():
            told += [f"{title}:", *(" ".join(map(str, row)) for row in airflow.execute(query.encode()))]
    for log in sorted(logs.glob("*.log")):
        told += [f"{log.name}:", process.tail(log, 25)]
    return "\n".join(told)
