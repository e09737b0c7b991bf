"""What the commands that watch print, as far as it goes without servers."""

import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console, RenderableType

from microbatch import cli_watch
from microbatch.cli_watch import duration, moment
from microbatch.kafka import Ends
from microbatch.watching import Batch, Freshness, Gap, Lag, Newest

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
TEN = datetime(2026, 11, 21, 10, tzinfo=UTC)
FRESH = Freshness("sales", None, TEN, 7230.5, 12, NOW, NOW, NOW, "DecodeError: [b]broken[/b]", 3)


def shown(*parts: RenderableType, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for part in parts:
        console.print(part)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.9, "0 s"),
        (3.0, "3 s"),
        (60.0, "1 min"),
        (123.9, "2 min 3 s"),
        (3600.0, "1 h"),
        (3605.0, "1 h"),
        (18_130.0, "5 h 2 min"),
        (90_061.0, "1 d 1 h"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_times_have_a_date_if_it_is_not_todays() -> None:
    assert moment(datetime.fromisoformat("2026-11-21T11:00:00+01:00"), NOW) == "10:00:00"
    assert moment(datetime.fromisoformat("2026-11-21T00:00:00+01:00"), NOW) == "2026-11-20 23:00:00"


def test_lag_is_what_kafka_has_now_and_is_not_covered() -> None:
    found = [
        Lag("sales", "sales-usd", 0, 1000, 1000, TEN, Ends(0, 1500, 1500)),
        Lag("sales", "sales-usd", 1, None, None, None, Ends(0, 7, 7)),
    ]

    text = shown(cli_watch._lag_table(found, with_pipeline=False), *cli_watch._lag_notes(found))

    assert "│ sales-usd[0] │   1,000 │      1,500 │ 1,500 │    500 │" in text
    assert "│ sales-usd[1] │       - │          7 │     7 │      7 │" in text


@pytest.mark.parametrize(
    ("now", "note"),
    [
        (Ends(0, 1200, 1500), "t[0]: another producer's transaction is open at offset 1,200."),
        (Ends(0, 5, 5), "t[0] ends below what is covered: the topic was truncated or created anew."),
        (None, "t[0]: Kafka has no such partition now."),
    ],
)
def test_lag_says_what_a_person_should_know(now: Ends | None, note: str) -> None:
    assert [str(line) for line in cli_watch._lag_notes([Lag("sales", "t", 0, 1000, 1000, TEN, now)])] == [note]


def test_a_gap_is_shown_by_its_first_and_last_offset() -> None:
    text = shown(cli_watch._gap_table([Gap("sales", "sales-usd", 0, 1200, 4712)]))

    assert "│ sales    │ sales-usd[0] │ 1200..4711 │            3,512 │" in text


def test_freshness_shows_the_last_error_as_it_is() -> None:
    text = shown(cli_watch._freshness_table([FRESH], NOW), *cli_watch._errors(FRESH, NOW), width=200)

    assert "│ 10:00:00             │ 2 h" in text
    assert "sales: last error at 12:00:30 UTC, 3 since the last batch:\nDecodeError: [b]broken[/b]\n" in text


def test_a_screen_of_watch_fits_80_columns() -> None:
    columns = ["window_start", "revision", "is_final", *(f"a_measure_{n}" for n in range(9))]
    newest = Newest("aggregated_[b]sales[/b]", columns, [(TEN, 1, True, *([Decimal("123456789.25")] * 9))])
    batch = Batch(123_456, TEN, 1_234_567, 12_345, 1_000, 1_000_000, "[0] 1..500000, [1] 1..500000")

    text = shown(cli_watch._newest_table(newest, NOW, 80), cli_watch._batch_table([batch], NOW))

    assert max(map(len, text.splitlines())) <= 80
    assert "aggregated_[b]sales[/b], the newest rows, without 7 columns" in text
    assert "│ 10:00:00     │ 1        │ True     │ 123456789.25 │ 123456789.25 │" in text
    assert "│ 123456 │  10:00:00 │ 1,234,567 │   12,345 │    1,000 │ 1,000,000 │" in text


def test_an_output_without_rows_says_so() -> None:
    text = shown(cli_watch._newest_table(Newest("t", ["window_start"], []), NOW, 80), cli_watch._batch_table([], NOW))

    assert "none yet" in text
