"""The few requests that the stack makes to Airflow's REST API."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from local.errors import StackError
from local.ports import HOST
from local.process import Record

USER = "admin"
TIMEOUT_S = 60.0
HEARTBEATS = {"airflow-scheduler": "scheduler", "airflow-dag-processor": "dag_processor"}


class AirflowApiError(StackError):
    """Airflow's API refused a request."""

    message = "Airflow: {method} {path} was answered with {status}: {answer}; look at the api-server's log"


class Dag(msgspec.Struct, frozen=True):
    """A DAG as the API lists it."""

    dag_id: str
    is_paused: bool
    relative_fileloc: str | None = None


class AirflowApi:
    """Requests of the generated user; the token is drawn when it is made."""

    def __init__(self, port: int, password: str) -> None:
        self._port = port
        login = {"username": USER, "password": password}
        self._token = str(_request(port, "POST", "/auth/token", login)["access_token"])

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make a pool that is not there yet; an existing one keeps its size."""
        if name not in {pool["name"] for pool in self._pages("/api/v2/pools", "pools")}:
            body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
            self._ask("POST", "/api/v2/pools", body)

    def dags(self, tag: str) -> list[Dag]:
        """The DAGs that have a tag."""
        return msgspec.convert(list(self._pages(f"/api/v2/dags?tags={tag}", "dags")), list[Dag])

    def import_errors(self) -> dict[str, str]:
        """Files of the DAGs folder that cannot be imported, with the error."""
        found = self._pages("/api/v2/importErrors", "import_errors")
        return {Path(str(error["filename"])).name: str(error["stack_trace"]) for error in found}

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._ask("PATCH", f"/api/v2/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})

    def _pages(self, path: str, field: str) -> Iterator[dict[str, Any]]:
        seen = 0
        while True:
            mark = "&" if "?" in path else "?"
            answer = self._ask("GET", f"{path}{mark}limit=100&offset={seen}")
            yield from answer[field]
            seen += len(answer[field])
            if not answer[field] or seen >= answer["total_entries"]:
                return

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return _request(self._port, method, path, body, self._token)


def unready(port: int, record: Record) -> str | None:
    """Why one of Airflow's processes cannot be used yet; None if it can."""
    try:
        if record.component not in HEARTBEATS:
            _request(port, "GET", "/api/v2/version")
            return None
        health = _request(port, "GET", "/api/v2/monitor/health")[HEARTBEATS[record.component]]
    except (OSError, http.client.HTTPException, AirflowApiError) as error:
        return f"the api-server does not answer: {error}"
    return _heartbeat_missing(health, record)


def _heartbeat_missing(health: dict[str, Any], record: Record) -> str | None:
    """A heartbeat of an earlier process does not count."""
    heartbeat = next((str(value) for name, value in health.items() if name.startswith("latest_") and value), None)
    if heartbeat is None or datetime.fromisoformat(heartbeat) < record.started_at:
        return "it has sent no heartbeat since it started"
    return None if health["status"] == "healthy" else f"its last heartbeat was at {heartbeat}"


def _request(port: int, method: str, path: str, body: object = None, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with closing(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    if answer.status >= http.client.BAD_REQUEST:
        raise AirflowApiError(method=method, path=path, status=answer.status, answer=text[:500])
    return dict(json.loads(text)) if text else {}
