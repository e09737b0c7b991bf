"""Orders from many countries, replayed from a file to `orders`, each with the time of its replay."""

import functools
import logging
import random
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from microbatch import setting
from producers.bad import COMMON
from producers.base import Fields, Good, GoodEvent, Producer
from producers.order_file import Order, read_orders

log: Final = logging.getLogger("producers")

ORDERS_FILE: Final = "ORDERS_FILE"
DEFAULT_FILE: Final = "include/data/orders.json"
# A relative path begins here: tasks run in folders of Airflow's.
_ROOT: Final = Path(__file__).parents[2]
_UNKNOWN_COUNTRIES: Final = ("DEU", "FRA", "USA", "XYZ")


def replay(orders: Sequence[Order]) -> GoodEvent:
    """Gives these orders in their order, from the first one again after the last one."""

    def order(_chance: random.Random, number: int, at: datetime) -> Good:
        found = orders[number % len(orders)]
        return Good(found.country.encode(), {**found.fields, "ordered_at": at})

    return order


@functools.cache
def _replay_of_setting() -> GoodEvent:
    file = read_orders(_ROOT / (setting(ORDERS_FILE, DEFAULT_FILE)))
    for complaint in file.complaints:
        log.warning("%s", complaint)
    return replay(file.orders)


def order_of_setting(chance: random.Random, number: int, at: datetime) -> Good:
    """An order of the file that ORDERS_FILE names; it is read when the first one is asked for."""
    return _replay_of_setting()(chance, number, at)


def negative_amount(_chance: random.Random, good: Fields) -> bytes:
    """Somebody gets money for it."""
    return msgspec.json.encode({**good, "amount": msgspec.Raw(f"-{_amount(good)}".encode())})


def unknown_country(chance: random.Random, good: Fields) -> bytes:
    """A country that is not two letters."""
    return msgspec.json.encode({**good, "country": chance.choice(_UNKNOWN_COUNTRIES)})


def too_exact_amount(_chance: random.Random, good: Fields) -> bytes:
    """An amount with half a cent."""
    return msgspec.json.encode({**good, "amount": msgspec.Raw(f"{_amount(good):.2f}5".encode())})


def _amount(good: Fields) -> Decimal:
    return Decimal(msgspec.json.encode(good["amount"]).decode().strip('"'))


orders: Final = Producer(
    name="orders",
    topic="orders",
    good=order_of_setting,
    bad=(*COMMON, negative_amount, unknown_country, too_exact_amount),
)
