"""What a DAG run is to do, by its kind, its data interval and its params."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from microbatch.airflow_params import run_of, run_params
from microbatch.errors import RunParamsError
from microbatch.runs import MODES, Run

TEN, ELEVEN, NOON = (datetime(2026, 11, 21, hour, tzinfo=UTC) for hour in (10, 11, 12))
HOUR = {"from": "2026-11-21T10:00:00Z", "to": "2026-11-21T11:00:00.000Z"}
BY_HAND = ("manual", "operator_triggered", "asset_triggered", "asset_materialization")
UNASKED = {"mode": "catch up", "from": None, "to": None, "max_records": None}


def run(run_type: str, interval: tuple[datetime, datetime] | None = (TEN, ELEVEN), **params: Any) -> Run:
    start, end = interval or (None, None)
    dag_run: Any = SimpleNamespace(
        dag_id="sales",
        run_id="run 1",
        run_type=run_type,
        clear_number=2,
        logical_date=start,
        data_interval_start=start,
        data_interval_end=end,
    )
    return run_of(dag_run, {**UNASKED, **params}, now=NOON)


# -- by the kind of run ------------------------------------------------------------------------------------


def test_a_scheduled_run_catches_up_and_has_its_data_interval() -> None:
    assert run("scheduled") == Run("sales", "run 1", 2, "catch up", (TEN, ELEVEN))


def test_a_backfill_reads_its_data_interval() -> None:
    assert run("backfill") == Run("sales", "run 1", 2, "interval", (TEN, ELEVEN))


@pytest.mark.parametrize("run_type", BY_HAND)
def test_any_other_run_catches_up_whatever_interval_airflow_made_up(run_type: str) -> None:
    assert run(run_type) == Run("sales", "run 1", 2, "catch up", None)


@pytest.mark.parametrize("run_type", BY_HAND)
@pytest.mark.parametrize("mode", ["interval", "reprocess"])
def test_any_other_run_works_on_the_interval_of_its_params(run_type: str, mode: Any) -> None:
    found = run(run_type, interval=(TEN - timedelta(days=9), TEN), mode=mode, **HOUR)

    assert found == Run("sales", "run 1", 2, mode, (TEN, ELEVEN))


@pytest.mark.parametrize("run_type", [*BY_HAND, "scheduled", "backfill"])
def test_each_run_may_bound_its_batches(run_type: str) -> None:
    assert run(run_type, max_records=7).max_records == 7


def test_a_whole_number_with_a_point_is_one() -> None:
    assert repr(run("manual", max_records=2.0).max_records) == "2"


def test_a_data_interval_is_in_utc() -> None:
    start = TEN.astimezone(timezone(timedelta(hours=5)))

    found = run("scheduled", interval=(start, start + timedelta(hours=1))).interval

    assert found is not None
    assert [moment.tzinfo for moment in found] == [UTC, UTC]


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_type", "params", "param", "text"),
    [
        ("manual", {"form": "x"}, "form", "there are only mode, from, to, max_records"),
        ("scheduled", {"Mode": "reprocess"}, "Mode", "there are only mode, from, to, max_records"),
        ("manual", {"from": HOUR["from"]}, "from", "mode catch up reads all that is uncovered"),
        ("manual", {"mode": "interval", "from": HOUR["from"]}, "to", "mode interval works on an interval"),
        ("asset_triggered", {"mode": "reprocess", **HOUR, "from": "2026-11-21T10:00:00"}, "from", "without an offset"),
        ("manual", {"mode": "interval", **HOUR, "to": "2026-11-21T12:00:01Z"}, "to", "what has not happened yet"),
        ("manual", {"max_records": 0}, "max_records", "give 1 or more"),
        ("backfill", {"max_records": -1}, "max_records", "give 1 or more"),
        (
            "backfill",
            {"mode": "reprocess"},
            "mode",
            "a backfill reads the interval of each of its runs: leave mode out",
        ),
        ("backfill", {"mode": "interval", **HOUR}, "mode", "a backfill reads the interval of each of its runs"),
        ("backfill", {"to": HOUR["to"]}, "to", "a backfill reads the interval of each of its runs: leave to out"),
        ("scheduled", {"mode": "interval"}, "mode", "a scheduled run catches up: leave mode out, or trigger a run"),
        ("scheduled", {"from": HOUR["from"]}, "from", "a scheduled run catches up: leave from out"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(
    run_type: str, params: dict[str, Any], param: str, text: str
) -> None:
    with pytest.raises(RunParamsError) as refused:
        run(run_type, **params)

    assert refused.value.facts["param"] == param
    assert text in str(refused.value)


@pytest.mark.parametrize("interval", [None, (TEN, TEN)])
def test_a_backfill_of_a_schedule_without_intervals_is_refused_for_it_would_read_nothing(interval: Any) -> None:
    with pytest.raises(RunParamsError, match="give the DAG a schedule with intervals"):
        run("backfill", interval=interval)


def test_a_backfill_of_what_has_not_ended_is_refused() -> None:
    with pytest.raises(RunParamsError, match="give 2026-11-21T12:00:00Z at the latest"):
        run("backfill", interval=(ELEVEN, NOON + timedelta(minutes=1)))


# -- the form ----------------------------------------------------------------------------------------------


def test_the_params_and_their_defaults_are_exactly_these() -> None:
    assert DAG("any", params=run_params()).params.dump() == UNASKED


@pytest.mark.parametrize("name", UNASKED)
def test_the_form_names_and_explains_each_param(name: str) -> None:
    param = run_params()[name]

    assert param.schema["title"]
    assert param.schema["description_md"]
    assert param.description is None, "Airflow's form would show it instead of the Markdown"


def test_the_form_offers_the_modes_and_explains_each() -> None:
    mode = run_params()["mode"]

    assert mode.schema["enum"] == list(MODES)
    assert all(f"**{name}**" in mode.schema["description_md"] for name in MODES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "catchup"),
        ("mode", None),
        ("from", 1_763_719_200),
        ("to", True),
        ("max_records", 0),
        ("max_records", 1.5),
        ("max_records", "many"),
        ("max_records", True),
    ],
)
def test_airflow_refuses_other_types_before_there_is_a_run(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        run_params()[name].resolve(value)


@pytest.mark.parametrize("name", ["from", "to", "max_records"])
def test_what_is_cleared_in_the_form_is_not_asked_for(name: str) -> None:
    assert run_params()[name].resolve(None) is None
