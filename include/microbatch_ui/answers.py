"""Answers as JSON that a browser reads without loss."""

from decimal import Decimal
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
        return msgspec.json.encode(exact(msgspec.to_builtins(content, builtin_types=(bytes, Decimal), enc_hook=str)))


def exact(value: Any) -> Any:
    """The value; integers that JavaScript does not have and decimals as texts of all digits, bytes as texts."""
    found = value
    match value:
        case bool():
            pass
        case int() if abs(value) > _EXACT:
            found = str(value)
        case Decimal():
            found = format(value, "f")
        case bytes():
            found = value.decode(errors="backslashreplace")
        case list():
            found = [exact(item) for item in value]
        case dict():
            found = {name: exact(item) for name, item in value.items()}
    return found
