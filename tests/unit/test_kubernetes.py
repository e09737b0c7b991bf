"""deploy/kubernetes, looked at without a cluster: against Kubernetes' schemas, and against what the rest says."""

import base64
import json
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from jgo.env import LockFile

from compose_file import Service, read_env_file, services
from kubernetes_files import (
    FOLDER,
    KUSTOMIZATION,
    REPOSITORY,
    VALUES,
    Manifest,
    airflow_values,
    draw_secrets,
    manifests,
    of_kind,
    parts,
)
from local.jars import kafka_version
from local.postgres import postgres_version
from microbatch.declared import load_pipelines
from microbatch.outputs import KafkaTopic, Stream, TumblingWindow
from microbatch.pipeline import Pipeline
from shell_pages import blocks_of
from strimzi_schemas import LOCKFILE as STRIMZI_LOCK

KUBERNETES: Final = "1.36"
OPERATORS: Final = ("kafka.strimzi.io/", "postgresql.cnpg.io/", "kustomize.config.k8s.io/")
OPERATORS_SECRETS: Final = {("postgres-ca", "ca.crt"), ("kafka-cluster-ca-cert", "ca.crt")}
"""Made by the operators when they make the servers."""
OTHER_SETTINGS: Final = {
    "AIRFLOW__CORE__EXECUTOR": "the chart's `executor`",
    "AIRFLOW__CORE__FERNET_KEY": "a Secret, by the chart",
    "AIRFLOW__API__SECRET_KEY": "a Secret, by the chart",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a Secret, by the chart",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "a Secret, by the chart",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "a Secret",
    "AIRFLOW__CELERY__BROKER_URL": "a Secret, by the chart",
    "AIRFLOW__CELERY__RESULT_BACKEND": "a Secret, by the chart",
    "AIRFLOW_CONN_KAFKA_DEFAULT": "a Secret",
    "AIRFLOW_CONN_POSTGRES_DEFAULT": "a Secret",
    "AIRFLOW_CONN_POSTGRES_READER": "a Secret",
    "OPENWEATHERMAP_API_KEY": "a Secret",
    "KAFKA_BOOTSTRAP_SERVERS": "a Secret",
    "POSTGRES_OWNER_DSN": "a Secret",
    "POSTGRES_DSN": "a Secret",
    "DUMB_INIT_SETSID": "the chart's own, of workers",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "the chart's own: the name of its service",
    "AIRFLOW__API__BASE_URL": "people come another way",
    "AIRFLOW__METRICS__OTEL_ON": "the chart's `otelCollector`",
    "AIRFLOW__TRACES__OTEL_ON": "the chart's `config`",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "the chart's `otelCollector`",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "the chart's `otelCollector`",
    "OTEL_METRICS_EXPORTER": "the chart's `otelCollector`",
    "OTEL_SERVICE_NAME": "the chart's `otelCollector`",
}
"""What Airflow's services have in containers and not among the chart's `env`, and why."""
CONNECTIONS_OF_A_TASK: Final = 3
ONLY_HERE: Final = {"PGSSLMODE", "PGSSLROOTCERT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}
"""The PostgreSQL of the containers has no TLS, their collector one address for all."""


@cache
def compose() -> dict[str, Service]:
    """The services of containers with Celery and all else."""
    example = read_env_file(REPOSITORY / ".env.example")
    drawn = {name: value or "drawn" for name, value in example.items() if value or "PASSWORD" in name}
    drawn |= dict.fromkeys(("AIRFLOW_JWT_SECRET", "AIRFLOW_FERNET_KEY", "KAFKA_CLUSTER_ID", "WEATHER_API_KEY"), "drawn")
    return services(drawn, {"celery", "observability"})


@cache
def declared() -> list[Pipeline]:
    """The pipelines of `dags/`."""
    return load_pipelines(REPOSITORY / "dags")


def sinks(pipeline: Pipeline) -> list[KafkaTopic]:
    return [*(output.topic for output in pipeline.outputs if output.topic), pipeline.dead_letter_topic]


def topic_name(topic: Manifest) -> str:
    return str(topic["spec"].get("topicName", topic["metadata"]["name"]))


def drawn() -> dict[str, dict[str, str]]:
    return {secret["metadata"]["name"]: secret["stringData"] for secret in draw_secrets()}


# -- the files as such -------------------------------------------------------------------------------------------


def test_every_object_of_kubernetes_itself_fits_its_schema() -> None:
    ours = [found for found in [*manifests(), *draw_secrets()] if not found["apiVersion"].startswith(OPERATORS)]

    for manifest in ours:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)

    assert {found["kind"] for found in ours} == {"Namespace", "NetworkPolicy", "Deployment", "Service", "Secret"}


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    policy = {**of_kind("NetworkPolicy")["default-deny"], "specs": {}}

    with pytest.raises(kubernetes_validate.ValidationError, match="specs"):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)


