"""Which window a moment falls into, and which messages come too late for theirs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fix_recount import MINUTE, message, plain
from recount import windows
from recount.definition import Window, parse
from recount.errors import InvalidError
from recount.events import is_late, judge
from recount.times import DATES_S

ZONES = ["Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "America/Havana", "Asia/Kathmandu"]


def window(size_s: int, timezone: str = "UTC") -> Window:
    output: dict[str, Any] = {"kind": "tumbling_window", "size_s": size_s, "timezone": timezone, "by": []}
    output |= {"measures": {"n": {"measure": "count"}}, "schema": "public", "table": "t", "topic": None}
    return parse(plain({}, output)).windows[0]


def span(of: Window, moment: str) -> tuple[str, str]:
    found = windows.of(of, round(datetime.fromisoformat(moment).timestamp() * 1_000_000))
    return tuple(datetime.fromtimestamp(each, UTC).isoformat()[:16] for each in (found.start_s, found.end_s))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("size_s", "timezone", "moment", "start", "end"),
    [
        (60, "UTC", "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59", "1970-01-01T00:00"),
        (86400, "UTC", "2026-03-29T12:00Z", "2026-03-29T00:00", "2026-03-30T00:00"),
        (604800, "UTC", "2026-11-22T23:59:59Z", "2026-11-16T00:00", "2026-11-23T00:00"),
        (604800, "UTC", "1969-12-29T00:00Z", "1969-12-29T00:00", "1970-01-05T00:00"),
        # 23 and 25 hours
        (86400, "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00", "2026-03-29T22:00"),
        (86400, "Europe/Berlin", "2026-10-25T22:30Z", "2026-10-24T22:00", "2026-10-25T23:00"),
        (604800, "Europe/Berlin", "2026-10-25T22:30Z", "2026-10-18T22:00", "2026-10-25T23:00"),
        # clocks went from 0:00 to 1:00: there was no midnight
        (86400, "America/Sao_Paulo", "2018-11-04T03:00Z", "2018-11-04T03:00", "2018-11-05T02:00"),
        (86400, "America/Sao_Paulo", "2018-11-04T02:59Z", "2018-11-03T03:00", "2018-11-04T03:00"),
        # clocks went back from 1:00 to 0:00: midnight came twice, the first one counts
        (86400, "America/Havana", "2026-11-01T04:30Z", "2026-11-01T04:00", "2026-11-02T05:00"),
        (86400, "America/Havana", "2026-11-01T05:30Z", "2026-11-01T04:00", "2026-11-02T05:00"),
        # clocks went back from 0:01 to 23:01: the date before came again
        (86400, "America/St_Johns", "2010-11-07T03:00Z", "2010-11-07T02:30", "2010-11-08T03:30"),
        # a whole day was left out
        (86400, "Pacific/Apia", "2011-12-30T09:59Z", "2011-12-29T10:00", "2011-12-30T10:00"),
        (86400, "Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_a_window_is_between_two_boundaries(size_s: int, timezone: str, moment: str, start: str, end: str) -> None:
    assert span(window(size_s, timezone), moment) == (start, end)


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from(ZONES),
    st.sampled_from([86_400, 604_800]),
)
@example(datetime(2010, 11, 7, 3, 0), "America/St_Johns", 86_400)  # noqa: DTZ001
def test_windows_of_a_zone_hold_their_moments_and_meet(naive: datetime, timezone: str, size_s: int) -> None:
    moment_us = (naive.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    found = windows.of(window(size_s, timezone), moment_us)

    assert found.start_s * 1_000_000 <= moment_us < found.end_s * 1_000_000
    assert windows.of(window(size_s, timezone), found.end_s * 1_000_000).start_s == found.end_s
    assert windows.end_s(window(size_s, timezone), found.start_s) == found.end_s
    start = datetime.fromtimestamp(found.start_s, ZoneInfo(timezone))
    assert size_s == 86_400 or start.weekday() == 0


@pytest.mark.parametrize(
    ("size_s", "timezone", "moment"),
    [
        (604_800, "UTC", "9999-12-30T00:00:00+00:00"),
        (86_400, "Asia/Kathmandu", "9999-12-30T23:00:00+00:00"),
        (86_400, "America/Havana", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_a_window_beyond_the_calendar_has_no_end(size_s: int, timezone: str, moment: str) -> None:
    with pytest.raises(InvalidError):
        windows.end_s(window(size_s, timezone), round(datetime.fromisoformat(moment).timestamp()))


@pytest.mark.parametrize("timezone", ["UTC", *ZONES])
@pytest.mark.parametrize("size_s", [86_400, 604_800])
def test_all_moments_that_count_have_windows(size_s: int, timezone: str) -> None:
    for moment_s in (DATES_S[0], DATES_S[-1]):
        found = windows.of(window(size_s, timezone), moment_s * 1_000_000)
        assert datetime.fromtimestamp(found.start_s, UTC) < datetime.fromtimestamp(found.end_s, UTC)


EVENT = {"t": {"kind": "iso_time"}}
LAST_MS = 253_401_609_599_000


def out_of(definition_changes: dict[str, Any], sizes: list[int], at: int, text: str) -> bool:
    outputs = [
        {"kind": "tumbling_window", "size_s": size, "timezone": "UTC", "by": [], "measures": {}}
        | {"schema": "public", "table": f"t{size}", "topic": None}
        for size in sizes
    ]
    definition = parse(plain(EVENT, *outputs, **definition_changes))
    found = message(0, at=at, t=text)
    return is_late(definition, judge(definition, found.value or b"", found.timestamp_ms), found.timestamp_ms)


def test_late_is_counted_from_the_earliest_end_of_the_events_windows() -> None:
    late = {"allowed_lateness_s": 10.0}

    assert not out_of(late, [60], MINUTE + 70, "2025-11-21T04:40:00Z")
    assert out_of(late, [60], MINUTE + 71, "2025-11-21T04:40:59.999Z")
    assert not out_of(late, [60], MINUTE + 71, "2025-11-21T04:41:00Z")
    assert out_of(late, [3600, 60], MINUTE + 71, "2025-11-21T04:40:00Z")
    assert not out_of(late, [3600], MINUTE + 71, "2025-11-21T04:40:00Z")
    assert not out_of(late, [], MINUTE + 9999, "2025-11-21T04:40:00Z")
    assert not out_of({}, [60], MINUTE + 9999, "2025-11-21T04:40:00Z")
    assert out_of({"allowed_lateness_s": 0.0}, [60], MINUTE + 61, "2025-11-21T04:40:00Z")


def test_more_than_max_future_ahead_of_kafka_is_a_reject() -> None:
    definition = parse(plain(EVENT))
    at_most, beyond = (message(0, t=f"2025-11-21T05:40:00.{digits}Z") for digits in ("000000", "000001"))

    assert judge(definition, at_most.value or b"", at_most.timestamp_ms).time_us == (MINUTE + 3600) * 1_000_000
    with pytest.raises(InvalidError, match="too far ahead"):
        judge(definition, beyond.value or b"", beyond.timestamp_ms)


def test_without_an_event_time_kafkas_timestamp_counts_if_it_is_a_date() -> None:
    definition = parse(plain({"n": {"kind": "int"}}))

    assert judge(definition, b'{"n":1}', 1_763_700_000_123).time_us == 1_763_700_000_123_000
    assert judge(definition, b'{"n":1}', LAST_MS).time_us == LAST_MS * 1_000
    for no_date in (-1, LAST_MS + 1):
        with pytest.raises(InvalidError, match="Kafka's timestamp"):
            judge(definition, b'{"n":1}', no_date)


def test_no_message_may_have_a_kafka_timestamp_beyond_the_calendar() -> None:
    definition = parse(plain({"t": {"kind": "epoch_seconds"}}))

    assert judge(definition, b'{"t":0}', LAST_MS).time_us == 0
    with pytest.raises(InvalidError, match="beyond the calendar"):
        judge(definition, b'{"t":0}', LAST_MS + 1)


def test_an_event_whose_time_is_null_is_a_reject() -> None:
    definition = parse(plain({"t": {"kind": "iso_time", "optional": True}}))

    with pytest.raises(InvalidError, match="no event time"):
        judge(definition, b'{"t":null}', MINUTE * 1000)
