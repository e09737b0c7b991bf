"""Logins: which of them count, when they came, and how many there were per device type in each minute.

Valid logins of `user-login` go on to the table `processed_user_login` and the topic `processed-user-login`, with the
time at which they were processed and their own time in UTC. The others go whole to `user-login-dlq`, with the reason: a
field is missing or malformed, the device type is not supported (`LOGINS_DEVICE_TYPES`), or the app is too old
(`LOGINS_MIN_APP_VERSION`).
"""

from typing import Annotated

from msgspec import Meta

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Stream, TumblingWindow, setting
from microbatch.airflow import as_dag, every_minute

VERSION = r"\A[0-9]{1,9}(\.[0-9]{1,9}){0,3}\Z"
MIN_APP_VERSION = setting("LOGINS_MIN_APP_VERSION", "2.0.0", pattern=VERSION)
DEVICE_TYPES = sorted(setting("LOGINS_DEVICE_TYPES", ["android", "iOS"], pattern="[A-Za-z0-9 ._-]+"))
# Part by part, as numbers: 2.10.0 is newer than 2.9.0, and 2.3 is 2.3.0.
PARTS = "list_resize(string_split({}, '.')::bigint[], 4, 0)"


class Login(Event):
    """A login, as apps publish it on `user-login`; its time is a number of seconds, or a string with one."""

    user_id: str
    app_version: Annotated[str, Meta(pattern=VERSION)]
    device_type: str
    ip: str
    locale: str
    device_id: str
    timestamp: EpochSeconds


logins = Pipeline(
    name="logins",
    description="Valid logins with their times, and their number per device type and minute.",
    source=KafkaTopic("user-login", Login, event_time="timestamp"),
    outputs=[
        Stream(
            reject={
                "unsupported device type": f"device_type not in {DEVICE_TYPES}",
                "app version is too old": f"{PARTS.format('app_version')} < {PARTS.format(repr(MIN_APP_VERSION))}",
            },
            columns={
                **{name: name for name in ("user_id", "app_version", "device_type", "ip", "locale", "device_id")},
                "timestamp": 'epoch("timestamp")::bigint',
                "timestamp_in_utc": '"timestamp"',
                "processed_time": "_batch_time",
            },
            to=[PostgresTable("processed_user_login"), KafkaTopic("processed-user-login")],
        ),
        TumblingWindow(
            "1 minute",
            by=["device_type"],
            measures={"logins": Count()},
            to=[PostgresTable("device_type_count"), KafkaTopic("device_type_count")],
        ),
    ],
)

dag = as_dag(logins, schedule=every_minute)
