"""docker-compose.yaml with Celery, run natively: each service by its own command, two workers, one of them lost.

All services run here but these, whose programs are in images only: kafka-ui, grafana and otel-collector. What is
translated for that, and that nothing else is, can be read in `compose_native` and `compose_images`.

The times are deadlines that end a hang on any machine; nothing here is about speed.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from typing import Any

import psutil
import pytest

from fix_compose import WORKER, Compose, Visitors
from leaks import command_lines

pytestmark = pytest.mark.timeout(900)
FIRST, SECOND, THIRD = (f"{WORKER}-{number}" for number in (1, 2, 3))
SHARDS = "dag_id = 'four_shards' and task_id = 'consume'"


def answer(url: str, body: object = None) -> Any:
    """What a service answers, decoded."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as found:  # noqa: S310
        return json.load(found)


def stand_on(compose: Compose, worker: str) -> bool:
    """Whether all batches of a worker stand where they were told to, shards among them."""
    running = compose.ask_airflow(
        f"select dag_id from task_instance where hostname = '{worker}' and task_id = 'consume' and state = 'running'"
    )
    stopped = [one for one in compose.members(worker) if one.status() == psutil.STATUS_STOPPED]
    return ("four_shards",) in running and len(stopped) == len(running)


def recount(compose: Compose, pipeline: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recount", pipeline, *options],
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": compose.bootstrap, "POSTGRES_DSN": compose.warehouse},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_service_gets_healthy_by_its_own_command_environment_and_check(compose: Compose) -> None:
    once = [compose.box(name) for name in sorted(compose.at_hand() - {WORKER})]
    compose.up([*once, compose.worker(1, MICROBATCH_CRASH="consume.before_commit:stop"), compose.worker(2)])

    assert set(compose.services) - compose.at_hand() == {"kafka-ui", "grafana", "otel-collector"}


def test_the_password_that_was_drawn_opens_airflow(compose: Compose) -> None:
    login = {"username": "admin", "password": compose.variables["AIRFLOW_ADMIN_PASSWORD"]}

    assert answer(f"http://{compose.addresses['airflow-api-server']}:8080/auth/token", login)["access_token"]


def test_no_secret_is_in_the_process_list(compose: Compose) -> None:
    secrets = {value for name, value in compose.variables.items() if re.search("PASSWORD|SECRET|KEY", name) and value}
    listed = command_lines(member for name in compose.running() for member in compose.members(name))

    assert len(secrets) >= 10
    assert len(listed) >= 10
    assert [line for line in listed if any(secret in line for secret in secrets)] == []


def test_shards_that_a_lost_worker_had_in_hand_are_done_by_others(compose: Compose, visitors: Visitors) -> None:
    compose.until("batches of shards stand on the first worker", lambda: stand_on(compose, FIRST))
    lost = compose.ask_airflow(f"select run_id, map_index from task_instance where {SHARDS} and hostname = '{FIRST}'")
    compose.kill(FIRST)
    killed_at = time.monotonic()
    compose.start(compose.worker(3))

    again = f"{SHARDS} and try_number > 1 and hostname in ('{SECOND}', '{THIRD}') and state = 'success'"
    done = f"select run_id, map_index from task_instance where {again}"
    compose.until("the others have done them", lambda: set(lost) <= set(compose.ask_airflow(done)))
    print(f"{len(lost)} of 4 shards done again {time.monotonic() - killed_at:.0f} s after their worker was killed")


def test_a_worker_that_comes_gets_its_share_of_shards(compose: Compose, visitors: Visitors) -> None:
    both = f"{SHARDS} and try_number = 1 and hostname in ('{SECOND}', '{THIRD}') and state = 'success'"
    runs = f"select run_id from task_instance where {both} group by run_id having count(distinct hostname) = 2"

    compose.until("one run's shards have run on both workers", lambda: bool(compose.ask_airflow(runs)))


def test_every_message_counts_once(compose: Compose, visitors: Visitors) -> None:
    sent = visitors.stop()

    def counted() -> int:
        return int(compose.ask("select coalesce(sum(visits), 0) from visits_per_page")[0][0])

    compose.until("the windows of all visits are closed", lambda: counted() >= sent)
    assert counted() == sent
    for checked in [recount(compose, "four_shards", "--settled"), *(recount(compose, n) for n in ("sales", "weather"))]:
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_collects_what_the_pages_have(compose: Compose) -> None:
    targets = f"http://{compose.addresses['prometheus']}:9090/api/v1/targets"

    def health() -> dict[str, str]:
        return {each["labels"]["job"]: each["health"] for each in answer(targets)["data"]["activeTargets"]}

    compose.until("Prometheus has asked the pages", lambda: health()["microbatch"] == "up")
