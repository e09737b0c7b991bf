"""Settings of a deployment, from the environment. All of them are named here."""

import os
from typing import Final

import msgspec

from microbatch.errors import SettingMissingError

KAFKA_BOOTSTRAP_SERVERS: Final = "KAFKA_BOOTSTRAP_SERVERS"
POSTGRES_OWNER_DSN: Final = "POSTGRES_OWNER_DSN"
MICROBATCH_DEPLOYMENT: Final = "MICROBATCH_DEPLOYMENT"


class Connections(msgspec.Struct, frozen=True):
    """How to reach the two systems that hold the truth.

    Attributes:
        kafka: librdkafka's settings, at least `bootstrap.servers`.
        postgres: a connection string of libpq, for the role that runs pipelines.
        deployment: part of every id in Kafka, so that two deployments can share one cluster.
    """

    kafka: dict[str, str]
    postgres: str
    deployment: str

    def __repr__(self) -> str:
        """Without secrets: values end up in logs and in reports of failed tests."""
        return f"Connections({self.bootstrap}, {self.deployment})"

    @property
    def bootstrap(self) -> str:
        """Kafka's address, for messages."""
        return self.kafka["bootstrap.servers"]


def deployment() -> str:
    """The name of this deployment: MICROBATCH_DEPLOYMENT, or `default`."""
    return os.environ.get(MICROBATCH_DEPLOYMENT, "default")


def connections() -> Connections:
    """The connections that the environment names.

    Raises:
        SettingMissingError: a variable is not set.
    """
    return Connections(
        kafka={"bootstrap.servers": _needed(KAFKA_BOOTSTRAP_SERVERS)},
        postgres=_needed(POSTGRES_OWNER_DSN),
        deployment=deployment(),
    )


def _needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingMissingError(setting=name, remedy='`eval "$(microbatch env)"` sets it for the embedded stack')
    return value
