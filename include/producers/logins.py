"""Logins of a few hundred users of an app, as its servers publish them on `user-login`."""

import functools
import random
import uuid
from datetime import datetime
from typing import Final

import msgspec

from producers.bad import COMMON
from producers.base import Fields, Good, Producer

USERS: Final = 300
DEVICE_TYPES: Final = ("android", "iOS")
# 2.10.1 is newer than 2.9.0, which a comparison of texts gets wrong.
APP_VERSIONS: Final = ("2.0.0", "2.3.0", "2.9.0", "2.10.1", "3.0.0")
_OLD_VERSIONS: Final = ("0.9", "1.4.2", "1.10.0", "1.99.99")
_UNSUPPORTED: Final = ("windows", "web", "ANDROID", "")
_LOCALES: Final = ("BR", "DE", "ES", "FR", "GB", "IN", "JP", "PL", "RU", "US")


def login(chance: random.Random, _number: int, at: datetime) -> Good:
    """A login of one of the users; its time is sometimes a text, sometimes a number."""
    user = chance.choice(_users())
    seconds = int(at.timestamp())
    fields = {
        "user_id": user["user_id"],
        "app_version": chance.choice(APP_VERSIONS),
        "device_type": user["device_type"],
        "ip": ".".join(str(chance.randint(1, 254)) for _ in range(4)),
        "locale": user["locale"],
        "device_id": user["device_id"],
        "timestamp": str(seconds) if chance.random() < 0.5 else seconds,
    }
    return Good(user["user_id"].encode(), fields)


@functools.cache
def _users() -> list[dict[str, str]]:
    """Always the same."""
    chance = random.Random(USERS)  # noqa: S311 - demo events, no secrets
    return [
        {
            "user_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "device_type": chance.choice(DEVICE_TYPES),
            "locale": chance.choice(_LOCALES),
            "device_id": f"{chance.randint(100, 999)}-{chance.randint(10, 99)}-{chance.randint(1000, 9999)}",
        }
        for _ in range(USERS)
    ]


def unsupported_device(chance: random.Random, good: Fields) -> bytes:
    """A device type that the pipeline does not know."""
    return msgspec.json.encode({**good, "device_type": chance.choice(_UNSUPPORTED)})


def old_version(chance: random.Random, good: Fields) -> bytes:
    """An app that is too old."""
    return msgspec.json.encode({**good, "app_version": chance.choice(_OLD_VERSIONS)})


def without_timestamp(_chance: random.Random, good: Fields) -> bytes:
    """Nobody knows when it was."""
    return msgspec.json.encode({name: value for name, value in good.items() if name != "timestamp"})


logins: Final = Producer(
    name="logins",
    topic="user-login",
    good=login,
    bad=(*COMMON, unsupported_device, old_version, without_timestamp),
    rate_per_second=5,
)
