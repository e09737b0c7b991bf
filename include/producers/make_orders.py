"""Makes `include/data/orders.json`, always the same bytes: `python -m producers.make_orders`."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ORDERS: Final = 10_000
FILE: Final = Path(__file__).parents[1] / "data" / "orders.json"
# How many orders come from a country, and about how large they are there: no two countries are alike.
COUNTRIES: Final = {
    "US": (200, 60),
    "DE": (150, 55),
    "GB": (120, 50),
    "FR": (100, 48),
    "JP": (90, 70),
    "IT": (70, 42),
    "ES": (65, 38),
    "NL": (60, 52),
    "PL": (55, 30),
    "SE": (45, 58),
    "CH": (40, 95),
    "AT": (38, 51),
    "BE": (35, 47),
    "CA": (33, 62),
    "AU": (30, 66),
    "DK": (28, 64),
    "NO": (25, 80),
    "FI": (22, 54),
    "PT": (20, 33),
    "IE": (18, 57),
    "CZ": (16, 31),
    "BR": (14, 26),
    "MX": (12, 24),
    "IN": (10, 18),
    "NZ": (8, 61),
}
_SEED: Final = 6


def lines() -> Iterator[str]:
    """The orders, one a line, without the line's end."""
    chance = random.Random(_SEED)  # noqa: S311 - demo data, no secrets
    weights = [weight for weight, _ in COUNTRIES.values()]
    for number, country in enumerate(chance.choices(list(COUNTRIES), weights, k=ORDERS), 1):
        cents = _cents(chance, COUNTRIES[country][1])
        amount = f"{cents // 100}.{cents % 100:02}"
        yield f'{{"order_id": "A{number:06}", "country": "{country}", "amount": {amount}}}'


def _cents(chance: random.Random, usual: int) -> int:
    """Mostly about the usual amount, seldom ten times as much; of whole numbers, which are the same on any machine."""
    percent = chance.randint(10, 200) if chance.random() < 0.95 else chance.randint(200, 2000)
    return max(1, usual * percent + chance.randint(-99, 99))


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8", newline="\n")
