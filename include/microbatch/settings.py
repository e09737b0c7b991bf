"""Settings of a deployment, from the environment. The engine's own are named here, a pipeline's in its file."""

import os
import re
from typing import Any, Final, TypeVar

import msgspec

from microbatch.errors import (
    KafkaSettingsError,
    SchemaRegistrySettingsError,
    SettingMissingError,
    SettingWrongError,
)

KAFKA_BOOTSTRAP_SERVERS: Final = "KAFKA_BOOTSTRAP_SERVERS"
KAFKA_SETTINGS: Final = "KAFKA_SETTINGS"
SCHEMA_REGISTRY_URL: Final = "SCHEMA_REGISTRY_URL"
SCHEMA_REGISTRY_SETTINGS: Final = "SCHEMA_REGISTRY_SETTINGS"
POSTGRES_OWNER_DSN: Final = "POSTGRES_OWNER_DSN"
MICROBATCH_DEPLOYMENT: Final = "MICROBATCH_DEPLOYMENT"

Value = TypeVar("Value", int, str, list[str])


class Connections(msgspec.Struct, frozen=True):
    """How to reach the two systems that hold the truth.

    Attributes:
        kafka: librdkafka's settings, at least `bootstrap.servers`.
        postgres: a connection string of libpq, for the role that runs pipelines.
        deployment: part of every id in Kafka, so that two deployments can share one cluster.
        schema_registry: settings of the registry's client, at least `url`; empty: there is none.
    """

    kafka: dict[str, str]
    postgres: str
    deployment: str
    schema_registry: dict[str, Any] = {}

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
        KafkaSettingsError: KAFKA_SETTINGS cannot be read.
        SchemaRegistrySettingsError: SCHEMA_REGISTRY_SETTINGS cannot be read.
    """
    return Connections(
        kafka=kafka_settings(_needed(KAFKA_BOOTSTRAP_SERVERS)),
        postgres=_needed(POSTGRES_OWNER_DSN),
        deployment=deployment(),
        schema_registry=schema_registry_settings(),
    )


def kafka_settings(bootstrap: str) -> dict[str, str]:
    """The settings of librdkafka for an address: what KAFKA_SETTINGS has for it, such as TLS and a login.

    The variable is what the extra of Airflow's connection is: a JSON object. The address in it does not count.

    Raises:
        KafkaSettingsError: it is something else.
    """
    text = os.environ.get(KAFKA_SETTINGS, "").strip() or "{}"
    try:
        found = msgspec.json.decode(text, type=dict[str, str | int | float | bool])
    except msgspec.MsgspecError:
        # Neither the value nor the decoder's error, which the one above would show: there are passwords in it.
        raise KafkaSettingsError(reason=f"{KAFKA_SETTINGS} is no JSON object of texts, numbers and booleans") from None
    return {**{name: text_of(value) for name, value in found.items()}, "bootstrap.servers": bootstrap}


def schema_registry_settings() -> dict[str, Any]:
    """The settings of the schema registry's client: SCHEMA_REGISTRY_URL, and what SCHEMA_REGISTRY_SETTINGS has for it.

    The latter is what the extra of Airflow's connection is: a JSON object. An address in it does not count. Without the
    address there are none.

    Raises:
        SchemaRegistrySettingsError: it is something else.
    """
    url = os.environ.get(SCHEMA_REGISTRY_URL, "").strip()
    if not url:
        return {}
    text = os.environ.get(SCHEMA_REGISTRY_SETTINGS, "").strip() or "{}"
    try:
        found = msgspec.json.decode(text, type=dict[str, str | int | float | bool])
    except msgspec.MsgspecError:
        # As above: there are passwords in it.
        reason = f"{SCHEMA_REGISTRY_SETTINGS} is no JSON object of texts, numbers and booleans"
        raise SchemaRegistrySettingsError(reason=reason) from None
    return {**found, "url": url}


def text_of(value: Any) -> str:
    """A value of JSON as librdkafka and libpq want it: they have true and false as words."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting(name: str, default: Value, pattern: str | None = None) -> Value:
    """A setting of a pipeline's file: the environment variable of that name, or the default.

    It is read when the file is imported, and what it changes is part of the pipeline's definition.

    Args:
        name: the variable; empty is as good as not set.
        default: its type is that of the value: a number, a text, or a list of texts with commas between them.
        pattern: a regular expression that the whole text, or each of the list, has to match.

    Raises:
        SettingWrongError: the variable has a value of another type, or of another form.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    texts = [part.strip() for part in text.split(",")] if isinstance(default, list) else [text]
    form = r"[+-]?[0-9]+" if isinstance(default, int) else pattern or ".+"
    if not all(re.fullmatch(form, each) for each in texts):
        example = ",".join(default) if isinstance(default, list) else default
        raise SettingWrongError(setting=name, value=text, form=form, example=example)
    return texts if isinstance(default, list) else type(default)(text)


def _needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingMissingError(setting=name, remedy='`eval "$(microbatch env)"` sets it for the embedded stack')
    return value
