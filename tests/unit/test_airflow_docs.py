"""The page of a DAG tells people what its declaration says."""

import enum
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from microbatch import (
    Count,
    EpochMillis,
    EpochSeconds,
    Event,
    KafkaTopic,
    Keep,
    Mean,
    Pairs,
    Pipeline,
    PostgresTable,
    Scale,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch.airflow_docs import documentation

if TYPE_CHECKING:
    import pandas as pd

TEN_MINUTES = timedelta(minutes=10)


class Parcel(Event):
    """A parcel that left the depot."""

    depot: str
    grams: int
    left_at: EpochSeconds


def weights(**more: Any) -> TumblingWindow:
    given: dict[str, Any] = {
        "size": "5 minutes",
        "by": ["depot"],
        "measures": {"grams": Sum("grams"), "mean": Mean("grams", scale=2), "parcels": Count()},
        "to": [PostgresTable("parcel_weight"), KafkaTopic("parcel-weight")],
    }
    return TumblingWindow(**given | more)


def parcels(**more: Any) -> Pipeline:
    given: dict[str, Any] = {
        "name": "parcels",
        "description": "Weight per depot.",
        "source": KafkaTopic("parcels-raw", Parcel, event_time="left_at"),
        "outputs": [weights()],
    }
    return Pipeline(**given | more)


def page(docstring: str | None = None, **more: Any) -> str:
    return documentation(parcels(**more), docstring, TEN_MINUTES)


def test_it_begins_with_the_docstring_of_the_file_or_else_with_the_description() -> None:
    assert page("Parcels.\n\n    Since 2020.\n    ").startswith("Parcels.\n\nSince 2020.\n\n### Reads topic")
    assert page().startswith("Weight per depot.\n\n### Reads topic")
    assert page(description="").startswith("### Reads topic")


def test_it_has_the_sections_in_the_order_of_the_flow() -> None:
    told = page(outputs=[Stream(), weights(), Pairs("grams", sum=9, to=[KafkaTopic("pairs")])])

    assert [line for line in told.splitlines() if line.startswith("#")] == [
        "### Reads topic `parcels-raw`",
        "### Streams events",
        "### Computes windows of 5 minutes",
        "### Pairs events by `grams`",
        "### Rejects to topic `parcels-raw-dlq`",
        "### Runs",
        "### For other DAGs",
        "### By hand",
    ]


def test_the_source_is_told_with_the_event_and_its_fields() -> None:
    told = page()

    assert "### Reads topic `parcels-raw`\n\nA parcel that left the depot." in told
    assert "| `grams` | integer |  |" in told
    assert "| `left_at` | whole seconds since 1970-01-01 UTC | event time |" in told


class Door(enum.Enum):
    FRONT = "front"
    BACK = "back|side"


class Address(Event):
    street: str
    floor: int | None = None


class Everything(Event):
    text: Annotated[str, msgspec.Meta(pattern="^(a|b)$", max_length=3)]
    number: Annotated[int, msgspec.Meta(ge=0)]
    flag: bool
    price: Annotated[Decimal, Scale(2)]
    millis: EpochMillis
    time: datetime
    size: Literal["s", "m"]
    door: Door
    address: Address
    stops: list[Address]
    tags: list[list[str]]
    note: str | None
    kind_of: str | None = msgspec.field(default=None, name="kind-of")


@pytest.mark.parametrize(
    "row",
    [
        r"| `text` | text (pattern `^(a\|b)$`, max_length `3`) |  |",
        "| `number` | integer (ge `0`) |  |",
        "| `flag` | true or false |  |",
        "| `price` | decimal with up to 2 digits after the point |  |",
        "| `millis` | whole milliseconds since 1970-01-01 UTC |  |",
        "| `time` | time with an offset, such as `2026-11-21T10:00:00Z` | event time |",
        "| `size` | one of `s`, `m` |  |",
        r"| `door` | one of `front`, `back\|side` |  |",
        "| `address` | object |  |\n| `address.street` | text |  |",
        "| `address.floor` | integer | may be null, may be missing |",
        "| `stops` | list of: object |  |\n| `stops[].street` | text |  |",
        "| `tags` | list of: list of: text |  |",
        "| `note` | text | may be null |",
        "| `kind_of` | text | `kind-of` in JSON, may be null, may be missing |",
    ],
)
def test_each_type_of_field_is_told(row: str) -> None:
    window = weights(by=[], measures={"events": Count()})
    told = page(source=KafkaTopic("parcels-raw", Everything, event_time="time"), outputs=[window])

    assert f"\n{row}\n" in told


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("earliest", "It begins with the oldest message."),
        ("latest", "It begins with what came after its first run; a run by hand can read older messages."),
        (datetime(2026, 11, 21, tzinfo=UTC), "It begins with the messages of 2026-11-21T00:00:00+00:00; "),
    ],
)
def test_where_it_begins_is_told(start: Any, text: str) -> None:
    assert text in page(start=start)


