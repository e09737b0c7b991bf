"""What all producers have in common: bad, late and duplicate events, past intervals, pace, params and options."""

import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import typer
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import producers.airflow
from fix_pipeline import sales_pipeline
from microbatch.airflow import as_dag, every_minute
from microbatch.clock import Clock
from microbatch.errors import KafkaUnreachableError
from producers import cli, sending
from producers.airflow import producer_dag, producer_params
from producers.base import LATE_FROM_MS, LATE_TO_MS, Good, Producer, Shares, messages, of_interval, spread, usual_shares
from producers.message import Message
from producers.pacing import TICK_S, Pace, seconds_left, steady
from producers.registry import PRODUCERS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHARE = st.floats(0, 1)
SHARES = st.builds(Shares, bad=SHARE, late=SHARE, duplicate=SHARE)
ANY_PRODUCER = st.sampled_from(list(PRODUCERS.values()))


def tick(chance: random.Random, number: int, at: datetime) -> Good:
    return Good(b"tick", {"number": number, "at_ms": round(at.timestamp() * 1000), "luck": chance.random()})


TICKS = Producer(name="ticks", topic="ticks", good=tick, bad=(lambda _chance, _good: b"bad",))


def sent(count: int, *, seed: int = 1, first: int | None = None, **shares: float) -> list[list[Message]]:
    """Events that are sent ten milliseconds after each other."""
    times = (NOON + number * timedelta(milliseconds=10) for number in range(count))
    return list(messages(TICKS, Shares(**shares), times, seed, first))


def numbers(events: list[list[Message]]) -> list[int]:
    return [json.loads(event[0].value or b"")["number"] for event in events]


def late_by_ms(event: list[Message]) -> int:
    at_ms: int = json.loads(event[0].value or b"")["at_ms"]
    return round(event[0].at.timestamp() * 1000) - at_ms


# -- events ------------------------------------------------------------------------------------------------


def test_a_good_event_happens_when_it_is_sent() -> None:
    events = sent(100)

    assert [late_by_ms(event) for event in events] == [0] * 100
    assert [event[0].at for event in events] == [NOON + n * timedelta(milliseconds=10) for n in range(100)]


def test_times_have_whole_milliseconds_as_kafkas_have() -> None:
    [event] = messages(TICKS, Shares(), [NOON.replace(microsecond=1_999)], seed=1)

    assert event[0].at == NOON.replace(microsecond=1_000)
    assert late_by_ms(event) == 0


def test_a_late_event_has_happened_before_it_is_sent_often_in_an_earlier_minute() -> None:
    delays = [late_by_ms(event) for event in sent(1000, late=1)]

    assert LATE_FROM_MS <= min(delays) < 5_000
    assert 175_000 < max(delays) <= LATE_TO_MS
    assert 500 < sum(delay > 60_000 for delay in delays) < 800


def test_a_late_event_carries_the_time_at_which_it_is_sent() -> None:
    assert [event[0].at for event in sent(50, late=1)] == [event[0].at for event in sent(50)]


def test_a_duplicate_is_the_same_message_right_after_it() -> None:
    for event in sent(200, bad=0.5, late=0.5, duplicate=1):
        assert len(event) == 2
        assert event[0] == event[1]


def test_a_bad_event_keeps_its_key_and_its_time() -> None:
    assert {(event[0].key, event[0].value) for event in sent(20, bad=1)} == {(b"tick", b"bad")}
    assert [event[0].at for event in sent(20, bad=1)] == [event[0].at for event in sent(20)]


def test_shares_are_about_what_was_asked_for_and_independent() -> None:
    events = sent(8000, bad=0.2, late=0.3, duplicate=0.1)
    good = [event for event in events if event[0].value != b"bad"]

    assert 1400 < len(events) - len(good) < 1800
    assert 0.27 < sum(late_by_ms(event) > 0 for event in good) / len(good) < 0.33
    assert 680 < sum(len(event) == 2 for event in events) < 920
    assert 120 < sum(len(event) == 2 for event in events if event[0].value == b"bad") < 200


def test_numbers_count_from_a_place_that_depends_on_the_seed() -> None:
    places = {numbers(sent(3, seed=seed))[0] for seed in range(20)}

    assert len(places) == 20
    [first] = numbers(sent(1))
    assert numbers(sent(3)) == [first, first + 1, first + 2]
    assert numbers(sent(3, first=0)) == [0, 1, 2]


