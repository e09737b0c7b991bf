"""The whole stack: what is started in which order, what is stopped, and how it is."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from local import airflow_api, airflow_services, kafka, postgres, process, roles, weather_api
from local.credentials import Credentials, load_credentials
from local.data import Say, ensure_kafka, ensure_postgres, stop_data
from local.declare import Declared
from local.errors import CommandFailedError, StackError, StackNotRunningError
from local.home import prepare
from local.ports import AIRFLOW, CONTROLLER, HOST, KAFKA, POSTGRES, WEATHER, Kept, Wanted, choose_port, kept_ports

STOP_ORDER = (
    (airflow_services.SCHEDULER, airflow_services.DAG_PROCESSOR),
    (airflow_services.API_SERVER, weather_api.COMPONENT),
)
"""The api-server last: tasks report their end to it."""

ORDER = (postgres.COMPONENT, kafka.COMPONENT, weather_api.COMPONENT, *airflow_services.COMPONENTS)


class BusyError(StackError):
    """Two commands would start or stop the same stack at once."""

    message = "another command is starting or stopping the stack in {home}; wait until it is done"


class Ports(msgspec.Struct, frozen=True):
    """The ports of a stack."""

    kafka: int
    controller: int
    postgres: int
    airflow: int
    weather: int


class Running(msgspec.Struct, frozen=True):
    """A stack that runs, with what one needs to use it."""

    home: Path
    ports: Ports
    credentials: Credentials
    results_since: datetime | None = None
    """Results older than this are from before this start; None: Airflow was running already."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Airflow's processes."""
        return airflow_services.airflow_environment(
            self.home,
            kafka_port=self.ports.kafka,
            postgres_port=self.ports.postgres,
            airflow_port=self.ports.airflow,
            weather_port=self.ports.weather,
            credentials=self.credentials,
        )


class Health(msgspec.Struct, frozen=True):
    """How one component is. `state` is one of: running, starting or stuck, died, not started."""

    component: str
    state: str
    pid: int | None = None
    port: int | None = None
    since: datetime | None = None
    log: str | None = None
    detail: str | None = None


def up(home: Path, say: Say, *, only_data: bool = False) -> Running:
    """Start what does not run, side by side where possible, and wait until all of it works."""
    with _alone(prepare(home)):
        ports = choose_ports(home, say, only_data=only_data)
        credentials = load_credentials(home)
        start = not only_data and not all(is_running(home, name) for name in airflow_services.COMPONENTS)
        running = Running(home, ports, credentials, datetime.now(UTC) if start else None)
        with ThreadPoolExecutor(3) as pool:
            starts: list[Future[object]] = [
                pool.submit(_databases, running, say, migrate=start),
                pool.submit(ensure_kafka, home, ports.kafka, ports.controller, say),
            ]
            if not only_data:
                starts.append(pool.submit(_ensure_weather_api, running, say))
        for started in starts:
            started.result()
        if not only_data:
            _ensure_airflow(running, say)
        return running


def down(home: Path, say: Say) -> None:
    """Stop everything, Airflow first; data stays. Harmless when nothing runs or something crashed."""
    if not home.exists():
        return
    with _alone(home):
        for names in STOP_ORDER:
            with ThreadPoolExecutor(len(names)) as pool:
                stops = {name: pool.submit(process.stop, home, name) for name in names}
            for name, stopped in stops.items():
                if stopped.result():
                    say(f"{name}: stopped")
        stop_data(home, say)


def status(home: Path) -> list[Health]:
    """How each component is, in the order in which they are started."""
    return [_health(home, name) for name in ORDER]


def declare(running: Running) -> Declared:
    """Make the topics and the ledger that the pipelines of `dags/` need."""
    done = subprocess.run(
        [sys.executable, "-m", "local.declare", str(airflow_services.DAGS)],
        env=running.environment | addresses(running),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        output = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise CommandFailedError(
            component="pipelines", command="python -m local.declare", status=done.returncode, output=output
        )
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Declared)


def find(home: Path) -> Running:
    """The stack that runs in a state folder.

    Raises:
        StackNotRunningError: its Kafka or its PostgreSQL does not run.
    """
    if not (is_running(home, kafka.COMPONENT) and is_running(home, postgres.COMPONENT)):
        raise StackNotRunningError(home=home)
    kept = kept_ports(home)
    ports = [
        # A stack of an earlier version has chosen no port for a component that is new.
        kept[wanted.component].port if wanted.component in kept else wanted.default
        for wanted in (KAFKA, CONTROLLER, POSTGRES, AIRFLOW, WEATHER)
    ]
    return Running(home, Ports(*ports), load_credentials(home))


