"""Values in Protobuf as JSON."""

import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import msgspec
from confluent_kafka.schema_registry import Schema
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.schema_registry.serde import SchemaId
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from microbatch.errors import MicrobatchError, SchemaRegistryRefusedError
from microbatch.schema_registry import Registry, UnknownSchemaError, named_schema, registry
from microbatch.value_formats import Protobuf

_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
_TIMES: Final = ("google.protobuf.Timestamp", "google.protobuf.Duration")
_JSON: Final = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")

Convert = Callable[[Any], Any]
"""A value of a field, as what JSON is made of."""


class ProtobufValues:
    """Reads values by the class of the declaration, if the registry says that they are of its type."""

    def __init__(self, declared: Protobuf, settings: Mapping[str, Any]) -> None:
        self._name = declared.name
        self._registry: Registry = registry(settings)
        self._serialized: Registry = registry(settings, "serialized")
        # It is not given the registry: of each value it would take the schema apart, which takes longer than all else.
        self._deserialize: Any = ProtobufDeserializer(declared.message, {"use.deprecated.format": False})
        self._refused: dict[tuple[Any, ...], str | None] = {}

    def __call__(self, value: bytes) -> bytes:
        """A value as JSON; see `Translate`."""
        named = named_schema(value, "PROTOBUF")
        at = (named.id, named.guid, *(named.message_indexes or []))
        if at not in self._refused:
            self._refused[at] = self._look(named)
        if reason := self._refused[at]:
            raise ValueError(reason)
        try:
            return msgspec.json.encode(document(self._deserialize(value)))
        except (MicrobatchError, RecursionError):
            raise
        except Exception as error:  # as many as there are ways for bytes to be others
            raise ValueError(f"not Protobuf of type {self._name}: {type(error).__name__}: {error}") from error

    def _look(self, named: SchemaId) -> str | None:
        """Why values with this schema are not read; None: they are."""
        place = named.message_indexes or [0]
        try:
            found = _type_at(self._registry.schema(named), place) or self._type_by_text(named, place)
        except UnknownSchemaError as error:
            return str(error)
        return None if found in (self._name, None) else f"is of type {found}, not {self._name}"

    def _type_by_text(self, named: SchemaId, place: list[int]) -> str | None:
        """The name of the type in a schema that was registered as text; None: the registry has no other form of it."""
        try:
            return _type_at(self._serialized.schema(named), place)
        except SchemaRegistryRefusedError:
            return None


def document(message: Message) -> dict[str, Any]:
    """The fields of a message by their names in its declaration.

    A field that knows whether it is set, and is not, is null; others have their default.
    """
    return {
        name: convert(getattr(message, name)) if not has_presence or message.HasField(name) else None
        for name, has_presence, convert in _plan(message.DESCRIPTOR)
    }


@cache
def _plan(descriptor: Descriptor) -> list[tuple[str, bool, Convert]]:
    """What is to be done with each field of a message type."""
    return [(field.name, field.has_presence, _of_field(field)) for field in descriptor.fields]


def _of_field(field: FieldDescriptor) -> Convert:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        of_value = _of_value(entry.fields_by_name["value"])
        return lambda found: {_key(name): of_value(found[name]) for name in found}
    convert = _of_value(field)
    if field.is_repeated:
        return lambda found: [convert(each) for each in found]
    return convert


def _of_value(field: FieldDescriptor) -> Convert:
    """One value of a field, that of a list too."""
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda found: names.get(found, found)
    if field.message_type is not None:
        return _of_message(field.message_type)
    return _finite if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT) else _as_it_is


def _of_message(kind: Descriptor) -> Convert:
    if kind.full_name in _TIMES:
        return lambda found: found.ToJsonString()
    if kind.full_name in _WRAPPERS:
        convert = _of_value(kind.fields_by_name["value"])
        return lambda found: convert(found.value)
    return MessageToDict if kind.full_name in _JSON else document


def _as_it_is(found: Any) -> Any:
    return found


def _finite(found: float) -> float | str:
    if math.isfinite(found):
        return found
    return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def _key(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


# -- what the registry says ------------------------------------------------------------------------------------


def _type_at(schema: Schema, place: list[int]) -> str | None:
    """The full name of the message type that stands there in a schema; None: it is text, not a serialized one."""
    try:
        file = FileDescriptorProto.FromString(b64decode(schema.schema_str or "", validate=True))
    except (ValueError, DecodeError):
        return None
    names, kinds = [file.package] if file.package else [], file.message_type
    for index in place:
        if not 0 <= index < len(kinds):
            return f"number {place} of {file.name}, which has none there"
        kind: DescriptorProto = kinds[index]
        names.append(kind.name)
        kinds = kind.nested_type
    return ".".join(names)
