"""Values of a source that are not JSON: what the client's deserializers give, as `documents` gives what JSON says.

A schema that the registry does not know makes a reject. A registry that cannot be asked makes no verdict.
"""

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from recount.definition import Definition
from recount.documents import Integer, Object, Pairs, Real, members
from recount.errors import InvalidError, RecountError, UncountableError

UNKNOWN: Final = "is not in the schema registry"
"""How the engine's reason ends where it did not know a schema."""

# No such subject, version or schema: what a registry says, and no other server.
_UNKNOWN: Final = (40401, 40402, 40403)

Read = Callable[[bytes], Pairs]
"""The members of a value.

Raises:
    InvalidError: the message is a reject.
"""


@dataclass(frozen=True, slots=True)
class Formats:
    """What is needed for values that are not JSON.

    Attributes:
        registry: settings of the schema registry's client, at least `url`; empty: there is none.
        message_type: gives the class of Protobuf's values; the ledger has only its name.
    """

    registry: Mapping[str, Any]
    message_type: Callable[[], Any] | None = None


@contextmanager
def reader(definition: Definition, formats: Formats) -> Iterator[Read]:
    """How values of the source are read, as long as it is open.

    Raises:
        UncountableError: something is needed for it that was not given.
    """
    declared = definition.values
    if declared is None:
        yield members
        return
    if not formats.registry:
        raise UncountableError(
            "values of {} are in {}: say where the schema registry is (SCHEMA_REGISTRY_URL)",
            definition.topic,
            declared.format,
        )
    if declared.format == "protobuf" and formats.message_type is None:
        raise UncountableError(
            "values of {} are of Protobuf's type {}, of which the definition has only the name: give the class to "
            "recount.check(..., formats=...), as `microbatch audit` does",
            definition.topic,
            declared.message,
        )
    with _client(formats.registry) as client:
        if formats.message_type is None or declared.format == "avro":
            yield _avro(client)
        else:
            yield _protobuf(client, formats.registry, formats.message_type(), str(declared.message))


def _client(settings: Mapping[str, Any]) -> Any:
    """The registry, whose errors are ours."""
    from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - not everybody has its packages
    from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

    class Client(SchemaRegistryClient):
        def get_schema(self, *given: Any, **named: Any) -> Any:
            return _asked(super().get_schema, *given, **named)

        def get_schema_by_guid(self, *given: Any, **named: Any) -> Any:
            return _asked(super().get_schema_by_guid, *given, **named)

        def get_version(self, *given: Any, **named: Any) -> Any:
            return _asked(super().get_version, *given, **named)

    def _asked(ask: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return ask(*given, **named)
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code in _UNKNOWN:
                raise InvalidError("schema {} {}", given[0], UNKNOWN) from error
            raise RecountError("the schema registry refuses: {}", error) from error
        except Exception as error:
            raise RecountError("the schema registry does not answer: {}: {}", type(error).__name__, error) from error

    return Client({"timeout": 10.0, **settings})


def _named(kind: str, value: bytes) -> Any:
    """What the first bytes say of the schema."""
    import io  # noqa: PLC0415

    from confluent_kafka.schema_registry.serde import SchemaId  # noqa: PLC0415

    named = SchemaId(kind)
    try:
        named.from_bytes(io.BytesIO(value))
    except Exception as error:
        raise InvalidError("names no schema: {}", error) from error
    return named


def _guarded(read: Callable[[bytes], Any]) -> Read:
    def guarded(value: bytes) -> Pairs:
        try:
            found = read(value)
        except RecountError:
            raise
        except Exception as error:  # there are many ways for bytes to be others
            raise InvalidError("cannot be read: {}: {}", type(error).__name__, error) from error
        if not isinstance(found, Object):
            raise InvalidError("no record")
        return found

    return guarded


# -- Avro ------------------------------------------------------------------------------------------------------


def _avro(client: Any) -> Read:
    from confluent_kafka.schema_registry.avro import AvroDeserializer  # noqa: PLC0415

    deserialize: Any = AvroDeserializer(client)
    verdicts: dict[Any, str] = {}

    def read(value: bytes) -> Any:
        named = _named("AVRO", value)
        schema = _schema(client, named)
        if schema not in verdicts:
            verdicts[schema] = "" if not any(map(_is_recursive, _parsed(client, schema))) else "it contains itself"
        if verdicts[schema]:
            raise InvalidError("its schema is not read: {}", verdicts[schema])
        return _of_python(deserialize(value))

    return _guarded(read)


def _parsed(client: Any, schema: Any) -> Iterator[Any]:
    yield json.loads(schema.schema_str)
    for each in schema.references or []:
        yield from _parsed(client, client.get_version(each.subject, each.version, True).schema)


def _is_recursive(schema: Any, around: tuple[str, ...] = ()) -> bool:
    """Whether a record is named again inside itself; `around`: the full names of the records around."""
    if isinstance(schema, list):
        return any(_is_recursive(each, around) for each in schema)
    space = around[-1].rpartition(".")[0] if around else ""
    if isinstance(schema, str):
        return (schema if "." in schema or not space else f"{space}.{schema}") in around
    if schema["type"] not in ("record", "error"):
        return any(_is_recursive(schema[part], around) for part in ("type", "items", "values") if part in schema)
    space = schema.get("namespace", space)
    name = schema["name"] if "." in schema["name"] or not space else f"{space}.{schema['name']}"
    return any(_is_recursive(field["type"], (*around, name)) for field in schema["fields"])


def _of_python(found: Any) -> Any:
    """What stands for a value in JSON."""
    if isinstance(found, dict):
        return Object((str(name), _of_python(value)) for name, value in found.items())
    if isinstance(found, list):
        return [_of_python(value) for value in found]
    if isinstance(found, bool) or found is None:
        return found
    for kinds, write in _WRITTEN:
        if isinstance(found, kinds):
            return write(found)
    return found


def _real(found: float) -> str:
    if math.isfinite(found):
        return Real(repr(found))
    return "NaN" if math.isnan(found) else "-Infinity" if found < 0 else "Infinity"


_WRITTEN: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...]] = (
    (int, lambda found: Integer(str(found))),
    (float, _real),
    (bytes, lambda found: base64.b64encode(found).decode()),
    ((Decimal, UUID), str),
    ((datetime, date, time), lambda found: found.isoformat()),
)


