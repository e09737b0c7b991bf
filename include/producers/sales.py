"""Sales of four sellers, as shops publish them on `sales-usd`."""

import random
from datetime import datetime, timedelta
from typing import Final

import msgspec

from producers.bad import COMMON
from producers.base import Fields, Good, Producer

# Their names fall on four partitions of four.
SELLERS: Final = ("amber-bakery", "coral-cafe", "olive-garden", "scarlet-shoes")
# Dollars; the most frequent amount is near the lower end, as in shops.
_LOWEST, _HIGHEST, _USUAL = 1, 500, 20
_FAR_FUTURE_S: Final = int(timedelta(days=1).total_seconds())


def sale(chance: random.Random, _number: int, at: datetime) -> Good:
    """A sale of one of the sellers."""
    seller = chance.choice(SELLERS)
    amount = round(chance.triangular(_LOWEST, _HIGHEST, _USUAL))
    return Good(seller.encode(), {"seller_id": seller, "amount_usd": amount, "sale_ts": int(at.timestamp())})


def far_future(_chance: random.Random, good: Fields) -> bytes:
    """The sale claims to happen tomorrow."""
    return msgspec.json.encode({**good, "sale_ts": good["sale_ts"] + _FAR_FUTURE_S})


sales: Final = Producer(name="sales", topic="sales-usd", good=sale, bad=(*COMMON, far_future))
