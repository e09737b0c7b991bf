"""How the values of a source are written, where it is not JSON: declared beside its event type.

Only declarations are here: what reads such values (`translating`) needs packages that not everybody has.
"""

from typing import Any

import msgspec


class Avro(msgspec.Struct, frozen=True):
    """Values in Avro, each with the id of its schema in a schema registry in its first bytes.

    The writer's schema, from the registry, says what is in a value; the event type says what is wanted of it.
    """

    @property
    def plain(self) -> dict[str, str]:
        """For the definition."""
        return {"format": "avro"}


class Protobuf(msgspec.Struct, frozen=True):
    """Values in Protobuf, each with the id of its schema in a schema registry in its first bytes.

    Attributes:
        message: the class of the values, as `protoc` generates it.
    """

    message: type[Any]

    @property
    def name(self) -> str:
        """The full name of the message type."""
        return str(self.message.DESCRIPTOR.full_name)

    @property
    def plain(self) -> dict[str, str]:
        """For the definition."""
        return {"format": "protobuf", "message": self.name}
