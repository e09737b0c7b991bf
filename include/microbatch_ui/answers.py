"""Answers as JSON that a browser reads without loss."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

# The largest integer up to which JavaScript's numbers have all.
_EXACT: Final = 2**53 - 1


class Answer(Response):
    """JSON of anything that msgspec encodes: structs, dicts, lists, datetimes (ISO 8601), decimals (texts)."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return msgspec.json.encode(exact(msgspec.to_builtins(content, builtin_types=(bytes,), enc_hook=str)))


def exact(value: Any) -> Any:
    """The value, with integers as texts that JavaScript's numbers do not have; bytes as texts, for people."""
    match value:
        case bool():
            return value
        case int() if abs(value) > _EXACT:
            return str(value)
        case bytes():
            return value.decode(errors="backslashreplace")
        case list():
            return [exact(item) for item in value]
        case dict():
            return {name: exact(item) for name, item in value.items()}
    return value
