"""A schema registry, as the client's deserializers ask it: what it says of a schema, and when it says nothing.

That it does not know a schema is a fact of the value that names it. That it cannot be asked is not: nothing may be
decided about a value then.
"""

import atexit
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.serde import SchemaId

from microbatch.errors import (
    MicrobatchError,
    SchemaRegistryRefusedError,
    SchemaRegistrySettingsError,
    SchemaRegistryUnreachableError,
)

# Three tries of 5 s and the pauses between them are over before Postgres gives up on a transaction that waits for us.
_BOUNDS: Final[dict[str, Any]] = {
    "timeout": 5.0,
    "max.retries": 2,
    "retries.wait.ms": 100,
    "retries.max.wait.ms": 1_000,
}
# The registry's own words for: no such subject, version, schema. A 404 without them is another server's.
_UNKNOWN: Final = (40401, 40402, 40403)
_TRY_AGAIN: Final = (408, 429)
_LONGEST_REASON: Final = 200
_LOGIN: Final = re.compile(r"[^/,\s]*@")

Answer = TypeVar("Answer")


class UnknownSchemaError(ValueError):
    """A value names a schema that the registry does not have."""


class Registry(SchemaRegistryClient):
    """The client, whose errors say whose fault it is. It keeps each schema that it has read, in one form.

    Raises:
        UnknownSchemaError: it has no such schema; any question may raise it.
        SchemaRegistryUnreachableError: it does not answer, or not as a registry does; any question may raise it.
        SchemaRegistryRefusedError: we may not ask it, or it is none; any question may raise it.
        SchemaRegistrySettingsError: the client does not take the settings.
    """

    def __init__(self, settings: Mapping[str, Any], form: str | None = None) -> None:
        """A client that asks for schemas in a form, or as they were registered."""
        self._form = form
        self.address, login = without_login(settings["url"])
        try:
            super().__init__({**_BOUNDS, **login, **settings, "url": self.address})
        except (ValueError, TypeError, OSError) as error:
            raise SchemaRegistrySettingsError(reason=error) from None

    def get_schema(
        self,
        schema_id: int,
        subject_name: str | None = None,
        fmt: str | None = None,
        reference_format: str | None = None,
    ) -> Schema:
        """The schema of an id."""
        ask = super().get_schema
        form = fmt or self._form
        return self._asked(f"schema id {schema_id}", lambda: ask(schema_id, subject_name, form, reference_format))

    def get_schema_by_guid(self, guid: str, fmt: str | None = None) -> Schema:
        """The schema of a GUID."""
        ask = super().get_schema_by_guid
        return self._asked(f"schema {guid}", lambda: ask(guid, fmt or self._form))

    def get_version(
        self, subject_name: str, version: Any = "latest", deleted: bool = False, fmt: str | None = None
    ) -> RegisteredSchema:
        """A version of a subject: what a schema that is asked for refers to."""
        ask = super().get_version
        return self._asked(f"schema {subject_name!r} {version}", lambda: ask(subject_name, version, deleted, fmt))

    def schema(self, named: SchemaId) -> Schema:
        """The schema that a value names."""
        return self.get_schema_by_guid(str(named.guid)) if named.id is None else self.get_schema(named.id)

    def _asked(self, what: str, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except SchemaRegistryError as error:
            raise self._verdict(what, error) from error
        except MicrobatchError:
            raise
        except Exception as error:
            # Whatever a server, or what stands before it, does that is no answer: nothing of it may pass for a fact
            # about a value.
            reason = _short(f"{type(error).__name__}: {error}")
            raise SchemaRegistryUnreachableError(address=self.address, reason=reason) from error

    def _verdict(self, what: str, error: SchemaRegistryError) -> Exception:
        status = error.http_status_code
        if status == 404 and error.error_code in _UNKNOWN:
            return UnknownSchemaError(f"{what} is not in the schema registry")
        reason = _short(f"HTTP status {status} for {what}: {error.error_message}")
        if 400 <= status < 500 and status not in _TRY_AGAIN:
            return SchemaRegistryRefusedError(address=self.address, reason=reason)
        return SchemaRegistryUnreachableError(address=self.address, reason=reason)


def registry(settings: Mapping[str, Any], form: str | None = None) -> Registry:
    """The registry of some settings, one of each for the life of the process: it reads a schema once."""
    return _registry(tuple(sorted(settings.items())), form)


@cache
def _registry(settings: tuple[tuple[str, Any], ...], form: str | None) -> Registry:
    made = Registry(dict(settings), form)
    atexit.register(made.close)
    return made


def try_out(settings: Mapping[str, Any]) -> str:
    """Ask for a schema, whether there is one or not; returns the address.

    Raises:
        SchemaRegistryUnreachableError, SchemaRegistryRefusedError, SchemaRegistrySettingsError: it does not work.
    """
    found = registry(settings)
    with suppress(UnknownSchemaError):
        found.get_schema(1)
    return found.address


def named_schema(value: bytes, kind: str) -> SchemaId:
    """What a value says of its schema: an id or a GUID, and in Protobuf where in it the message type stands.

    Raises:
        ValueError: it says nothing.
    """
    named = SchemaId(kind)
    try:
        named.from_bytes(BytesIO(value))
    except Exception as error:  # the client has many words for bytes that are too few, or others
        raise ValueError(f"names no schema in its first bytes: {error}") from error
    return named


def without_login(url: str) -> tuple[str, dict[str, str]]:
    """Addresses less a login that stands in them, for they are in errors and logs; and the login as a setting."""
    found = urlsplit(url)
    login = {} if found.username is None else {"basic.auth.user.info": f"{found.username}:{found.password or ''}"}
    return _LOGIN.sub("", url), {name: unquote(value) for name, value in login.items()}


def _short(reason: str) -> str:
    return " ".join(reason.split())[:_LONGEST_REASON]
