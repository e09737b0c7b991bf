"""What OpenLineage is told by Airflow's provider, of a real run: in a file, as its file transport writes it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from psycopg.conninfo import conninfo_to_dict

from fix_dags import sell
from microbatch.airflow_assets import table_asset, topic_asset
from microbatch.airflow_lineage import table_dataset, topic_dataset

AN_HOUR_AGO: Final = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)


def events(file: Path) -> dict[tuple[str, str], Any]:
    """By job and type."""
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return {(event["job"]["name"], event["eventType"]): event for event in found}


def datasets(event: Any, kind: str) -> list[tuple[str, str]]:
    return sorted((each["namespace"], each["name"]) for each in event[kind])


def test_events_name_the_topic_that_is_read_and_what_is_written(
    topics: str, airflow_environment: str, tmp_path: Path
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    file = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    environment = {
        **os.environ,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        # Seconds after which the provider gives an event up; its 10 are too few beside other tests.
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "240",
    }

    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "sales"], env=environment, check=True)

    at = conninfo_to_dict(airflow_environment)
    kafka, postgres = f"kafka://{topics}", f"postgres://{at['host']}:{at['port']}"
    table = (postgres, f"{at['dbname']}.public.aggregated_sales")
    told = events(file)
    for kind in ("START", "COMPLETE"):
        assert datasets(told["sales.consume", kind], "inputs") == [(kafka, "sales-usd")]
        assert datasets(told["sales.publish", kind], "outputs") == [(kafka, "aggregated-sales"), table]


@pytest.mark.parametrize(
    ("bootstrap", "namespace"),
    [("kafka-1:9093, kafka-2:9094", "kafka://kafka-1:9093"), ("kafka", "kafka://kafka:9092")],
)
def test_a_cluster_is_named_by_its_first_server(
    monkeypatch: pytest.MonkeyPatch, bootstrap: str, namespace: str
) -> None:
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": bootstrap}}
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))

    dataset = topic_dataset(topic_asset("sales-usd"), None)

    assert (dataset.namespace, dataset.name) == (namespace, "sales-usd")


def test_a_server_without_a_port_has_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = {"conn_type": "postgres", "host": "db", "schema": "warehouse", "login": "ada", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps(postgres))

    dataset = table_dataset(table_asset("aggregated_sales"), None)

    assert (dataset.namespace, dataset.name) == ("postgres://db:5432", "warehouse.public.aggregated_sales")
