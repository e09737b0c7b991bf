"""The pages where Airflow lacks a connection that they need: they say which, and how to add it."""

import pytest

from fix_pipeline import World
from fix_ui import OpenUi


@pytest.mark.parametrize("path", ["pipelines", "sql/catalog"])
def test_without_the_reading_connection_the_pages_name_it(
    world: World, open_ui: OpenUi, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client = open_ui(world.connections)
    monkeypatch.delenv("AIRFLOW_CONN_POSTGRES_READER")

    answer = client.get(f"/microbatch/api/{path}")

    assert answer.status_code == 503
    assert "postgres_reader" in answer.json()["detail"]
    assert "set AIRFLOW_CONN_POSTGRES_READER" in answer.json()["detail"]