def test_every_file_is_applied() -> None:
    files = {file.name for file in FOLDER.glob("*.yaml")} - {KUSTOMIZATION, VALUES}

    kustomization = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text(encoding="utf-8"))

    assert set(kustomization["resources"]) == files
    assert of_kind("Namespace").keys() == {kustomization["namespace"]}


def test_versions_are_those_of_the_rest() -> None:
    release = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    values, airflow = airflow_values(), re.search(r"apache/airflow:\S*?(\d+\.\d+\.\d+)", dockerfile())
    images = values["images"]
    mock = of_kind("Deployment")["weather-api"]["spec"]["template"]["spec"]["containers"][0]["image"]

    assert airflow is not None
    assert values["airflowVersion"] == airflow[1]
    assert images["airflow"]["tag"] == release
    assert mock == f"{images['airflow']['repository']}:{release}"
    assert f"redis:{images['redis']['tag']}" == compose()["redis"].image
    assert compose()["otel-collector"].image == f"otel/opentelemetry-collector-contrib:{images['otelCollector']['tag']}"
    assert of_kind("Kafka")["kafka"]["spec"]["kafka"]["version"] == kafka_version()
    assert f"/postgresql:{postgres_version()}-" in of_kind("Cluster")["postgres"]["spec"]["imageName"]


