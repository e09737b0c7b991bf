"""One pipeline that uses every option at once, and what to send to it."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal

import msgspec
import pandas as pd

from fix_pipeline import T0, Message
from microbatch import (
    Count,
    EpochMillis,
    EpochSeconds,
    Event,
    KafkaTopic,
    Max,
    Mean,
    Min,
    Pairs,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)

FIRST: Final = -2 * 1440
"""The minute that messages begin in, counted from T0: two days before, so that its day can close."""


class Colour(Enum):
    """Colours."""

    RED = "red"
    BLUE = "blue"


class Place(Event):
    """Where a reading was taken."""

    city: str
    height: Annotated[Decimal, Scale(1)]


class Reading(Event):
    """A reading with a field of each type."""

    device: str
    number: Annotated[int, msgspec.Meta(ge=0, le=12)]
    price: Annotated[Decimal, Scale(2)]
    is_new: bool
    at: EpochSeconds
    measured: datetime
    colour: Colour
    kind: Literal["a", "b"]
    place: Place
    tags: list[str]
    order: str = msgspec.field(name="order-id")
    sent: EpochMillis | None = None
    weight: int | None = None


class Weighed(Event):
    """A reading with its weight, which the transform makes sure of."""

    device: str
    number: int
    price: Annotated[Decimal, Scale(2)]
    is_new: bool
    colour: str
    kind: str
    place: Place
    tags: list[str]
    order: str
    weight: int
    sent: datetime | None = None


def weigh(readings: pd.DataFrame) -> pd.DataFrame:
    """Readings without a weight weigh 7; readings of the order `gone` are left out."""
    readings["weight"] = readings["weight"].fillna(7)
    return readings[readings["order"] != "gone"]


def everything(prefix: str, partitions: int, **changes: Any) -> Pipeline:
    """The pipeline, with topics of its own."""
    options: dict[str, Any] = {
        "name": "everything",
        "description": "Every option at once.",
        "source": KafkaTopic(f"{prefix}-readings", Reading, event_time="at", partitions=partitions),
        "transform": Transform(weigh, Weighed, version=2),
        "start": "earliest",
        "grace": timedelta(milliseconds=1),
        "max_future": timedelta(minutes=10),
        "allowed_lateness": timedelta(hours=2),
        "max_records": 40,
        "run_budget": timedelta(minutes=2),
        "max_rejected": 0.4,
        "shards": 1,
        "dead_letters": KafkaTopic(f"{prefix}-letters", partitions=2, config={"retention.ms": "-1"}),
        "outputs": [
            Stream(
                columns={
                    "device": "device",
                    "Select": "upper(kind) || ':' || colour",  # a name that SQL needs quotes for
                    "number": "number",
                    "price": "price",
                    "height": "place.height",
                    "city": "coalesce(nullif(place.city, ''), 'nowhere')",
                    "tag": "tags[1]",
                    "share": "(price / 3)::decimal(18, 4)",
                    "weight": "weight",
                    "processed_time": "_batch_time",
                    "seen": "coalesce(sent, _event_time)",
                    "order": 'cast("order" as bigint)',
                },
                where="is_new",
                reject={"no tag": "len(tags) = 0", "device unknown": "not starts_with(device, 'd')"},
                unique=["device", "order"],
                to=[
                    PostgresTable(f'{prefix} "readings"'),
                    KafkaTopic(f"{prefix}-valid", partitions=2, config={"compression.type": "zstd"}),
                ],
            ),
            TumblingWindow(
                "1 minute",
                by=["device", "Select"],
                measures={
                    "price": Sum("price"),
                    "weight": Sum("weight"),
                    "readings": Count(),
                    "lowest": Min("height"),
                    "newest": Max("seen"),
                    "mean price": Mean("share", scale=3),
                },
                to=[PostgresTable(f"{prefix}_minutes"), KafkaTopic(f"{prefix}-minutes", partitions=3)],
            ),
            TumblingWindow(
                "1 day",
                by=["city"],
                measures={"readings": Count(), "highest": Max("number")},
                to=[KafkaTopic(f"{prefix}-days", partitions=1)],
                timezone="Europe/Berlin",
                emit="early",
            ),
            Pairs("number", 12, to=[PostgresTable(f"{prefix}_pairs"), KafkaTopic(f"{prefix}-pairs", partitions=2)]),
        ],
    }
    return Pipeline(**{**options, **changes})


def readings(count: int, partitions: int, seed: int, minute: int = FIRST) -> list[Message]:
    """Messages of a minute, counted from T0, with every fate: invalid, ruled out, left out, repeated, late, counted."""
    chance = random.Random(seed)  # noqa: S311 - the same messages each time
    return [_reading(chance, number, partitions, minute) for number in range(count)]


def _reading(chance: random.Random, number: int, partitions: int, minute: int) -> Message:
    at = T0 + 60 * minute + chance.randrange(60)
    reading: dict[str, Any] = {
        "device": f"d{chance.randrange(4)}",
        "number": chance.randrange(13),
        "price": f"{chance.randrange(-500, 100_000) / 100:.2f}",
        "is_new": True,
        "at": chance.choice([at, str(at)]),
        "measured": datetime.fromtimestamp(at, UTC).isoformat(),
        "colour": chance.choice(["red", "blue"]),
        "kind": chance.choice("ab"),
        "place": {"city": chance.choice(["Rome", "", "Oslo"]), "height": chance.choice([1, "2.5", -3.5])},
        "tags": chance.choice([["x"], ["y", "x"]]),
        "order-id": str(abs(1_000_000 * minute) + chance.randrange(10_000)),
    }
    more: list[dict[str, Any]] = [{}, {"sent": at * 1000 + 5, "weight": chance.randrange(100)}, {"weight": None}]
    reading |= chance.choice(more)
    reading |= chance.choices(_fates(at), weights=[100, 3, 3, 5, 3, 3, 10, 3, 3, 3, 10, 3])[0]
    value = None if chance.random() < 0.02 else json.dumps(reading).encode()
    key = chance.choice([None, b"k1", b"k2"])
    at_s = T0 + 60 * minute + chance.randrange(60)
    return Message(value, chance.randrange(partitions), key, at_s, (("trace", str(number).encode()),))


def _fates(at: int) -> list[dict[str, Any]]:
    """What makes a reading count, or not."""
    return [
        {},
        {"tags": []},
        {"device": "x"},
        {"is_new": False},
        {"order-id": "gone"},
        {"order-id": "no number"},
        {"order-id": "1"},
        {"number": 13},
        {"price": "1.234"},
        {"at": at - 3 * 3600 - 60},
        {"at": at - 60},
        {"at": at + 3600},
    ]
