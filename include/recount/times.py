"""Moments as microseconds since 1970 UTC, and which of them count: 0001-01-08 to 9999-12-23."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US: Final = 1_000_000

# Weeks at both ends of the calendar are left out, so that each day and week around a moment, in any zone, is in it.
DATES_S: Final = range(-62_134_992_000, 253_401_609_600)

_RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open, of aware datetimes: windows by their starts, messages by Kafka's timestamps."""

    start: datetime
    end: datetime

    def has(self, window_start: int | Decimal) -> bool:
        """Whether a window is inside that starts so many seconds since 1970 UTC."""
        return since_epoch_us(self.start) <= window_start * SECOND_US < since_epoch_us(self.end)

    def __str__(self) -> str:
        """In UTC."""
        return " to ".join(f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for at in (self.start, self.end))


def moment(us: int) -> datetime | None:
    """The moment in UTC; None if it is out of bounds."""
    return EPOCH + timedelta(microseconds=us) if us // SECOND_US in DATES_S else None


def since_epoch_us(found: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (found - EPOCH) // timedelta(microseconds=1)


def parse_rfc_3339(text: str) -> datetime | None:
    """The moment in UTC, rounded half up to microseconds; None if the text is none or it is out of bounds.

    A date, `T`, `t` or a blank, a time up to 23:59:59 with any fraction, and `Z`, `z`, `+02:00` or `+0200`.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    try:
        local = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second}+00:00")
    except ValueError:
        return None
    if local.isoformat() != f"{day}T{hour}:{minute}:{second}+00:00":
        return None
    offset_s = (int(hours or 0) * 60 + int(minutes or 0)) * (-60 if sign == "-" else 60)
    return moment(since_epoch_us(local) - offset_s * SECOND_US + _fraction_us(fraction or ""))


def _fraction_us(digits: str) -> int:
    return int(digits[:6].ljust(6, "0")) + (digits[6:7] >= "5")