def test_the_first_number_changes_no_other_choice() -> None:
    luck = [[json.loads(event[0].value or b"")["luck"] for event in sent(5, first=first)] for first in (None, 0, 7)]
    assert luck[0] == luck[1] == luck[2]


def test_a_time_is_asked_for_only_when_its_event_is_due() -> None:
    asked: list[datetime] = []

    def times() -> Iterator[datetime]:
        for number in itertools.count():
            asked.append(NOON + number * MINUTE)
            yield asked[-1]

    events = messages(TICKS, Shares(), times(), seed=1)
    assert asked == []
    assert [event[0].at for event in itertools.islice(events, 3)] == asked == [NOON + n * MINUTE for n in range(3)]


@given(producer=ANY_PRODUCER, shares=SHARES, seed=st.integers())
def test_the_same_seed_gives_the_same_messages(producer: Producer, shares: Shares, seed: int) -> None:
    times = list(spread(NOON, NOON + MINUTE, 0.5))
    assert list(messages(producer, shares, times, seed)) == list(messages(producer, shares, times, seed))


# -- past intervals ----------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(producer=ANY_PRODUCER, shares=SHARES, rate=st.floats(0.1, 5), seed=st.none() | st.integers())
def test_an_interval_has_always_the_same_messages(
    producer: Producer, shares: Shares, rate: float, seed: int | None
) -> None:
    paris = timezone(timedelta(hours=1))
    first = list(of_interval(producer, shares, rate, (NOON, NOON + MINUTE), seed))

    assert first == list(of_interval(producer, shares, rate, (NOON, NOON + MINUTE), seed))
    local = (NOON.astimezone(paris), (NOON + MINUTE).astimezone(paris))
    assert first == list(of_interval(producer, shares, rate, local, seed))


def test_another_interval_another_seed_and_another_producer_have_others() -> None:
    def of(producer: str, minute: int, seed: int | None) -> list[bytes | None]:
        interval = (NOON + minute * MINUTE, NOON + (minute + 1) * MINUTE)
        events = of_interval(PRODUCERS[producer], Shares(), 10, interval, seed)
        # Without the time, which differs in any case.
        return [b"%d" % json.loads(message.value or b"")["amount_usd"] for [message] in events]

    asked = [("sales", 0, None), ("sales", 0, 0), ("sales", 0, 1), ("sales", 1, 1)]
    assert len({tuple(of(*one)) for one in asked}) == 4
    renamed = msgspec.structs.replace(PRODUCERS["sales"], name="more_sales")
    both = [list(of_interval(one, Shares(), 1, (NOON, NOON + MINUTE), 1)) for one in (renamed, PRODUCERS["sales"])]
    assert both[0] != both[1]


@given(
    rate=st.floats(0.1, 300) | st.sampled_from([0.1, 0.3, 1 / 3, 0.7, 3.0, 10.0, 33.3]),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    seconds=st.integers(1, 60),
)
def test_events_are_evenly_spread_from_the_start_until_before_the_end(
    rate: float, start: datetime, seconds: int
) -> None:
    end = start + timedelta(seconds=seconds)
    times = list(spread(start, end, rate))

    assert times[0] == start
    assert times[-1] < end <= times[-1] + timedelta(seconds=1 / rate, microseconds=2)
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(times)]
    assert all(abs(gap - 1 / rate) < 3e-6 for gap in gaps)


def test_a_minute_of_ten_a_second_has_600_events_and_the_next_begins_where_it_ends() -> None:
    minutes = [list(spread(NOON + n * MINUTE, NOON + (n + 1) * MINUTE, 10)) for n in range(2)]

    assert [len(times) for times in minutes] == [600, 600]
    assert [*minutes[0], *minutes[1]] == list(spread(NOON, NOON + 2 * MINUTE, 10))


@given(shares=SHARES, rate=st.floats(0.1, 20))
def test_messages_of_an_interval_are_sent_inside_it_one_after_the_other(shares: Shares, rate: float) -> None:
    times = [
        message.at for event in of_interval(TICKS, shares, rate, (NOON, NOON + MINUTE), seed=1) for message in event
    ]
    assert times == sorted(times)
    assert times[0] == NOON
    assert times[-1] < NOON + MINUTE


