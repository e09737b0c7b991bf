"""Sales of four sellers, as shops publish them on `sales-usd`."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from producers.message import Message

# Their names fall on four partitions of four.
SELLERS: Final = ("amber-bakery", "coral-cafe", "olive-garden", "scarlet-shoes")
# Dollars; the most frequent amount is near the lower end, as in shops.
_LOWEST, _HIGHEST, _USUAL = 1, 500, 20
_FAR_FUTURE_S: Final = int(timedelta(days=1).total_seconds())

Sale = dict[str, Any]


def sale(chance: random.Random, now: datetime, bad_share: float) -> Message:
    """A sale that happens now; see `producers.message.Generator`."""
    seller = chance.choice(SELLERS)
    good: Sale = {
        "seller_id": seller,
        "amount_usd": round(chance.triangular(_LOWEST, _HIGHEST, _USUAL)),
        "sale_ts": int(now.timestamp()),
    }
    bad = chance.random() < bad_share
    value = chance.choice(BAD)(chance, good) if bad else msgspec.json.encode(good)
    # A bad event has its seller's key all the same: its partition does not depend on what is in it.
    return Message(key=seller.encode(), value=value, at=now)


def malformed(chance: random.Random, good: Sale) -> bytes:
    """JSON that is cut off in the middle."""
    whole = msgspec.json.encode(good)
    return whole[: chance.randrange(1, len(whole))]


def without_a_field(chance: random.Random, good: Sale) -> bytes:
    """One of the fields is missing."""
    missing = chance.choice(sorted(good))
    return msgspec.json.encode({name: value for name, value in good.items() if name != missing})


def mistyped(chance: random.Random, good: Sale) -> bytes:
    """One of the fields has a value of another type."""
    name = chance.choice(sorted(good))
    wrong = 4711 if isinstance(good[name], str) else f"{good[name]} or so"
    return msgspec.json.encode({**good, name: wrong})


def far_future(_chance: random.Random, good: Sale) -> bytes:
    """The sale claims to happen tomorrow."""
    return msgspec.json.encode({**good, "sale_ts": good["sale_ts"] + _FAR_FUTURE_S})


BAD: Final[tuple[Callable[[random.Random, Sale], bytes], ...]] = (malformed, without_a_field, mistyped, far_future)