class Weighed(Event):
    depot: str
    grams: int
    tons: int | None


def weigh(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Tons, for trucks."""
    return frame.assign(tons=frame["grams"] // 1_000_000)


def test_a_transform_is_told_with_what_comes_out_of_it() -> None:
    told = page(transform=Transform(weigh, version=3, event=Weighed))

    assert "### Transforms events by `weigh`\n\nTons, for trucks.\n\nVersion 3. What comes out of it:\n\n" in told
    assert "| `tons` | integer | may be null |" in told


def test_a_stream_is_told_with_its_columns_rules_and_sinks() -> None:
    stream = Stream(
        columns={"depot": "upper(depot)", "heavy": "grams > 5\n  or depot || '`' = 'x'"},
        where="grams > 0",
        reject={"too heavy": "grams > 1000"},
        unique=["depot", "left_at"],
        to=[PostgresTable("parcel"), KafkaTopic("parcels")],
    )

    told = page(outputs=[stream])

    for text in (
        "### Streams events\n\nEach event is a row into table `parcel` and topic `parcels`.",
        "| column | SQL |\n| --- | --- |\n| `depot` | `upper(depot)` |",
        r"| `heavy` | `` grams > 5 or depot \|\| '`' = 'x' `` |",
        "| rejected as | if |\n| --- | --- |\n| `too heavy` | `grams > 1000` |",
        "Only events pass for which this is true: `grams > 0`",
        "Of events with the same `depot`, `left_at` only the first one counts.",
    ):
        assert text in told


def test_a_stream_without_sinks_is_for_windows_and_pairs() -> None:
    assert "### Streams events\n\nWindows and pairs see what passes.\n\n### Computes" in page(
        outputs=[Stream(), weights()]
    )


def test_a_window_is_told_with_its_key_sinks_and_measures() -> None:
    told = page()

    assert (
        "### Computes windows of 5 minutes\n\nBy `depot`, into table `parcel_weight` and topic `parcel-weight`. "
        "A result is published once its window has closed."
    ) in told
    assert "| `grams` | sum of grams |\n| `mean` | mean of grams, rounded to 2 digits |" in told


def test_a_window_by_the_clocks_of_a_place_that_is_published_early() -> None:
    window = weights(size="1 day", timezone="Europe/Berlin", emit="early", by=[], to=[KafkaTopic("days")])

    told = page(outputs=[window])

    assert "### Computes windows of 1 day, by the clocks of Europe/Berlin\n\nBy no key, into topic `days`. " in told
    assert "A result is published after every run that changed it, and is final once its window has closed." in told


@pytest.mark.parametrize(
    ("sink", "waiting"),
    [(PostgresTable("pair"), "public.pair_waiting"), (KafkaTopic("pairs"), "microbatch_topic.pairs_waiting")],
)
def test_pairs_are_told_with_the_table_in_which_the_others_wait(sink: Any, waiting: str) -> None:
    told = page(outputs=[Pairs("grams", sum=12, to=[sink])])

    assert "Two events whose `grams` sum to 12 are a pair, the oldest first, into t" in told
    assert f"What has no partner yet waits in table `{waiting}`." in told


def test_rejects_are_told_and_late_events_if_they_are_rejected() -> None:
    assert "`late`" not in page()
    assert (
        "So does one that reaches Kafka more than 2 hours after the end of its window, as `late`. If more than 50% of"
    ) in page(allowed_lateness=timedelta(hours=2))


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (timedelta(minutes=5), "5 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=1), "1 day"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(milliseconds=500), "0.5 s"),
    ],
)
def test_durations_are_told_in_the_largest_unit_that_fits(budget: timedelta, text: str) -> None:
    assert f"After {text} it stops and the next one goes on." in page(run_budget=budget)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(days=30), "What was read can be computed again for 30 days; after that it counts as it is."),
        (None, "What was read can be computed again at any time."),
    ],
)
def test_how_long_batches_can_be_redone_is_told(age: timedelta | None, text: str) -> None:
    assert text in page(keep=Keep(contributions=age))


def test_other_dags_learn_what_they_can_wait_for() -> None:
    assert "`day of parcel_weight` has an event for each day that has become final" in page()
    assert "day of" not in page(outputs=[Stream(to=[KafkaTopic("parcels")])])


@pytest.mark.parametrize(
    "way",
    [
        *("mode `catch up`", "mode `interval`", "mode `reprocess`"),
        *("*Backfill*", "`All Runs`", "`fill_gaps`", "*Clear* the whole run"),
    ],
)
def test_whoever_clicks_learns_what_each_way_does(way: str) -> None:
    by_hand = page().partition("### By hand\n")[2]

    assert way in by_hand
    assert "A run that takes longer than 10 minutes is cut off and fails" in by_hand
