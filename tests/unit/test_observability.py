"""Grafana, Prometheus and the collector meet each other: same names, ports, files and variables on both sides."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from compose_file import REPOSITORY, Service, read_env_file, services

FILES: Final = REPOSITORY / "deploy" / "compose"
DRAWN: Final = {name: value or "drawn" for name, value in read_env_file(REPOSITORY / ".env.example").items()}
SERVICES: Final = services(DRAWN, {"celery", "observability"})
AIRFLOW: Final = {name: service for name, service in SERVICES.items() if name.startswith("airflow-")}


def read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FILES / path).read_text(encoding="utf-8"))
    return found


COLLECTOR: Final = read("otel-collector.yaml")
PROMETHEUS: Final = read("prometheus/prometheus.yml")
JOBS: Final = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}


def host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


def mounts(service: Service) -> dict[str, str]:
    """What is mounted, by the place in the container."""
    parts = [volume.split(":") for volume in service.volumes]
    return {target: source for source, target, *_ in parts}


# -- the collector -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_pipelines_use_what_is_declared_and_all_of_it(kind: str) -> None:
    used = {name for pipeline in COLLECTOR["service"]["pipelines"].values() for name in pipeline[kind]}

    assert used == set(COLLECTOR[kind])


def test_extensions_are_started() -> None:
    assert COLLECTOR["service"]["extensions"] == list(COLLECTOR["extensions"])


@pytest.mark.parametrize("pipeline", COLLECTOR["service"]["pipelines"].values(), ids=COLLECTOR["service"]["pipelines"])
def test_what_there_is_no_memory_for_is_refused_first(pipeline: dict[str, Any]) -> None:
    assert pipeline["processors"][0] == "memory_limiter"


def test_the_collector_refuses_data_before_docker_kills_it() -> None:
    limit = COLLECTOR["processors"]["memory_limiter"]["limit_mib"]

    assert limit <= int(SERVICES["otel-collector"].fields["mem_limit"].removesuffix("m")) / 2


@pytest.mark.parametrize("service", AIRFLOW.values(), ids=AIRFLOW)
def test_airflow_sends_to_the_collector_as_it_listens(service: Service) -> None:
    settings = service.environment
    address = urlsplit(settings["OTEL_EXPORTER_OTLP_ENDPOINT"])
    _, port = host_and_port(COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"])

    assert (address.hostname, address.port) == ("otel-collector", port)
    assert settings["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
    assert settings["OTEL_TRACES_EXPORTER"] == "otlp_proto_http"
    # What each task has counted is added up there, and what is added up must not be sums.
    assert settings["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"
    assert "delta_to_cumulative" in COLLECTOR["service"]["pipelines"]["metrics"]["processors"]


def test_what_processes_send_is_added_up_by_pipeline_and_one_after_the_other() -> None:
    processors: list[str] = COLLECTOR["service"]["pipelines"]["metrics"]["processors"]

    assert processors[1:] == ["resource", "batch", "transform", "delta_to_cumulative"]
    # A process is no label. Its times are those at which its turn comes, or some would be too old to count.
    assert COLLECTOR["processors"]["resource"] == {"attributes": [{"key": "service.instance.id", "action": "delete"}]}
    assert COLLECTOR["processors"]["transform"] == {
        "metric_statements": ["set(datapoint.start_time, Now())", "set(datapoint.time, Now())"]
    }


def test_airflow_sends_nothing_unless_it_is_asked_to() -> None:
    names = ("AIRFLOW__METRICS__OTEL_ON", "AIRFLOW__TRACES__OTEL_ON")
    asked = services({**DRAWN, "MICROBATCH_OTEL_ON": "True"})["airflow-scheduler"].environment

    assert [AIRFLOW["airflow-scheduler"].environment[name] for name in names] == ["False", "False"]
    assert [asked[name] for name in names] == ["True", "True"]


# -- Prometheus --------------------------------------------------------------------------------------------


def test_prometheus_scrapes_airflows_page_and_the_collector() -> None:
    _, port = host_and_port(COLLECTOR["exporters"]["prometheus"]["endpoint"])
    (published,) = SERVICES["airflow-api-server"].ports

    assert JOBS["airflow"]["static_configs"] == [{"targets": [f"otel-collector:{port}"]}]
    assert JOBS["microbatch"]["static_configs"] == [{"targets": [f"airflow-api-server:{published.split(':')[-1]}"]}]
    assert JOBS["microbatch"]["metrics_path"] == "/microbatch/metrics"


def test_prometheus_reads_the_token_where_its_login_writes_it() -> None:
    written = Path(SERVICES["prometheus-login"].environment["PROMETHEUS_TOKEN_FILE"])
    read_at = Path(JOBS["microbatch"]["authorization"]["credentials_file"])

    assert written.name == read_at.name
    source = mounts(SERVICES["prometheus-login"])[str(written.parent)]
    assert source == mounts(SERVICES["prometheus"])[str(read_at.parent)] == "prometheus-login"


def test_the_login_of_prometheus_is_one_of_airflows_that_only_sees() -> None:
    users = SERVICES["airflow-api-server"].environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"].split(",")

    assert "prometheus:viewer" in users
    assert '"username": "prometheus"' in (FILES / "prometheus" / "login.sh").read_text(encoding="utf-8")


def test_prometheus_finds_its_configuration_and_rules() -> None:
    service = SERVICES["prometheus"]

    assert mounts(service)["/etc/prometheus"] == "./deploy/compose/prometheus"
    assert "--config.file=/etc/prometheus/prometheus.yml" in (service.command or [])
    assert [name for name in PROMETHEUS["rule_files"] if not (FILES / "prometheus" / name).exists()] == []


# -- Grafana -----------------------------------------------------------------------------------------------


def test_grafana_finds_data_sources_and_dashboards() -> None:
    (provider,) = read("grafana/provisioning/dashboards/microbatch.yaml")["providers"]
    (warehouse,) = read("grafana/provisioning/datasources/warehouse.yaml")["datasources"]
    (prometheus,) = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    service = SERVICES["grafana"]

    assert mounts(service)["/etc/grafana/provisioning"] == "./deploy/compose/grafana/provisioning"
    assert mounts(service)[provider["options"]["path"]] == "./deploy/compose/grafana/dashboards"
    assert host_and_port(warehouse["url"]) == ("postgres", 5432)
    assert warehouse["secureJsonData"]["password"].removeprefix("$") in service.environment
    assert prometheus["url"] == "http://prometheus:9090"
    assert prometheus["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_grafana_begins_with_a_dashboard_that_there_is() -> None:
    home = Path(SERVICES["grafana"].environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert (FILES / "grafana" / "dashboards" / home.name).exists()
    assert str(home.parent) in mounts(SERVICES["grafana"])
