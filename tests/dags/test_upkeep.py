"""The DAGs that work at night, and the daily report, run on real Kafka and PostgreSQL."""

import os
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import DAG, CronTriggerTimetable

from fix_airflow import RunDag, states
from fix_dags import sell
from microbatch.airflow_upkeep import as_maintenance_dag, delete_logs

MINUTE = timedelta(minutes=1)
AN_HOUR_AGO = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
NIGHTLY = CronTriggerTimetable("40 2 * * *", timezone="UTC")
SAY = "import sys; print('asked for', *sys.argv[1:])"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the daily reports; the setting is read when DAG files are loaded: ask for it before `dags`."""
    monkeypatch.setenv("REPORTS_FOLDER", str(tmp_path / "reports"))
    return tmp_path / "reports"


# -- gaps --------------------------------------------------------------------------------------------------


def test_without_gaps_no_dag_is_run(topics: str, run_as: RunDag, dags: dict[str, DAG]) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    run_as(dags["sales"])

    assert states(run_as(dags["fill_gaps"])) == {"find": "success", "fill": "skipped"}


def test_a_paused_dag_with_a_gap_is_not_run_and_that_is_said(
    topics: str,
    run_as: RunDag,
    dags: dict[str, DAG],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Airflow has the DAGs of a test paused, and nobody would run what is triggered."""
    sell(topics, *(("ada", n, AN_HOUR_AGO + n * MINUTE) for n in range(2)))
    run_as(dags["sales"], (AN_HOUR_AGO + MINUTE, AN_HOUR_AGO + 2 * MINUTE), run_type="backfill")
    fill: Any = dags["fill_gaps"].get_task("fill")
    fill.partial_kwargs["retries"] = 0

    assert states(run_as(dags["fill_gaps"])) == {"find": "success", "fill_0": "failed"}

    assert "sales has gaps: to be run with {'mode': 'catch up'}" in caplog.text
    assert "Dag sales is paused" in capfd.readouterr().out


# -- maintenance -------------------------------------------------------------------------------------------


def test_each_registered_pipeline_is_maintained_and_airflow_is_cleaned_by_the_command_that_can(
    topics: str, run_as: RunDag, dags: dict[str, DAG], caplog: pytest.LogCaptureFixture
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    run_as(dags["sales"])
    command = shlex.join([sys.executable, "-c", SAY])
    # Shorter than batches are kept, which is 90 days: that counts.
    dag = as_maintenance_dag(NIGHTLY, keep_runs=timedelta(days=1), airflow_command=command)

    run = run_as(dag)

    assert states(run) == {"pipelines": "success", "maintain_0": "success", "clean_airflow": "success"}
    assert "sales: 0 batches folded into 0 archives" in caplog.text
    day = f"{datetime.now(UTC) - timedelta(days=90):%Y-%m-%d}"
    assert f"asked for db clean --clean-before-timestamp {day}T" in caplog.text


@pytest.mark.parametrize(("dag_ids", "deleted"), [(None, 2), ({"a"}, 1), ({"c"}, 0)])
def test_old_logs_of_tasks_are_deleted_and_others_stay(tmp_path: Path, dag_ids: set[str] | None, deleted: int) -> None:
    now = datetime.now(UTC)
    old = ["dag_id=a/run_id=1/t/1.log", "dag_id=b/run_id=1/t/1.log"]
    kept = ["dag_id=a/run_id=2/t/1.log", "scheduler/1.log"]
    for name, age in ((old[0], 9), (old[1], 9), (kept[0], 1), (kept[1], 9)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
        written_s = (now - timedelta(days=age)).timestamp()
        os.utime(tmp_path / name, (written_s, written_s))

    assert delete_logs(tmp_path, now - timedelta(days=2), dag_ids) == deleted

    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.log"))
    assert left == sorted([*old[deleted:], *kept])


def test_without_a_command_only_our_own_dags_lose_their_logs(
    topics: str,
    run_as: RunDag,
    dags: dict[str, DAG],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO))
    run_as(dags["sales"])
    logs = [tmp_path / f"dag_id={dag_id}" / "run_id=1" / "1.log" for dag_id in ("sales", "maintenance", "payroll")]
    for file in logs:
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (0, 0))

    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    run_as(as_maintenance_dag(NIGHTLY, keep_runs=timedelta(days=1), airflow_command=""))

    assert "2 logs of tasks from before" in caplog.text
    assert [file.exists() for file in logs] == [False, False, True]


# -- the daily report --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["of a partition", "by hand"])
def test_the_report_of_a_day_is_a_table_and_a_picture(
    reports: Path, topics: str, run_as: RunDag, dags: dict[str, DAG], way: str
) -> None:
    sell(topics, ("ada", 3, AN_HOUR_AGO), ("bob", 5, AN_HOUR_AGO), ("ada", 4, AN_HOUR_AGO))
    run_as(dags["sales"])
    day = f"{AN_HOUR_AGO:%Y-%m-%d}"
    facts = (
        {"run_type": "asset_triggered", "partition_key": day}
        if way == "of a partition"
        else {"run_type": "manual", "conf": {"day": day}}
    )

    assert states(run_as(dags["daily_report"], **facts)) == {"report": "success"}

    table = pd.read_parquet(reports / f"{day}.parquet")
    assert [tuple(row) for row in table.itertuples(index=False)] == [("ada", 2, 7, 3.5), ("bob", 1, 5, 5.0)]
    assert (reports / f"{day}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(reports.iterdir())) == 2, "nothing unfinished is left"


def test_a_report_of_no_day_says_what_to_give(
    reports: Path, run_as: RunDag, dags: dict[str, DAG], caplog: pytest.LogCaptureFixture
) -> None:
    assert states(run_as(dags["daily_report"], run_type="manual")) == {"report": "failed"}

    assert "day of the run is None; give a day such as 2026-11-21" in caplog.text