def dockerfile() -> str:
    return (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


# -- Kafka ---------------------------------------------------------------------------------------------------------


def test_topics_are_those_that_the_pipelines_declare() -> None:
    topics = {topic_name(topic): topic["spec"] for topic in of_kind("KafkaTopic").values()}
    wanted = {topic.name: topic for pipeline in declared() for topic in [pipeline.source, *sinks(pipeline)]}

    assert {name: spec["partitions"] for name, spec in topics.items()} == {
        name: topic.partitions for name, topic in wanted.items()
    }
    assert {spec["replicas"] for spec in topics.values()} == {3}


def test_topics_keep_what_the_engine_would_have_them_keep() -> None:
    found = {topic_name(topic): topic["spec"].get("config", {}) for topic in of_kind("KafkaTopic").values()}
    any_time = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    by_output = {TumblingWindow: {"cleanup.policy": "compact", **any_time}, Stream: any_time}
    wanted: dict[str, dict[str, str]] = {}
    for pipeline in declared():
        wanted[pipeline.source.name] = dict(pipeline.source.config)
        wanted[pipeline.dead_letter_topic.name] = {"retention.ms": "-1", **any_time}
        for output in pipeline.outputs:
            if output.topic:
                wanted[output.topic.name] = {**by_output.get(type(output), any_time), **output.topic.config}

    assert found == wanted


def test_the_login_has_the_rights_that_the_document_lists_and_may_send_demo_events() -> None:
    user = of_kind("KafkaUser")["microbatch"]["spec"]["authorization"]["acls"]
    given = {
        (acl["resource"]["type"], acl["resource"]["name"], acl["resource"].get("patternType", "literal"), operation)
        for acl in user
        for operation in acl["operations"]
    }
    demo = {("topic", pipeline.source.name, "literal", "Write") for pipeline in declared()}

    assert given == documented_rights() | demo


def documented_rights() -> set[tuple[str, str, str, str]]:
    """The table of docs/security.md, for one login of all pipelines of the deployment `default`."""
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (topic|group|transactional id) \| (.+?) \| (\w+) \|", text, re.MULTILINE)
    assert len(rows) >= 6
    return {(_TYPES[on], *place, operation) for on, name, operation in rows for place in places(on, name)}


_TYPES: Final = {"topic": "topic", "group": "group", "transactional id": "transactionalId"}


def places(on: str, name: str) -> set[tuple[str, str]]:
    """The names that a row means, each with its kind of pattern."""
    if on != "topic":
        plain = name.strip("`")
        return {("microbatch.default.", "prefix")} if plain == "microbatch.D.P" else {(plain, "literal")}
    topics = [pipeline.source for pipeline in declared()] if name == "the source" else None
    return {(topic.name, "literal") for topic in topics or [sink for one in declared() for sink in sinks(one)]}


def test_kafka_survives_the_loss_of_a_broker() -> None:
    config = of_kind("Kafka")["kafka"]["spec"]["kafka"]["config"]
    brokers = of_kind("KafkaNodePool")["node"]["spec"]["replicas"]

    assert config["auto.create.topics.enable"] is False
    for factor in ("default", "offsets.topic", "transaction.state.log"):
        assert config[f"{factor}.replication.factor"] == brokers
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == brokers - 1


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_databases_and_roles_are_made_as_for_containers() -> None:
    script = (REPOSITORY / "deploy" / "compose" / "create-databases.sh").read_text(encoding="utf-8")
    statements = re.findall(r"^((?:create|alter|revoke|grant) .+);$", script, re.MULTILINE)
    assert len(statements) > 10
    initdb = of_kind("Cluster")["postgres"]["spec"]["bootstrap"]["initdb"]

    found = {*initdb["postInitSQL"], *initdb["postInitApplicationSQL"]}

    by_operator = {
        "create role microbatch",
        "create database warehouse owner microbatch",
        # CloudNativePG's exporter of metrics connects to it.
        "revoke all on database postgres from public",
    }
    assert found | by_operator == {re.sub(r" login password .*", "", statement) for statement in statements}
    assert (initdb["database"], initdb["owner"]) == ("warehouse", "microbatch")


def test_the_server_has_room_for_what_may_run_at_once() -> None:
    parameters = of_kind("Cluster")["postgres"]["spec"]["postgresql"]["parameters"]
    values = airflow_values()
    settings = {one["name"]: one["value"] for one in values["env"]}
    tasks = values["scheduler"]["replicas"] * int(settings["AIRFLOW__CORE__PARALLELISM"])

    assert parameters["timezone"] == "UTC"
    # Airflow's own: SQLAlchemy's pools of 5 and 10 more, of schedulers, api-servers and the dag-processor.
    assert int(parameters["max_connections"]) >= tasks * CONNECTIONS_OF_A_TASK + 5 * 15


def test_a_failover_loses_no_commit() -> None:
    cluster = of_kind("Cluster")["postgres"]["spec"]

    assert cluster["instances"] >= 3
    assert cluster["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_what_is_drawn_is_what_is_used() -> None:
    given = {(name, key) for name, entries in drawn().items() for key in entries}

    assert given == used_secrets() - OPERATORS_SECRETS


def used_secrets() -> set[tuple[str, str]]:
    """Secrets with their keys, as the manifests, the chart's values and what is behind them ask for them."""
    values = airflow_values()
    used = {("airflow-keys", key) for key in ("fernet-key", "api-secret-key", "jwt-secret")}
    assert {values[f"{key}Name"] for key in ("fernetKeySecret", "apiSecretKeySecret", "jwtSecret")} == {"airflow-keys"}
    # The chart's own names of keys.
    used |= {(name, "connection") for name in values["data"].values()} | {
        (values["redis"]["passwordSecretName"], "password")
    }
    used |= {(one["secretName"], one["secretKey"]) for one in values["secret"]}
    used |= {(one["name"], key) for one in secret_refs(values) for key in drawn()[one["name"]]}
    for part in parts([values, manifests()]):
        used |= {(part["secretKeyRef"]["name"], part["secretKeyRef"]["key"])} if "secretKeyRef" in part else set()
        if "secretName" in part and "secretKey" not in part:
            keys = [item["key"] for item in part.get("items", [])] or list(drawn()[part["secretName"]])
            used |= {(part["secretName"], key) for key in keys}
    cluster = of_kind("Cluster")["postgres"]["spec"]
    logins = [
        cluster["bootstrap"]["initdb"]["secret"],
        *(role["passwordSecret"] for role in cluster["managed"]["roles"]),
    ]
    return used | {(login["name"], key) for login in logins for key in ("username", "password")}


def secret_refs(values: dict[str, Any]) -> list[dict[str, str]]:
    return [one["secretRef"] for one in yaml.safe_load(values["extraEnvFrom"])]


def test_each_run_draws_other_secrets_that_fit_their_use() -> None:
    first, second = drawn(), drawn()

    assert len(base64.urlsafe_b64decode(first["airflow-keys"]["fernet-key"])) == 32
    for name, entries in first.items():
        for key, value in entries.items():
            assert value == second[name][key] or len(value) >= 32, (name, key)
    fixed = {value for name, entries in first.items() for value in entries.values() if value in second[name].values()}
    assert fixed == {"microbatch", "reader", "airflow", "kafka-kafka-bootstrap:9093"}


@pytest.mark.parametrize("program", ["od", "base64"])
def test_nothing_is_made_when_nothing_can_be_drawn(program: str, tmp_path: Path) -> None:
    """Otherwise passwords would be empty."""
    broken = tmp_path / program
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)

    done = subprocess.run(
        ["/bin/sh", str(FOLDER / "make-secrets.sh")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "no secret could be drawn" in done.stderr


def test_nothing_secret_stands_in_a_file() -> None:
    inline = {"fernetKey", "apiSecretKey", "jwtSecret", "brokerUrl", "metadataConnection", "resultBackendConnection"}
    texts = [part for part in parts([airflow_values(), manifests()]) if isinstance(part.get("password"), str)]

    assert [part for part in parts(airflow_values()) if inline & set(part)] == []
    assert texts == []
    assert of_kind("Secret") == {}


def test_connections_lead_to_the_servers_of_the_manifests() -> None:
    secrets, listener = drawn(), of_kind("Kafka")["kafka"]["spec"]["kafka"]["listeners"][0]
    connections = secrets["microbatch-connections"]
    kafka = json.loads(connections["AIRFLOW_CONN_KAFKA_DEFAULT"])["extra"]
    postgres = json.loads(connections["AIRFLOW_CONN_POSTGRES_DEFAULT"])
    reader = json.loads(connections["AIRFLOW_CONN_POSTGRES_READER"])
    mounts = {mount["mountPath"] for mount in airflow_values()["volumeMounts"]}

    assert kafka["bootstrap.servers"] == f"kafka-kafka-bootstrap:{listener['port']}"
    assert kafka["sasl.mechanism"].lower() == listener["authentication"]["type"]
    assert kafka["sasl.username"] in of_kind("KafkaUser")
    assert str(Path(kafka["ssl.ca.location"]).parent) in mounts
    assert (postgres["host"], postgres["schema"]) == ("postgres-rw", "warehouse")
    assert {postgres["login"]: postgres["password"], reader["login"]: reader["password"]} == {
        role: secrets[f"postgres-{role}"]["password"] for role in ("microbatch", "reader")
    }
    assert kafka["sasl.password"] == secrets["kafka-microbatch"]["password"]


def test_the_command_line_gets_the_same_connections_as_airflow() -> None:
    connections = drawn()["microbatch-connections"]
    kafka = json.loads(connections["AIRFLOW_CONN_KAFKA_DEFAULT"])["extra"]

    assert {
        "bootstrap.servers": connections["KAFKA_BOOTSTRAP_SERVERS"],
        **json.loads(connections["KAFKA_SETTINGS"]),
    } == kafka
    for name, role in (("POSTGRES_OWNER_DSN", "DEFAULT"), ("POSTGRES_DSN", "READER")):
        url, connection = urlsplit(connections[name]), json.loads(connections[f"AIRFLOW_CONN_POSTGRES_{role}"])
        assert (url.username, url.password) == (connection["login"], connection["password"])
        assert (url.hostname, url.port, url.path) == (
            connection["host"],
            connection["port"],
            f"/{connection['schema']}",
        )


# -- Airflow -----------------------------------------------------------------------------------------------------------


def test_airflow_has_the_settings_of_the_containers() -> None:
    here = {one["name"]: one["value"] for one in airflow_values()["env"]}
    there = compose()["airflow-worker"].environment

    assert {name: value for name, value in here.items() if name not in ONLY_HERE} == {
        name: value for name, value in there.items() if name not in OTHER_SETTINGS
    }
    assert sorted(set(OTHER_SETTINGS) - set(there)) == []


def test_connections_to_postgres_are_verified_against_the_operators_authority() -> None:
    here = {one["name"]: one["value"] for one in airflow_values()["env"]}
    certificate = Path(here["PGSSLROOTCERT"])
    mounted = next(m for m in airflow_values()["volumeMounts"] if m["mountPath"] == str(certificate.parent))
    volume = next(v for v in airflow_values()["volumes"] if v["name"] == mounted["name"])

    assert here["PGSSLMODE"] == "verify-full"
    assert volume["secret"]["items"] == [{"key": certificate.name, "path": certificate.name}]


def test_the_job_does_what_the_containers_init_service_does() -> None:
    script = (REPOSITORY / "deploy" / "compose" / "prepare-airflow.sh").read_text(encoding="utf-8")
    [line] = [line for line in airflow_values()["migrateDatabaseJob"]["args"] if "db migrate" in line]

    assert script.endswith(line)


def test_the_collector_is_configured_as_that_of_the_containers() -> None:
    theirs = (REPOSITORY / "deploy" / "compose" / "otel-collector.yaml").read_text(encoding="utf-8")

    assert yaml.safe_load(airflow_values()["otelCollector"]["config"]) == yaml.safe_load(theirs)


def test_no_pod_of_ours_is_root_or_writes_to_its_image() -> None:
    values = airflow_values()
    mock = of_kind("Deployment")["weather-api"]["spec"]["template"]["spec"]
    pods = [values["securityContexts"]["pod"], mock["securityContext"]]
    containers = [values["securityContexts"]["containers"], mock["containers"][0]["securityContext"]]
    for part in ("redis", "otelCollector"):
        pods.append(values[part]["securityContexts"]["pod"])
        containers.append(values[part]["securityContexts"]["container"])

    assert all(pod["runAsNonRoot"] and pod["runAsUser"] for pod in pods)
    assert all(pod["seccompProfile"] == {"type": "RuntimeDefault"} for pod in pods)
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(container == restricted for container in containers)


def test_names_of_services_do_not_become_settings() -> None:
    """WEATHER_API_PORT, of the service weather-api, would be an address."""
    mock = of_kind("Deployment")["weather-api"]["spec"]["template"]["spec"]

    assert airflow_values()["enableServiceLinks"] is False
    assert mock["enableServiceLinks"] is False


def test_no_pod_may_ask_kubernetes_for_anything() -> None:
    values = airflow_values()
    accounts = [values[part]["serviceAccount"] for part in ("scheduler", "dagProcessor", "apiServer", "redis")]
    accounts += [values[job]["serviceAccount"] for job in ("migrateDatabaseJob", "databaseCleanup")]
    accounts.append(values["workers"]["celery"]["serviceAccount"])

    assert values["rbac"] == {"create": False}
    assert all(account == {"automountServiceAccountToken": False} for account in accounts)


@pytest.mark.parametrize("part", ["scheduler", "dagProcessor", "apiServer", "redis", "otelCollector"])
def test_every_pod_says_what_memory_it_takes(part: str) -> None:
    resources = airflow_values()[part]["resources"]

    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "memory" in resources["limits"]


def is_let_in(pod: dict[str, str], sender: dict[str, str], port: int) -> bool:
    """Whether one of our rules lets a pod of this namespace reach another one, by their labels."""
    return any(
        selects(peer.get("podSelector"), sender) and port in [one["port"] for one in rule["ports"]]
        for policy in of_kind("NetworkPolicy").values()
        if selects(policy["spec"]["podSelector"], pod)
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
    )


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    return selector is not None and selector.get("matchLabels", {}).items() <= labels.items()


def test_who_may_reach_whom() -> None:
    worker = {"tier": "airflow", "component": "worker"}
    scheduler, stranger = {"tier": "airflow", "component": "scheduler"}, {"app": "something"}
    mock = of_kind("Deployment")["weather-api"]["spec"]["template"]["metadata"]["labels"]
    postgres = {"cnpg.io/cluster": "postgres"}
    policies = {name: policy["spec"] for name, policy in of_kind("NetworkPolicy").items()}
    [peer] = of_kind("Kafka")["kafka"]["spec"]["kafka"]["listeners"][0]["networkPolicyPeers"]

    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert is_let_in(postgres, worker, 5432)
    assert is_let_in(postgres, scheduler, 5432)
    assert is_let_in(postgres, postgres, 5432)
    assert is_let_in(mock, worker, 8090)
    assert not is_let_in(postgres, stranger, 5432)
    assert not is_let_in(postgres, worker, 8000)
    assert not is_let_in(mock, scheduler, 8090)
    assert selects(peer["podSelector"], worker)
    assert not selects(peer["podSelector"], stranger)
    assert selects(policies["airflow-egress"]["podSelector"], worker)
    assert policies["airflow-egress"]["egress"][0] == {"to": [{"podSelector": {}}]}


# -- the document ------------------------------------------------------------------------------------------------------


def document() -> str:
    return (REPOSITORY / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return [line for block in blocks_of(document(), "sh") for line in block.splitlines()]


def test_the_documents_commands_name_files_and_objects_that_there_are() -> None:
    lines = commands()
    paths = {path for line in lines for path in re.findall(r"\bdeploy/\S+", line)}
    objects = {found for line in lines for found in re.findall(r"wait (\w+)\S*/(\w+)", line)}
    known = {(manifest["kind"].lower(), manifest["metadata"]["name"]) for manifest in manifests()}

    assert len(paths) >= 4
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    assert len(objects) >= 3
    assert objects <= known


def test_the_documents_commands_have_the_versions_and_names_of_the_files() -> None:
    text, values = "\n".join(commands()), (FOLDER / VALUES).read_text(encoding="utf-8")
    image = airflow_values()["images"]["airflow"]
    strimzi = next(jar for jar in LockFile.load(STRIMZI_LOCK).dependencies if jar.artifactId == "api")

    assert re.findall(r"airflow/airflow --version (\S+)", text) == re.findall(
        r"airflow/airflow --version (\S+)", values
    )
    assert f'"$STRIMZI_CHART" --version {strimzi.version} ' in text
    assert set(re.findall(r"registry\.example\.com/\S+", text)) == {f"{image['repository']}:{image['tag']}"}
    for line in commands():
        if line.startswith("kubectl") and " apply " not in line:
            assert "--namespace microbatch" in line
