"""Answers keep what JavaScript's numbers would lose."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from microbatch_ui.answers import Answer


class Shown(msgspec.Struct):
    """Something of each kind."""

    small: int
    large: int
    decimals: list[Decimal]
    at: datetime
    key: bytes
    is_final: bool


def test_integers_and_decimals_keep_all_digits() -> None:
    shown = Shown(
        2**53 - 1, -(2**63), [Decimal("1E-7"), Decimal("1E+3")], datetime(2026, 1, 1, tzinfo=UTC), b"a\xff", True
    )

    assert json.loads(bytes(Answer(shown).body)) == {
        "small": 2**53 - 1,
        "large": str(-(2**63)),
        "decimals": ["0.0000001", "1000"],
        "at": "2026-01-01T00:00:00Z",
        "key": "a\\xff",
        "is_final": True,
    }
