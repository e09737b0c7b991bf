"""Airflow's scheduler, dag-processor and api-server as three processes, configured by environment alone."""

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg

from local import airflow_api, process, roles
from local.credentials import Credentials
from local.errors import CommandFailedError
from local.files import read_json, write_json
from local.home import REPOSITORY
from local.ports import HOST
from local.weather_api import weather_variables

API_SERVER = "airflow-api-server"
SCHEDULER = "airflow-scheduler"
DAG_PROCESSOR = "airflow-dag-processor"
COMPONENTS = {
    API_SERVER: ["api-server"],
    SCHEDULER: ["scheduler", "--skip-serve-logs"],  # the api-server reads the log files themselves
    DAG_PROCESSOR: ["dag-processor"],
}
READY_S = 240.0
DAGS = REPOSITORY / "dags"


def airflow_environment(
    home: Path, *, kafka_port: int, postgres_port: int, airflow_port: int, weather_port: int, credentials: Credentials
) -> dict[str, str]:
    """The whole environment of Airflow's processes: ours, less other Airflow settings, plus the stack's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    inherited.pop("KAFKA_SETTINGS", None)  # those of another Kafka: this one has neither TLS nor a login
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # it would make every start compile all of Airflow
    return {
        **inherited,
        **_core(home, credentials),
        **_services(airflow_port, credentials),
        **_database(postgres_port, credentials),
        **_connections(kafka_port, postgres_port, credentials),
        **weather_variables(weather_port, credentials, os.environ),
        "AIRFLOW_HOME": str(home / "airflow"),
        "PYTHONPATH": str(Path(__file__).with_name("airflow_settings")),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "OMP_NUM_THREADS": "1",  # a task is forked: threads that its parent's libraries started are not
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
        # For `maintenance`: Airflow hides its database from tasks, and this finds it again.
        "MICROBATCH_AIRFLOW_COMMAND": shlex.join([sys.executable, "-m", "local.airflow_command"]),
        "MICROBATCH_HOME": str(home),
        "REPORTS_FOLDER": os.environ.get("REPORTS_FOLDER") or str(home / "reports"),
    }


def _core(home: Path, credentials: Credentials) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__EXECUTOR": "local.airflow_executor.RestingExecutor",
        # Five producers that work through the minute, five pipelines, a backfill, and some whose task has ended: if its
        # pipes close before its process is gone (seen in one of five), the supervisor notices with the next heartbeat.
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{airflow_api.USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords_file(home)),
        # By default the group may write them.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _services(port: int, credentials: Credentials) -> dict[str, str]:
    return {
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__API__SECRET_KEY": credentials.jwt_secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        # The executor rests instead.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0",
        # How soon a new DAG file is seen; one that has changed is read at once, the others now and then.
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1800",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        # A worker that dies with its supervisor is noticed after 33 s; by default it takes minutes.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        # What a scheduler that was killed had queued is found and queued again after 40 s; by default it takes
        # up to five minutes, and a pipeline has one run at a time.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        # Each heartbeat is a request to the api-server: every 2 s, they were more than all others. Three fit into the
        # timeout above; by them a task learns, too, that its run was ended.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "10",
    }


def _database(port: int, credentials: Credentials) -> dict[str, str]:
    dsn = roles.airflow_dsn(port, credentials)
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": dsn.replace("postgresql://", "postgresql+psycopg://"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": dsn.replace("postgresql://", "postgresql+asyncpg://"),
    }


def _connections(kafka_port: int, postgres_port: int, credentials: Credentials) -> dict[str, str]:
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": f"{HOST}:{kafka_port}"}}
    postgres = {
        "conn_type": "postgres",
        "host": HOST,
        "port": postgres_port,
        "login": "microbatch",
        "password": credentials.microbatch_role,
        "schema": roles.WAREHOUSE,
    }
    reader = postgres | {"login": "reader", "password": credentials.reader_role}
    return {
        "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps(kafka),
        "AIRFLOW_CONN_POSTGRES_DEFAULT": json.dumps(postgres),
        "AIRFLOW_CONN_POSTGRES_READER": json.dumps(reader),  # for the pages in Airflow's UI
    }


def prepare_airflow(home: Path, postgres_port: int, credentials: Credentials, environment: dict[str, str]) -> None:
    """Write the login, and bring Airflow's database to the installed version if it is not there yet."""
    (home / "airflow").mkdir(mode=0o700, exist_ok=True)
    write_json(_passwords_file(home), {airflow_api.USER: credentials.airflow_admin})
    installed = importlib.metadata.version("apache-airflow-core")
    done = home / "airflow" / "migrated.json"
    if read_json(done, str) == installed and _has_tables(postgres_port, credentials):
        return
    _migrate(home, environment)
    write_json(done, installed)


def start_airflow(home: Path, component: str, port: int, environment: dict[str, str]) -> process.Record:
    """Start one of Airflow's processes. Returns before it works."""
    launch = process.Launch(
        component=component,
        arguments=[sys.executable, "-m", "airflow", *COMPONENTS[component]],
        folder=home / "airflow",
        environment=environment,
        log=home / "log" / f"{component}.log",
        port=port if component == API_SERVER else None,
        stop_deadline_s=6.0,  # a scheduler would wait for its tasks; the engine's may be killed at any time
    )
    return process.start(home, launch)


def wait_for_airflow(record: process.Record, port: int) -> None:
    """Wait until that process works: the api-server answers, the others send heartbeats."""
    process.wait_until_ready(record, lambda: airflow_api.unready(port, record), READY_S)


def _passwords_file(home: Path) -> Path:
    return home / "airflow" / "passwords.json"


def _has_tables(port: int, credentials: Credentials) -> bool:
    with psycopg.connect(roles.airflow_dsn(port, credentials)) as connection:
        return connection.execute("select to_regclass('alembic_version') is not null").fetchone() == (True,)


def _migrate(home: Path, environment: dict[str, str]) -> None:
    log = home / "log" / "airflow-migrate.log"
    log.touch(mode=0o600)
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            cwd=home / "airflow",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            umask=process.OWNER_ONLY,
        )
    if done.returncode != 0:
        raise CommandFailedError(
            component="airflow",
            command="airflow db migrate",
            status=done.returncode,
            output=process.tail(log),
        )
