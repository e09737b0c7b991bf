"""The stream of `dags/logins.py`, without its window, declared with microbatch alone.

Consume and publish are two processes.
"""

from datetime import timedelta
from typing import Annotated

from benchmarks.contestants.microbatch_task import work
from msgspec import Meta

from microbatch import EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Stream

# Part by part, as numbers: 2.10.0 is newer than 2.9.0, and 2.3 is 2.3.0.
PARTS = "list_resize(string_split({}, '.')::bigint[], 4, 0)"


class Login(Event):
    """A login; its time is a number of seconds, or a string with one."""

    user_id: str
    app_version: Annotated[str, Meta(pattern=r"\A[0-9]{1,9}(\.[0-9]{1,9}){0,3}\Z")]
    device_type: str
    ip: str
    locale: str
    device_id: str
    timestamp: EpochSeconds


def pipeline(topic: str) -> Pipeline:
    """What reads a topic of logins; table and topic of the rows have its name with `rows`."""
    name = f"{topic}_rows"
    return Pipeline(
        name=name,
        # One run reads all, however slow the machine is.
        run_budget=timedelta(hours=1),
        source=KafkaTopic(topic, Login, event_time="timestamp"),
        outputs=[
            Stream(
                reject={
                    "unsupported device type": "device_type not in ['android', 'iOS']",
                    "app version is too old": f"{PARTS.format('app_version')} < {PARTS.format(repr('2.0.0'))}",
                },
                columns={
                    **{name: name for name in ("user_id", "app_version", "device_type", "ip", "locale", "device_id")},
                    "timestamp": 'epoch("timestamp")::bigint',
                    "timestamp_in_utc": '"timestamp"',
                    "processed_time": "_batch_time",
                },
                to=[PostgresTable(name), KafkaTopic(name)],
            ),
        ],
    )


if __name__ == "__main__":
    work(pipeline)