# -- pacing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed_s", "sent", "due"),
    [(0, 0, 1), (0.05, 1, 0), (0.1, 1, 1), (1.0, 1, 10), (1.0, 12, 0), (3600, 590, 10), (3600, 600, 0)],
)
def test_events_are_due_at_their_rate_until_all_are_sent(elapsed_s: float, sent: int, due: int) -> None:
    assert Pace(total=600, rate_per_second=10).due(elapsed_s, sent) == due


@given(rate=st.floats(0.1, 5000), seconds=st.floats(0.1, 60))
def test_a_steady_pace_has_sent_all_when_its_time_is_over(rate: float, seconds: float) -> None:
    pace = steady(rate, seconds)
    assert pace.due(seconds, 0) == pace.total


@pytest.mark.parametrize(
    ("rate", "elapsed_s", "sent", "wait_s"), [(0.5, 0.01, 1, 1.99), (0.1, 0, 1, 10), (0.1, 4, 1, 6)]
)
def test_a_producer_sleeps_until_the_next_event_is_due(rate: float, elapsed_s: float, sent: int, wait_s: float) -> None:
    assert Pace(total=600, rate_per_second=rate).wait_s(elapsed_s, sent) == pytest.approx(wait_s)


@pytest.mark.parametrize(("rate", "elapsed_s", "sent"), [(1000, 1, 1001), (10, 1, 5)])
def test_a_producer_never_wakes_more_often_than_every_tick(rate: float, elapsed_s: float, sent: int) -> None:
    assert Pace(total=6000, rate_per_second=rate).wait_s(elapsed_s, sent) == TICK_S


@pytest.mark.parametrize(
    ("into_the_minute", "left"), [(30.4, 56.6), (0, 27), (25.9, 1.1), (26.5, 60.5), (27.0, 60.0), (29.5, 57.5)]
)
def test_a_live_producer_works_until_shortly_before_the_next_run(into_the_minute: float, left: float) -> None:
    now = NOON + timedelta(seconds=into_the_minute)
    assert seconds_left(now) == pytest.approx(left)


# -- sending -----------------------------------------------------------------------------------------------


def test_a_missing_broker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_TIMEOUT_S", 0.2)
    with pytest.raises(KafkaUnreachableError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        sending.send_at_once("sales-usd", {"bootstrap.servers": "127.0.0.1:1"}, sent(1))


class FakeSending:
    """Keeps what is sent."""

    def __init__(self, *_: object) -> None:
        self.sent: list[Message] = []
        self.total = 0

    def __enter__(self) -> "FakeSending":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, *messages: Message) -> None:
        self.sent += messages
        self.total += len(messages)

    def look(self) -> None:
        pass


