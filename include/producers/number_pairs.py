"""Numbers from 0 to 12, of which the pipeline makes pairs, on `raw-topic` or what NUMBER_PAIRS_RAW_TOPIC names."""

import random
from datetime import datetime
from typing import Final

import msgspec

from microbatch import setting
from producers.bad import COMMON
from producers.base import Fields, Good, Producer

HIGHEST: Final = 12


def number_event(chance: random.Random, _number: int, _at: datetime) -> Good:
    """One of the numbers, each as likely as the others; it has no time of its own."""
    number = chance.randint(0, HIGHEST)
    return Good(str(number).encode(), {"number": number})


def out_of_range(chance: random.Random, _good: Fields) -> bytes:
    """A number that is none of those."""
    return msgspec.json.encode({"number": chance.choice((-1, HIGHEST + 1))})


def in_words(_chance: random.Random, _good: Fields) -> bytes:
    """A number in words."""
    return msgspec.json.encode({"number": "seven"})


def fraction(_chance: random.Random, good: Fields) -> bytes:
    """A number and a half."""
    return msgspec.json.encode({"number": good["number"] + 0.5})


number_pairs: Final = Producer(
    name="number_pairs",
    topic=setting("NUMBER_PAIRS_RAW_TOPIC", "raw-topic"),
    good=number_event,
    bad=(*COMMON, out_of_range, in_words, fraction),
    rate_per_second=5,
    has_event_time=False,
)
