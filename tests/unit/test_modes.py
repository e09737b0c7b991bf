"""What a person may ask of a run, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from microbatch.errors import RunParamsError
from microbatch.modes import run_in_mode
from microbatch.runs import Run

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEN, ELEVEN = datetime(2026, 11, 21, 10, tzinfo=UTC), datetime(2026, 11, 21, 11, tzinfo=UTC)


def asked(**params: Any) -> Run:
    given: dict[str, Any] = {"mode": "interval", "start": "2026-11-21T10:00:00Z", "end": "2026-11-21T11:00:00Z"}
    return run_in_mode("sales", "manual__1", 2, **{**given, "max_records": None, "now": NOW, **params})


def test_catching_up_has_no_interval() -> None:
    run = asked(mode="catch up", start=None, end=None)

    assert run == Run("sales", "manual__1", 2, "catch up", None, None)


@pytest.mark.parametrize("mode", ["interval", "reprocess"])
def test_the_other_modes_have_one_and_a_bound_if_it_is_given(mode: Any) -> None:
    assert asked(mode=mode, max_records=7) == Run("sales", "manual__1", 2, mode, (TEN, ELEVEN), 7)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-21T11:00:00+01:00", "2026-11-21T06:00:00-05:00"),
        ("2026-11-21 10:00Z", "20261121T110000Z"),
        ("2026-11-21T10:00:00.000000Z", "2026-11-21T11:00:00.000Z"),
    ],
)
def test_a_time_is_an_instant_however_it_is_written(start: str, end: str) -> None:
    assert asked(start=start, end=end).interval == (TEN, ELEVEN)


def test_an_interval_may_end_now() -> None:
    assert asked(end=NOW.isoformat()).interval == (TEN, NOW)


@pytest.mark.parametrize(
    ("params", "param", "text"),
    [
        ({"mode": "catchup"}, "mode", "choose one of catch up, interval, reprocess"),
        ({"mode": "catch up", "end": None}, "from", "leave it out, or choose another mode"),
        ({"mode": "catch up", "start": None}, "to", "leave it out, or choose another mode"),
        ({"start": None}, "from", "mode interval works on an interval: give a time such as 2026-11-21T10:00:00Z"),
        ({"mode": "reprocess", "end": None}, "to", "mode reprocess works on an interval"),
        ({"start": "yesterday"}, "from", "no time of ISO 8601"),
        ({"end": ""}, "to", "no time of ISO 8601"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "from", "no time of ISO 8601"),
        ({"start": "2026-11-21T10:00:00"}, "from", "without an offset it is any of many times"),
        ({"start": "2026-11-21"}, "from", "without an offset it is any of many times"),
        ({"start": "2026-11-21T11:00:00Z"}, "from", "give a time before `to`, which is 2026-11-21T11:00:00Z"),
        ({"start": "2026-11-21T11:00:01Z"}, "from", "give a time before `to`"),
        ({"end": "2026-11-21T12:00:01Z"}, "to", "give 2026-11-21T12:00:00Z at the latest"),
        ({"max_records": 0}, "max_records", "give 1 or more, or leave it out"),
        ({"max_records": -1, "mode": "catch up", "start": None, "end": None}, "max_records", "give 1 or more"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(params: dict[str, Any], param: str, text: str) -> None:
    with pytest.raises(RunParamsError) as refused:
        asked(**params)

    assert refused.value.facts["param"] == param
    assert text in str(refused.value)
