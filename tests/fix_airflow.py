"""An Airflow of the test run's own: a home in a temporary folder, with a SQLite database that is made once."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from fix_stack import Stack

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

DAGS = Path(__file__).parents[1] / "dags"
_HOME = Path(tempfile.mkdtemp(prefix="microbatch-airflow-"))

# Airflow reads its settings when it is imported, which any test may do: so they are set before all tests.
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(_HOME / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables."""
    from airflow.utils.db import initdb  # noqa: PLC0415

    initdb()


def postgres_connection(dsn: str) -> dict[str, Any]:
    """What Airflow calls a connection, from a connection string."""
    at = conninfo_to_dict(dsn)
    return {
        "conn_type": "postgres",
        "host": at["host"],
        "port": int(at["port"] or 5432),
        "login": at["user"],
        "password": at["password"],
        "schema": at["dbname"],
    }


def forget_dags() -> None:
    """Let Airflow forget all DAGs, with their runs: earlier tests of this worker have left some."""
    from airflow.api.common.delete_dag import delete_dag  # noqa: PLC0415
    from airflow.models.dag import DagModel  # noqa: PLC0415
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select, update  # noqa: PLC0415

    with create_session() as session:
        # It does not delete what runs, and tests kill tasks.
        session.execute(update(TaskInstance).values(state="failed"))
        known = session.scalars(select(DagModel.dag_id)).all()
    for dag_id in known:
        delete_dag(dag_id)


@pytest.fixture
def airflow_environment(stack: Stack, warehouse: str, monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> str:
    """Airflow's connections, to the real Kafka and an empty database; gives the latter's connection string."""
    postgres = postgres_connection(warehouse) | {"extra": {"connect_timeout": 10, "cursor": "dictcursor"}}
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": stack.bootstrap}}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps(postgres))
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
    # Ids in Kafka of its own, for the database is new and the topics are not.
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", postgres["schema"])
    return warehouse


RunDag = Callable[..., "DagRun"]


@pytest.fixture
def run_dag(airflow_environment: str, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    """`run_dag(dag, interval=…, clear_number=…)`: a run by `dag.test()`, with an interval a scheduled one."""

    def run(dag: "DAG", interval: tuple[datetime, datetime] | None = None, clear_number: int = 0) -> "DagRun":
        from airflow.serialization.definitions.dag import SerializedDAG  # noqa: PLC0415

        create = SerializedDAG.create_dagrun

        def create_scheduled(self: SerializedDAG, **facts: Any) -> "DagRun":
            # dag.test() can make manual runs only.
            made = create(self, **facts | {"run_type": "scheduled", "data_interval": interval})
            made.clear_number = clear_number
            facts["session"].commit()
            return made

        with monkeypatch.context() as patch:
            if interval is not None:
                patch.setattr(SerializedDAG, "create_dagrun", create_scheduled)
            made: DagRun = dag.test(logical_date=interval[0] if interval else None)
            return made

    return run


def states(run: "DagRun") -> dict[str, str]:
    """The state of each task instance of a run, such as `{"consume_0": "success", …}`."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    with create_session() as session:
        found = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id))
        return {f"{ti.task_id}{'' if ti.map_index < 0 else f'_{ti.map_index}'}": str(ti.state) for ti in found}