# -- Protobuf --------------------------------------------------------------------------------------------------


def _protobuf(client: Any, settings: Mapping[str, Any], message_type: Any, name: str) -> Read:
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer  # noqa: PLC0415

    if message_type.DESCRIPTOR.full_name != name:
        raise UncountableError("the ledger has Protobuf's type {}, not {}", name, message_type.DESCRIPTOR.full_name)
    deserialize: Any = ProtobufDeserializer(message_type, {"use.deprecated.format": False})
    types: dict[Any, str] = {}

    def read(value: bytes) -> Any:
        named = _named("PROTOBUF", value)
        place = (named.id, str(named.guid), *named.message_indexes)
        if place not in types:
            types[place] = _type_of(client, settings, named) or name
        if types[place] != name:
            raise InvalidError("is of type {}", types[place])
        return _of_message(deserialize(value))

    return _guarded(read)


def _type_of(client: Any, settings: Mapping[str, Any], named: Any) -> str | None:
    """The full name of the type that a value says it is of; None where the registry gives only text."""
    found = _name_in(_schema(client, named), named.message_indexes)
    if found is not None:
        return found
    # A client keeps a schema in the form in which it came first.
    with _client(settings) as another:
        try:
            return _name_in(_schema(another, named, fmt="serialized"), named.message_indexes)
        except RecountError as error:
            if getattr(error.__cause__, "http_status_code", None) == 400:  # it does not know that form
                return None
            raise


def _schema(client: Any, named: Any, **how: Any) -> Any:
    return (
        client.get_schema(named.id, **how) if named.guid is None else client.get_schema_by_guid(str(named.guid), **how)
    )


def _name_in(schema: Any, place: list[int]) -> str | None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415

    try:
        found: Any = FileDescriptorProto.FromString(base64.b64decode(schema.schema_str, validate=True))
    except Exception:  # noqa: BLE001 - it is the text of a .proto file
        return None
    names, types = ([found.package] if found.package else []), found.message_type
    for index in place:
        if index >= len(types):
            return "none"
        names, types = [*names, types[index].name], types[index].nested_type
    return ".".join(names)


def _of_message(message: Any) -> Any:
    """The members of a message; those that are not set, and could know it, are null."""
    found = Object()
    for field in message.DESCRIPTOR.fields:
        is_set = not field.has_presence or message.HasField(field.name)
        found.append((field.name, _of_field(field, getattr(message, field.name)) if is_set else None))
    return found


def _of_field(field: Any, value: Any) -> Any:
    if not field.is_repeated:
        return _of_one(field, value)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of = field.message_type.fields_by_name["value"]
        return Object((json.dumps(key).strip('"'), _of_one(of, value[key])) for key in value)
    return [_of_one(field, each) for each in value]


def _of_one(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else Integer(str(value))
    if field.message_type is None:
        return _of_python(value)
    known = _KNOWN.get(field.message_type.full_name)
    return known(value) if known else _of_message(value)


def _timestamp(value: Any) -> str:
    moment = datetime.fromtimestamp(value.seconds, UTC)
    return f"{moment.isoformat()[:19]}.{value.nanos:09d}Z"


def _free(value: Any) -> Any:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    return _of_python(MessageToDict(value))


_KNOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": lambda value: value.ToJsonString(),
    **{f"google.protobuf.{kind}": _free for kind in ("Struct", "Value", "ListValue")},
    **{
        f"google.protobuf.{kind}Value": lambda value: _of_python(value.value)
        for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
    },
}