class FakeClock(Clock):
    """Moves on only while somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic_s(self) -> float:
        return sum(self.slept)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.monotonic_s())

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_live_events_are_sent_at_the_moment_in_which_they_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, clock = FakeSending(), FakeClock()
    monkeypatch.setattr(sending, "Sending", lambda *_: fake)
    events = messages(TICKS, Shares(duplicate=0.5), iter(clock.now, None), seed=1)
    seen: list[int] = []

    total = sending.send("ticks", {}, events, steady(10, 6), clock=clock, progress=seen.append)

    assert total == len(fake.sent) > 60
    assert {message.at for message in fake.sent} == {NOON + timedelta(seconds=s * TICK_S) for s in range(7)}
    assert clock.slept == [TICK_S] * 6
    assert seen[-1] == 60


# -- params and options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("producer", PRODUCERS.values(), ids=list(PRODUCERS))
def test_each_param_has_a_title_a_description_and_bounds(producer: Producer) -> None:
    params = producer_params(producer)

    assert [name for name in params if name.endswith("_share")] == [
        f"{name}_share" for name in ("bad", "late", "duplicate") if name != "late" or producer.has_event_time
    ]
    for name, param in params.items():
        assert isinstance(param, Param)
        assert param.description
        assert param.schema["title"]
        assert name == "seed" or {"minimum", "maximum"} <= param.schema.keys()
        param.resolve()


def test_the_usual_shares_are_small_and_no_number_is_late() -> None:
    assert usual_shares(PRODUCERS["sales"]) == Shares(bad=0.02, late=0.02, duplicate=0.01)
    assert usual_shares(PRODUCERS["number_pairs"]) == Shares(bad=0.02, duplicate=0.01)


def test_names_and_topics_are_those_of_the_pipelines() -> None:
    topics = {name: producer.topic for name, producer in PRODUCERS.items()}

    assert topics == {
        "orders": "orders",
        "number_pairs": "raw-topic",
        "sales": "sales-usd",
        "logins": "user-login",
        "weather": "weather",
    }
    assert all(name == producer.name for name, producer in PRODUCERS.items())


UNASKED = {"rate_per_second": 10, "bad_share": 0.02, "late_share": 0.02, "duplicate_share": 0.01, "seed": None}


class Called(msgspec.Struct):
    """How a task sent its events: live at a pace, or a past interval."""

    name: str
    events: Iterator[list[Message]]
    pace: Pace | None = None


def run_task(monkeypatch: pytest.MonkeyPatch, run_type: str, run_id: str = "run 1", **params: Any) -> Called:
    """Run the task of the sales' DAG for the minute from noon on, with all but the sending."""
    calls: list[Called] = []

    def called(_topic: str, _kafka: object, events: Iterator[list[Message]], pace: Pace | None = None, **_: Any) -> int:
        calls.append(Called("live" if pace else "past", events, pace))
        return 0

    dag_run = SimpleNamespace(
        run_type=run_type, run_id=run_id, data_interval_start=NOON, data_interval_end=NOON + MINUTE
    )
    context = {"dag_run": dag_run, "params": {**UNASKED, **params}}
    monkeypatch.setattr(producers.airflow, "get_current_context", lambda: context)
    monkeypatch.setattr(producers.airflow, "kafka_settings", dict)
    monkeypatch.setattr(sending, "send", called)
    monkeypatch.setattr(sending, "send_at_once", called)
    task: Any = producer_dag(PRODUCERS["sales"], "Sales.").get_task("send")
    task.python_callable()
    return calls[0]


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered"])
def test_every_run_but_a_backfill_is_live(monkeypatch: pytest.MonkeyPatch, run_type: str) -> None:
    called = run_task(monkeypatch, run_type, rate_per_second=20)

    assert called.name == "live"
    assert called.pace is not None
    assert called.pace.rate_per_second == 20
    before = Clock().now() - timedelta(milliseconds=1)
    assert before <= next(called.events)[0].at <= Clock().now()


def test_a_backfill_sends_the_events_of_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    called = run_task(monkeypatch, "backfill", seed=7, rate_per_second=5)

    expected = of_interval(PRODUCERS["sales"], Shares(0.02, 0.02, 0.01), 5, (NOON, NOON + MINUTE), 7)
    assert (called.name, called.pace) == ("past", None)
    assert list(called.events) == list(expected)


def test_live_runs_differ_unless_they_have_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def sellers(run_id: str, seed: int | None) -> list[bytes | None]:
        events = run_task(monkeypatch, "manual", run_id, seed=seed, bad_share=0, duplicate_share=0).events
        return [event[0].key for event in itertools.islice(events, 50)]

    assert sellers("run 1", None) != sellers("run 2", None)
    assert sellers("run 1", 7) == sellers("run 2", 7) != sellers("run 2", 8)


def test_a_param_that_a_producer_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        AirflowFailException, match=r"late of the run is 0\.5; there are only rate_per_second, bad_share"
    ):
        run_task(monkeypatch, "manual", late=0.5)


def test_pipelines_go_first_when_slots_are_few() -> None:
    pipeline: Any = as_dag(sales_pipeline("t", partitions=2), every_minute)
    producer: Any = producer_dag(PRODUCERS["sales"], "Sales.").get_task("send")
    # A task's weight is its own and that of the tasks after it; the producer's has none after it.
    assert producer.priority_weight < min(task.priority_weight for task in pipeline.tasks)
    assert not producer.downstream_task_ids


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sale"], "no producer 'sale'; there are: orders, number_pairs, sales, logins, weather"),
        (["sales", "--count", "1", "--seconds", "1"], "give --count or --seconds, not both"),
        (["sales", "--file", "orders.json"], "only orders are replayed from a file, not sales"),
        (["number_pairs", "--late-share", "0"], "events of number_pairs have no time of their own"),
        (["sales", "--bad-share", "1.5"], "Input should be less than or equal to 1"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant(arguments: list[str], says: str) -> None:
    app = typer.Typer()
    app.command()(cli.produce)

    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})

    assert done.exit_code == 2
    assert says in " ".join(done.output.replace("│", " ").split())