def addresses(running: Running) -> dict[str, str]:
    """The variables by which programs find the stack."""
    ports, credentials = running.ports, running.credentials
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{ports.kafka}",
        "POSTGRES_DSN": roles.reader_dsn(ports.postgres, credentials),
        "POSTGRES_OWNER_DSN": roles.owner_dsn(ports.postgres, credentials),
        "AIRFLOW_URL": f"http://{HOST}:{ports.airflow}",
        **weather_api.weather_variables(ports.weather, credentials, os.environ),
    }


def choose_ports(home: Path, say: Say, *, only_data: bool) -> Ports:
    """Choose the ports of all components; of those that are about to start, say which have not the wanted one."""
    running = {
        KAFKA: is_running(home, kafka.COMPONENT),
        CONTROLLER: is_running(home, kafka.COMPONENT),
        POSTGRES: is_running(home, postgres.COMPONENT),
        AIRFLOW: is_running(home, airflow_services.API_SERVER),
        WEATHER: is_running(home, weather_api.COMPONENT),
    }
    chosen = {wanted: choose_port(home, wanted, running=up) for wanted, up in running.items()}
    for wanted in (KAFKA, POSTGRES) if only_data else (KAFKA, POSTGRES, AIRFLOW, WEATHER):
        _say_if_moved(wanted, chosen[wanted], say)
    return Ports(*(kept.port for kept in chosen.values()))


def is_running(home: Path, component: str) -> bool:
    """Whether a component was started and is still alive."""
    record = process.load(home, component)
    return record is not None and process.is_alive(record)


def _say_if_moved(wanted: Wanted, kept: Kept, say: Say) -> None:
    if kept.port != kept.wanted:
        say(
            f"{wanted.component}: port {kept.wanted} was taken by another program, so it has {kept.port} "
            f"from now on ({wanted.variable} chooses another)"
        )


def _databases(running: Running, say: Say, *, migrate: bool) -> None:
    ensure_postgres(running.home, running.ports.postgres, running.credentials, say)
    if migrate:
        say("Airflow: preparing its database")
        airflow_services.prepare_airflow(running.home, running.ports.postgres, running.credentials, running.environment)


def _ensure_weather_api(running: Running, say: Say) -> None:
    def start() -> process.Record:
        say(f"{weather_api.COMPONENT}: starting on port {running.ports.weather}")
        return weather_api.start_weather_api(running.home, running.ports.weather, running.credentials)

    record = process.ensure(running.home, weather_api.COMPONENT, start)
    weather_api.wait_for_weather_api(record)
    say(f"{weather_api.COMPONENT}: ready on port {running.ports.weather}")


def _ensure_airflow(running: Running, say: Say) -> None:
    records = [_ensure(running, name, say) for name in airflow_services.COMPONENTS]
    with ThreadPoolExecutor(len(records)) as pool:
        waits: list[Future[None]] = [
            pool.submit(airflow_services.wait_for_airflow, record, running.ports.airflow) for record in records
        ]
    for record, wait in zip(records, waits, strict=True):
        wait.result()
        say(f"{record.component}: ready")


def _ensure(running: Running, component: str, say: Say) -> process.Record:
    def start() -> process.Record:
        say(f"{component}: starting")
        return airflow_services.start_airflow(running.home, component, running.ports.airflow, running.environment)

    return process.ensure(running.home, component, start)


def _health(home: Path, component: str) -> Health:
    record = process.load(home, component)
    if record is None:
        return Health(component, "not started")
    facts = (record.pid, record.port, record.started_at, record.log)
    if not process.is_alive(record):
        return Health(component, "died", *facts, detail=process.tail(Path(record.log)))
    reason = _unready(home, record)
    return Health(component, "running" if reason is None else "not answering", *facts, detail=reason)


def _unready(home: Path, record: process.Record) -> str | None:
    if record.component == kafka.COMPONENT:
        return kafka.unready(record.port or 0)
    if record.component == postgres.COMPONENT:
        return postgres.unready(postgres.admin_dsn(record.port or 0, load_credentials(home)))
    if record.component == weather_api.COMPONENT:
        return weather_api.unready(record.port or 0)
    return airflow_api.unready(kept_ports(home)[AIRFLOW.component].port, record)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One command at a time; the lock ends with its process, however that ends."""
    file = home / "run" / "lock"
    file.touch(mode=0o600)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(home=home) from None
        yield
