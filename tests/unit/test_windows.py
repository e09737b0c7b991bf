"""Windows: every time lies in its own, and they tile time without gap or overlap, in every zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microbatch import Count, PostgresTable, TumblingWindow
from microbatch.event import FIRST_S, LAST_S
from microbatch.windows import bounds

US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIZES = ["1 second", "90 seconds", "1 minute", "15 minutes", "1 hour", "12 hours", "1 day", "1 week"]
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # its clocks skipped midnight
    "Asia/Kathmandu",  # +05:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Africa/Cairo",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kwajalein",  # had no 1993-08-21
    "America/Havana",  # clocks go back over midnight
    "Antarctica/Troll",
    "Etc/GMT+12",
    "Pacific/Kiritimati",
]
times = st.integers(FIRST_S * US, LAST_S * US + US - 1)
recent = st.integers(0, 4_102_444_800 * US)


def window(size: str, timezone: str = "UTC") -> TumblingWindow:
    return TumblingWindow(size, by=[], measures={"n": Count()}, to=[PostgresTable("t")], timezone=timezone)


def bound(made: TumblingWindow, at_us: int) -> tuple[int, int]:
    """The window of one time."""
    starts, ends = bounds(made, np.array([at_us], np.int64))
    return int(starts[0]), int(ends[0])


def us(*when: int) -> int:
    """A time of UTC."""
    return (datetime(*when, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


def local(at_us: int, zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize("size", SIZES)
@given(at_us=times)
@example(at_us=FIRST_S * US)
@example(at_us=LAST_S * US + US - 1)
@example(at_us=-1)
@example(at_us=0)
def test_every_time_of_utc_lies_in_a_window_of_the_size_that_is_aligned_to_the_epoch(size: str, at_us: int) -> None:
    made = window(size)
    start, end = bound(made, at_us)

    assert start <= at_us < end
    assert end - start == made.size_s * US
    assert (start - (us(1970, 1, 5) if size == "1 week" else 0)) % (end - start) == 0


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("size", ["1 day", "1 week"])
@settings(max_examples=40)
@given(at_us=times | recent)
@example(at_us=FIRST_S * US)
@example(at_us=LAST_S * US + US - 1)
def test_windows_of_a_zone_tile_its_days(size: str, zone: str, at_us: int) -> None:
    made = window(size, zone)
    start, end = bound(made, at_us)

    assert start <= at_us < end
    if start > FIRST_S * US and end < LAST_S * US:
        # Its first and last moment are in it, and what is beside it is in its neighbours.
        assert [bound(made, at) for at in (start, at_us, end - 1)] == [(start, end)] * 3
        assert bound(made, start - 1)[1] == start
        assert bound(made, end)[0] == end
        # It begins with the first moment of its local day: midnight, or later where that was skipped.
        assert local(start, zone).date() > local(start - 1, zone).date() or zone == "America/Havana"
        days = (local(end, zone).date() - local(start, zone).date()).days
        assert days in ((1, 2) if size == "1 day" else (6, 7, 8))
        assert size == "1 day" or local(start, zone).weekday() == 0 or zone in ("Pacific/Apia", "Pacific/Kwajalein")


@given(st.lists(times, max_size=8), st.sampled_from(ZONES), st.sampled_from(["1 day", "1 week"]))
def test_the_window_of_a_time_does_not_depend_on_the_times_beside_it(many: list[int], zone: str, size: str) -> None:
    made = window(size, zone)
    starts, ends = bounds(made, np.array(many, np.int64))

    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [bound(made, at) for at in many]


@pytest.mark.parametrize(
    ("size", "zone", "at", "start", "end"),
    [
        ("1 week", "UTC", us(1970, 1, 1), us(1969, 12, 29), us(1970, 1, 5)),
        ("1 week", "UTC", us(2026, 11, 22, 23, 59), us(2026, 11, 16), us(2026, 11, 23)),
        ("1 day", "UTC", us(2026, 11, 21, 23, 59), us(2026, 11, 21), us(2026, 11, 22)),
        ("1 day", "Europe/Berlin", us(2026, 3, 28, 23), us(2026, 3, 28, 23), us(2026, 3, 29, 22)),
        ("1 day", "Europe/Berlin", us(2026, 10, 25, 12), us(2026, 10, 24, 22), us(2026, 10, 25, 23)),
        ("1 week", "Europe/Berlin", us(2026, 10, 25, 12), us(2026, 10, 18, 22), us(2026, 10, 25, 23)),
        ("1 day", "Asia/Kathmandu", us(2026, 11, 21, 18, 14), us(2026, 11, 20, 18, 15), us(2026, 11, 21, 18, 15)),
        ("1 day", "Australia/Lord_Howe", us(2026, 10, 4), us(2026, 10, 3, 13, 30), us(2026, 10, 4, 13)),
        ("1 day", "America/New_York", us(2026, 3, 8, 12), us(2026, 3, 8, 5), us(2026, 3, 9, 4)),
        # Midnight was skipped: the day began at one o'clock, and the day before ended then.
        ("1 day", "America/Sao_Paulo", us(2018, 11, 4, 12), us(2018, 11, 4, 3), us(2018, 11, 5, 2)),
        ("1 day", "America/Sao_Paulo", us(2018, 11, 4, 2, 59), us(2018, 11, 3, 3), us(2018, 11, 4, 3)),
        ("1 day", "Africa/Cairo", us(2026, 4, 24, 12), us(2026, 4, 23, 22), us(2026, 4, 24, 21)),
        # The 30th was left out: the 29th ends where the 31st begins.
        ("1 day", "Pacific/Apia", us(2011, 12, 30, 9, 59), us(2011, 12, 29, 10), us(2011, 12, 30, 10)),
    ],
)
def test_known_windows(size: str, zone: str, at: int, start: int, end: int) -> None:
    assert bound(window(size, zone), at) == (start, end)


def test_no_times_have_no_windows() -> None:
    for zone in ("UTC", "Europe/Berlin"):
        starts, ends = bounds(window("1 day", zone), np.array([], np.int64))

        assert (len(starts), len(ends)) == (0, 0)


def test_the_days_of_a_year_in_berlin_are_its_calendar() -> None:
    at, found = us(2025, 12, 31, 23), []
    while at < us(2026, 12, 31, 23):
        start, at = bound(window("1 day", "Europe/Berlin"), at)
        found.append((local(start, "Europe/Berlin").date(), (at - start) // (3600 * US)))

    odd = {date(2026, 3, 29): 23, date(2026, 10, 25): 25}
    assert found == [(day := date(2026, 1, 1) + timedelta(n), odd.get(day, 24)) for n in range(365)]
