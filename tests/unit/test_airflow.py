"""The adapter to Airflow, without a running Airflow."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.decorator import DecoratedMappedOperator
from airflow.sdk.exceptions import AirflowFailException

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Pipeline, PostgresTable, Sum, TumblingWindow, airflow
from microbatch.errors import KafkaUnreachableError, TopicMissingError
from microbatch.metrics import of_consume
from microbatch.ranges import OffsetRange
from microbatch.runs import BatchSummary, ConsumeSummary, Run

TEN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


class Parcel(Event):
    """A parcel that left the depot."""

    depot: str
    grams: int
    left_at: EpochSeconds


PARCELS = Pipeline(
    name="parcels",
    description="Weight per depot.",
    source=KafkaTopic("parcels-raw", Parcel, event_time="left_at"),
    outputs=[
        TumblingWindow(
            "5 minutes",
            by=["depot"],
            measures={"grams": Sum("grams"), "parcels": Count()},
            to=[PostgresTable("parcel_weight"), KafkaTopic("parcel-weight")],
        )
    ],
    run_budget=timedelta(minutes=7),
    shards=3,
)


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A task's context; tests change its DAG run."""
    dag_run = SimpleNamespace(
        dag_id="parcels",
        run_id="scheduled__1",
        run_type="scheduled",
        clear_number=0,
        logical_date=TEN,
        data_interval_start=TEN,
        data_interval_end=TEN + timedelta(minutes=1),
    )
    monkeypatch.setattr(airflow, "get_current_context", lambda: {"dag_run": dag_run})
    return dag_run


def test_a_pipeline_becomes_consume_mapped_over_its_shards_and_then_publish() -> None:
    dag = airflow.as_dag(PARCELS, schedule=airflow.every_minute)

    consume, publish = dag.get_task("consume"), dag.get_task("publish")
    assert isinstance(consume, DecoratedMappedOperator)
    assert consume.op_kwargs_expand_input.value == {"shard": [0, 1, 2]}
    assert publish.upstream_task_ids == {"consume"}
    assert publish.trigger_rule == "all_done"


def test_a_run_may_last_its_budget_and_some_minutes() -> None:
    assert airflow.as_dag(PARCELS, schedule=airflow.every_minute).dagrun_timeout == timedelta(minutes=12)


def test_source_and_results_are_assets() -> None:
    dag = airflow.as_dag(PARCELS, schedule=airflow.every_minute)

    assert [asset.name for asset in dag.get_task("consume").inlets] == ["topic parcels-raw"]
    assert [asset.name for asset in dag.get_task("publish").outlets] == ["table parcel_weight", "topic parcel-weight"]


def test_the_page_of_a_dag_tells_source_event_fields_windows_and_dead_letters() -> None:
    page = airflow.as_dag(PARCELS, schedule=airflow.every_minute).doc_md or ""

    assert page.startswith("The adapter to Airflow, without a running Airflow.")  # this file's docstring
    for told in (
        "### Reads topic `parcels-raw`\n\nA parcel that left the depot.",
        "| `grams` | integer |  |",
        "| `left_at` | whole seconds since 1970-01-01 UTC | event time |",
        "### Computes windows of 5 minutes\n\nBy `depot`, into table `parcel_weight` and topic `parcel-weight`.",
        "| `grams` | sum of grams |",
        "### Rejects to topic `parcels-raw-dlq`",
    ):
        assert told in page


def test_a_scheduled_run_has_its_data_interval(context: SimpleNamespace) -> None:
    interval = (TEN, TEN + timedelta(minutes=1))
    assert airflow.current_run() == Run("parcels", "scheduled__1", clear_number=0, interval=interval)


@pytest.mark.parametrize("run_type", ["manual", "backfill", "asset_triggered"])
def test_what_airflow_infers_for_other_runs_is_no_interval(context: SimpleNamespace, run_type: str) -> None:
    context.run_type = run_type
    assert airflow.current_run().interval is None


def test_a_cleared_run_says_so(context: SimpleNamespace) -> None:
    context.clear_number = 2
    assert airflow.current_run().clear_number == 2


def test_failed_shards_are_named_and_others_are_not() -> None:
    states = {"consume_2": "failed", "consume_0": "success", "consume_1": "upstream_failed", "consume_3": None}
    assert airflow.failed_in(states) == ["consume_1", "consume_2"]


def test_a_terminal_error_fails_the_task_without_a_retry_and_with_its_text() -> None:
    missing = TopicMissingError(topic="parcels-raw", bootstrap="kafka:9092", pipeline="parcels")

    with (
        pytest.raises(AirflowFailException, match="topic 'parcels-raw' does not exist on kafka:9092"),
        airflow.task_manners(),
    ):
        raise missing


def test_a_transient_error_is_left_to_airflow_to_retry() -> None:
    with pytest.raises(KafkaUnreachableError), airflow.task_manners():
        raise KafkaUnreachableError(bootstrap="kafka:9092", reason="no answer")


def test_sigterm_ends_a_task_where_it_is() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit), airflow.task_manners():
        os.kill(os.getpid(), signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) is before


def batch(messages: int, rejected: int) -> BatchSummary:
    return BatchSummary(1, [OffsetRange(0, 0, messages)], messages, rejected, windows=1, seconds=0.5)


def test_metrics_go_to_airflows_own_with_the_pipeline_as_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.observability import stats  # noqa: PLC0415

    sent: list[Any] = []

    def note(kind: str) -> Callable[..., None]:
        return lambda name, value, tags: sent.append((kind, name, value, tags["pipeline"]))

    for kind in ("incr", "gauge", "timing"):
        monkeypatch.setattr(stats, kind, note(kind))

    airflow.emit(of_consume(ConsumeSummary(0, [batch(10, 2)], 7)), PARCELS)

    assert sent == [
        ("incr", "microbatch.messages", 10, "parcels"),
        ("incr", "microbatch.rejected", 2, "parcels"),
        ("incr", "microbatch.batches", 1, "parcels"),
        ("gauge", "microbatch.lag_messages", 7, "parcels"),
        ("timing", "microbatch.batch_seconds", timedelta(seconds=0.5), "parcels"),
    ]
