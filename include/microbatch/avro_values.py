"""Values in Avro as JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.avro import AvroDeserializer

from microbatch.errors import MicrobatchError
from microbatch.schema_registry import Registry, UnknownSchemaError, named_schema, registry

_FLOATS: Final = ('"float"', '"double"')


class AvroValues:
    """Reads values by their writers' schemas. What the registry does not know it is not asked again."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._registry: Registry = registry(settings)
        self._deserialize: Any = AvroDeserializer(self._registry)
        self._refused: dict[bytes, str | None] = {}
        self._has_floats = False

    def __call__(self, value: bytes) -> bytes:
        """A value as JSON; see `Translate`."""
        head = value[:5] if value[:1] == b"\0" else value[:17]
        if head not in self._refused:
            self._refused[head] = self._look(value)
        if reason := self._refused[head]:
            raise ValueError(reason)
        try:
            found = self._deserialize(value)
            return msgspec.json.encode(_finite(found) if self._has_floats else found)
        except (MicrobatchError, RecursionError):
            raise
        except Exception as error:  # the reader fails in many ways where bytes are not what the schema says
            raise ValueError(f"not Avro of its schema: {type(error).__name__}: {error}") from error

    def _look(self, value: bytes) -> str | None:
        """Why values with this schema are not read; None: they are."""
        try:
            texts = [*self._texts(self._registry.schema(named_schema(value, "AVRO")))]
        except UnknownSchemaError as error:
            return str(error)
        try:
            parsed = [json.loads(text) for text in texts]
        except ValueError:
            return "its schema is no Avro schema"
        if any(_contains_itself(each, "", frozenset()) for each in parsed):
            # The reader has no bound for such values, and a deep one would end the process.
            return "its schema contains itself, so that values could be nested to any depth; such are not read"
        self._has_floats |= any(name in text for text in texts for name in _FLOATS)
        return None

    def _texts(self, schema: Schema) -> Iterator[str]:
        """A schema, and those that it refers to."""
        yield schema.schema_str or ""
        for each in schema.references or []:
            yield from self._texts(self._registry.get_version(str(each.subject), each.version, deleted=True).schema)


def _contains_itself(schema: Any, space: str, inside: frozenset[str]) -> bool:
    """Whether a named type refers to itself, by the names of the types that it stands in."""
    if isinstance(schema, str):
        return _full_name(schema, space) in inside
    if isinstance(schema, list):
        return any(_contains_itself(each, space, inside) for each in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") in ("record", "error"):
        name = _full_name(schema.get("name", ""), schema.get("namespace", space))
        fields = [field.get("type") for field in schema.get("fields", [])]
        return any(_contains_itself(each, name.rpartition(".")[0], inside | {name}) for each in fields)
    return any(_contains_itself(schema.get(part), space, inside) for part in ("type", "items", "values"))


def _full_name(name: str, space: str) -> str:
    return f"{space}.{name}" if space and "." not in name else name


def _finite(found: Any) -> Any:
    """The same with words for numbers that JSON does not have."""
    if isinstance(found, float):
        return found if math.isfinite(found) else _WORDS.get(found, "NaN")
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    return [_finite(value) for value in found] if isinstance(found, list) else found


_WORDS: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}
