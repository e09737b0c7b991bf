"""The adapter to Airflow, without a running Airflow."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.bases.decorator import DecoratedMappedOperator
from airflow.sdk.exceptions import AirflowFailException

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pairs,
    Pipeline,
    PostgresTable,
    Stream,
    Sum,
    TumblingWindow,
    airflow,
)
from microbatch.errors import KafkaUnreachableError, RunParamsError, TopicMissingError
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
def context(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A task's context; tests change its DAG run and its params."""
    dag_run = SimpleNamespace(
        dag_id="parcels",
        run_id="scheduled__1",
        run_type="scheduled",
        clear_number=0,
        logical_date=TEN,
        data_interval_start=TEN,
        data_interval_end=TEN + timedelta(minutes=1),
    )
    found = {"dag_run": dag_run, "params": {"mode": "catch up", "from": None, "to": None, "max_records": None}}
    monkeypatch.setattr(airflow, "get_current_context", lambda: found)
    return found


def test_a_pipeline_becomes_consume_mapped_over_its_shards_and_then_publish() -> None:
    dag = airflow.as_dag(PARCELS, schedule=airflow.every_minute)

    consume, publish = dag.get_task("consume"), dag.get_task("publish")
    assert isinstance(consume, DecoratedMappedOperator)
    assert consume.op_kwargs_expand_input.value == {"shard": [0, 1, 2]}
    assert publish.upstream_task_ids == {"consume"}
    assert publish.trigger_rule == "all_done"


def test_a_run_may_last_its_budget_and_some_minutes() -> None:
    assert airflow.as_dag(PARCELS, schedule=airflow.every_minute).dagrun_timeout == timedelta(minutes=12)


def test_source_and_all_results_are_assets() -> None:
    outputs = [
        Stream(to=[PostgresTable("parcel"), KafkaTopic("parcels")]),
        *PARCELS.outputs,
        TumblingWindow("1 hour", by=[], measures={"parcels": Count()}, to=[KafkaTopic("parcels-hourly")]),
        Pairs("grams", sum=12, to=[PostgresTable("parcel_pair")]),
    ]
    pipeline = msgspec.structs.replace(PARCELS, outputs=outputs, shards=1)

    dag = airflow.as_dag(pipeline, schedule=airflow.every_minute)

    assert [asset.name for asset in dag.get_task("consume").inlets] == ["topic parcels-raw"]
    assert [asset.name for asset in dag.get_task("publish").outlets] == [
        *("table parcel", "table parcel_weight", "table parcel_pair"),
        *("day of parcel_weight", "day of parcels-hourly"),
        *("topic parcels", "topic parcel-weight", "topic parcels-hourly"),
    ]


def test_the_page_of_a_dag_begins_with_the_docstring_of_its_file_and_tells_the_declaration() -> None:
    page = airflow.as_dag(PARCELS, schedule=airflow.every_minute).doc_md or ""

    assert page.startswith("The adapter to Airflow, without a running Airflow.\n\n### Reads topic `parcels-raw`")
    assert "A run that takes longer than 12 minutes is cut off" in page


def test_a_dag_has_the_params_of_a_run() -> None:
    dag = airflow.as_dag(PARCELS, schedule=airflow.every_minute)
    assert list(dag.params) == ["mode", "from", "to", "max_records"]


def test_a_task_does_what_its_run_and_its_params_say(context: dict[str, Any]) -> None:
    interval = (TEN, TEN + timedelta(minutes=1))
    assert airflow.current_run() == Run("parcels", "scheduled__1", interval=interval)

    context["dag_run"].run_type = "manual"
    context["params"] |= {"mode": "reprocess", "from": "2020-01-01T00:00:00Z", "to": "2020-01-01T00:01:00Z"}

    then = datetime(2020, 1, 1, tzinfo=UTC)
    assert airflow.current_run() == Run(
        "parcels", "scheduled__1", mode="reprocess", interval=(then, then + timedelta(minutes=1))
    )


def test_no_interval_ends_later_than_now(context: dict[str, Any]) -> None:
    context["dag_run"].run_type = "manual"
    context["params"] |= {"mode": "interval", "from": "2020-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}

    with pytest.raises(RunParamsError, match="what has not happened yet cannot be read"):
        airflow.current_run()


@pytest.mark.parametrize(
    ("partitions", "name"),
    [
        ([], "no partition"),
        ([3], "partition 3"),
        ([0, 2], "partitions 0, 2"),
        ([*range(1, 16, 2)], "partitions 1, 3, 5, 7, 9, 11, 13, 15"),
        ([*range(0, 2000, 2)], "1000 partitions: 0, 2, 4 … 1998"),
    ],
)
def test_a_mapped_task_is_named_by_its_partitions(context: dict[str, Any], partitions: list[int], name: str) -> None:
    airflow.name_after_partitions(ConsumeSummary(0, [], behind=0, partitions=partitions))

    assert context["partitions"] == name


def test_failed_shards_are_named_and_others_are_not() -> None:
    states = {"consume_2": "failed", "consume_0": "success", "consume_1": "upstream_failed", "consume_3": None}
    assert airflow.failed_in(states) == ["consume_1", "consume_2"]


def test_a_terminal_error_fails_the_task_without_a_retry_and_with_its_text() -> None:
    missing = TopicMissingError(topic="parcels-raw", bootstrap="kafka:9092", pipeline="parcels")

    with (
        pytest.raises(AirflowFailException, match="its source 'parcels-raw' does not exist on kafka:9092"),
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
        ("timing", "microbatch.batch_ms", timedelta(seconds=0.5), "parcels"),
    ]
