"""How a pipeline fares: one word, and what to do about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from microbatch.errors import KafkaUnreachableError, OffsetsLostError, TooManyRejectedError
from microbatch.states import Facts, judge, parts_of

NOW = datetime(2026, 11, 22, 6, 41, tzinfo=UTC)
HEALTHY = Facts(
    dag_id="sales",
    is_paused=False,
    now=NOW,
    period_s=60,
    looked_at=NOW - timedelta(seconds=40),
    lag=0,
    complete_until=NOW - timedelta(seconds=41),
    unsent_since=None,
    last_batch_at=NOW - timedelta(seconds=39),
    error=None,
)


def ago(**length: int) -> datetime:
    return NOW - timedelta(**length)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, "healthy", None),
        ({"lag": 12_000}, "behind", "12,000 offsets that the last look saw are not read yet"),
        ({"complete_until": ago(minutes=3)}, "healthy", None),
        ({"complete_until": ago(minutes=4)}, "behind", "windows are closed until 2026-11-22 06:37:00 UTC only"),
        ({"complete_until": ago(minutes=4), "period_s": 3600}, "healthy", None),
        ({"complete_until": None}, "healthy", None),
        ({"unsent_since": ago(minutes=3)}, "healthy", None),
        (
            {"unsent_since": ago(minutes=4)},
            "behind",
            "what was published since 2026-11-22 06:37:00 UTC has not reached Kafka",
        ),
        ({"is_paused": True}, "stopped", "the DAG 'sales' is paused"),
        ({"looked_at": ago(minutes=9)}, "healthy", None),
        ({"looked_at": ago(minutes=11)}, "stopped", "no run has looked at the source since 2026-11-22 06:30:00 UTC"),
        ({"looked_at": ago(minutes=110), "period_s": 3600}, "healthy", None),
        ({"looked_at": None, "last_batch_at": None}, "new", "it is registered, and nothing was read yet"),
        ({"last_batch_at": None}, "new", "nothing was read yet: its topic has no messages"),
        ({"error": "E: x"}, "stopped", "E: x"),
        ({"error": "E: x", "looked_at": None}, "stopped", "E: x"),
        ({"error": "E: x", "is_paused": True, "lag": 9}, "stopped", "E: x"),
    ],
)
def test_the_worst_is_said_first(changes: dict[str, Any], state: str, reason: str | None) -> None:
    verdict = judge(msgspec.structs.replace(HEALTHY, **changes))

    assert (verdict.state, verdict.reason) == (state, reason)
    assert (verdict.remedy is None) == (state == "healthy")


@pytest.mark.parametrize(
    ("is_paused", "remedy"),
    [
        (True, "Unpause the DAG 'sales'"),
        (False, "See whether Airflow's scheduler works, and how runs of 'sales' end"),
        (
            None,
            (
                "See whether the DAG 'sales' is paused, whether its file can be imported, and whether Airflow's "
                "scheduler works"
            ),
        ),
    ],
)
def test_what_to_do_when_no_run_comes_depends_on_airflow(is_paused: bool | None, remedy: str) -> None:
    facts = msgspec.structs.replace(HEALTHY, is_paused=is_paused, looked_at=ago(hours=1))

    assert judge(facts).remedy == remedy


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            TooManyRejectedError(
                pipeline="sales", rejected=9, messages=9, ranges="[0] 0..8", allowed=0.1, reason="(a.b; c)"
            ),
            (
                "That looks like a changed producer: correct it or the event type, or let these messages go to the "
                "dead letters: `microbatch accept-rejects sales`"
            ),
        ),
        (
            OffsetsLostError(pipeline="sales", topic="s", partition=0, start=1, last=2, low_watermark=3),
            (
                "`microbatch accept-loss sales` goes on without them, on record; raise retention.ms of the topic, so "
                "that it does not happen again"
            ),
        ),
        (
            KafkaUnreachableError(bootstrap="here:9092", reason="No. There is; none"),
            (
                "Start it (`microbatch up --only stack`) or correct bootstrap.servers and the security settings of the "
                "Kafka connection"
            ),
        ),
    ],
)
def test_the_remedy_is_that_of_the_error(error: Exception, remedy: str) -> None:
    reason, found = parts_of(f"{type(error).__name__}: {error}")

    assert found == remedy
    assert str(error).lower() == f"{reason}{str(error)[len(reason) : len(reason) + 2]}{remedy}".lower()


def test_errors_of_others_have_no_remedy_of_theirs() -> None:
    assert parts_of("UniqueViolation: no. Not so\nDETAIL: more") == ("UniqueViolation: no. Not so", None)
    facts = msgspec.structs.replace(HEALTHY, error="KeyError: 'x'")
    assert judge(facts).remedy == "Read the log of the last failed run of the DAG 'sales'"
