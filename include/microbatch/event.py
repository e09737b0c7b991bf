"""Events: typed structs, whose types are the validation of what comes from Kafka."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Times are bounded so that the days and weeks around them, in any time zone, are dates too.
FIRST_S: Final = -62_134_992_000  # 0001-01-08T00:00:00Z
LAST_S: Final = 253_401_609_599  # 9999-12-23T23:59:59Z


class EpochUnit(msgspec.Struct, frozen=True):
    """Marks a field as a time: so many of them make a second."""

    per_second: int


class Scale(msgspec.Struct, frozen=True):
    """Marks a Decimal field: `Annotated[Decimal, Scale(2)]` has at most two digits after the point.

    At most 12 of them, and at most 15 before it; a value that needs more is a reject, never rounded.

    Attributes:
        digits: how many after the point, 0 to 12.
    """

    digits: int


EpochSeconds = Annotated[int | str, EpochUnit(1)]
"""A point in time as whole seconds since 1970-01-01 UTC: a number, or the same as a string."""

EpochMillis = Annotated[int | str, EpochUnit(1000)]
"""A point in time as whole milliseconds since 1970-01-01 UTC: a number, or the same as a string."""


class Event(msgspec.Struct, gc=False):
    """Base of all event types. Unknown fields of a message are ignored, all declared ones are needed.

    A field of type `T | None = None` may be missing or null. `datetime` is a time in RFC 3339 with an offset.
    """
