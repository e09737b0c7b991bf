"""A Prometheus of its own logs in as the one in the containers does, scrapes Airflow's page and judges the alerts."""

import json
import os
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
import yaml
from starlette.testclient import TestClient

from fix_pipeline import World, sale
from fix_ui import OpenUi
from free_ports import random_free
from local.ports import HOST
from shell_pages import blocks_of

PROMETHEUS: Final = Path(__file__).parents[2] / "deploy" / "compose" / "prometheus"
PASSWORD: Final = "a-password_of-prometheus"  # noqa: S105
PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"
PATIENCE_S: Final = 120


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def airflow_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own auth manager, with the login of Prometheus as the containers have it."""
    from airflow.api_fastapi.app import _AuthManagerState  # noqa: PLC0415

    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"prometheus": PASSWORD}))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "prometheus:viewer")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-of-this-test-that-is-long-enough-to-sign-with" * 2)
    monkeypatch.setattr(_AuthManagerState, "instance", None)


@contextmanager
def served(client: TestClient) -> Iterator[int]:
    """The app of the client with Airflow's logins, on a port of this machine."""
    from airflow.api_fastapi.app import init_auth_manager  # noqa: PLC0415

    app: Any = client.app
    init_auth_manager(app)
    port = random_free()
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, "the app does not start")
        yield port
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[None]:
    """A program, until the block is left."""
    with subprocess.Popen(
        [*command], env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def prometheus_config(folder: Path, port: int, token: Path) -> Path:
    """The configuration of the containers, in a hurry, for this app and this token."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"}
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "microbatch"]
    job["static_configs"] = [{"targets": [f"{HOST}:{port}"]}]
    job["authorization"] = {"credentials_file": str(token)}
    config["scrape_configs"] = [job]
    (folder / "alerts.yaml").write_text((PROMETHEUS / "alerts.yaml").read_text())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


class Api:
    """Prometheus's HTTP API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://{HOST}:{port}/api/v1"

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer."""
        address = f"{self._base}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def up(self) -> bool:
        """Whether the target was scraped, and well."""
        try:
            targets = self.get("targets")["activeTargets"]
        except OSError:
            return False
        return [target["health"] for target in targets] == ["up"]

    def value(self, query: str) -> float:
        """The one value of a query."""
        (result,) = self.get("query", query=query)["result"]
        return float(result["value"][1])

    def judged(self) -> dict[str, str]:
        """The health of each rule; empty as long as one was not evaluated."""
        rules = [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
        return {} if any(rule["health"] == "unknown" for rule in rules) else {r["name"]: r["health"] for r in rules}


def test_prometheus_logs_in_scrapes_the_page_and_judges_the_alerts(
    world: World, open_ui: OpenUi, airflow_logins: None, tmp_path: Path
) -> None:
    world.send(sale(), sale(), b"no sale")
    world.run()
    token, port = tmp_path / "airflow.token", random_free()

    with served(open_ui(world.connections, None)) as app_port:
        login = {"AIRFLOW_URL": f"http://{HOST}:{app_port}", "PROMETHEUS_PASSWORD": PASSWORD}
        with running("bash", PROMETHEUS / "login.sh", **login, PROMETHEUS_TOKEN_FILE=str(token)):
            wait_for(token.exists, "no token comes")
        config = prometheus_config(tmp_path, app_port, token)
        storage = f"--storage.tsdb.path={tmp_path / 'data'}"
        with running("prometheus", f"--config.file={config}", storage, f"--web.listen-address={HOST}:{port}"):
            api = Api(port)
            wait_for(api.up, "Prometheus does not scrape the page")
            wait_for(lambda: bool(api.judged()), "Prometheus does not evaluate the alerts")

            assert api.value("microbatch_covered_offsets_total") == 3
            assert api.value("microbatch_rejected_last_hour / microbatch_messages_last_hour") == pytest.approx(1 / 3)
            assert api.value("sum(microbatch_state)") == 1
            assert set(api.judged().values()) == {"ok"}
            assert len(api.judged()) == 6


def test_the_page_tells_how_to_log_in(world: World, open_ui: OpenUi, airflow_logins: None, tmp_path: Path) -> None:
    (block,) = blocks_of(PAGE.read_text(encoding="utf-8"), "sh")
    token = tmp_path / "airflow.token"

    with served(open_ui(world.connections, None)) as port:
        login = {"AIRFLOW_URL": f"http://{HOST}:{port}", "PROMETHEUS_PASSWORD": PASSWORD}
        subprocess.run(
            ["/bin/sh", "-ec", block], env=os.environ | login | {"PROMETHEUS_TOKEN_FILE": str(token)}, check=True
        )
        address = f"http://{HOST}:{port}/microbatch/metrics"
        asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {token.read_text()}"})
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            assert b"microbatch_state" in answer.read()
