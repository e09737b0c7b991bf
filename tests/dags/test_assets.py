"""Asset events, as Airflow's database has them after runs on real Kafka and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from airflow.sdk import DAG

from fix_airflow import RunDag, states
from fix_dags import rows, sell
from microbatch.airflow_assets import announce

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# Three days ago, and the day after: whole days that are over.
FIRST, SECOND = TODAY - 3 * DAY, TODAY - 2 * DAY
SUCCESS = {"consume_0": "success", "publish": "success"}


def events(run: "DagRun") -> dict[str, list[Any]]:
    """The events of a run by asset: the partition keys, or what else they say if they have none."""
    from airflow.models.asset import AssetEvent  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    found: dict[str, list[Any]] = {}
    with create_session() as session:
        for event in session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)):
            found.setdefault(event.asset.name, []).append(event.partition_key or event.extra)
    return {name: sorted(told, key=str) for name, told in found.items()}


def days(run: "DagRun") -> list[str]:
    return events(run).get("day of aggregated_sales", [])


def key(day: datetime) -> str:
    return f"{day:%Y-%m-%d}"


@pytest.fixture
def catch_up(run_as: RunDag, dags: dict[str, DAG]) -> Any:
    """`catch_up()`: a run of the sales DAG that succeeds."""

    def run() -> "DagRun":
        made = run_as(dags["sales"])
        assert states(made) == SUCCESS
        return made

    return run


def test_a_run_that_publishes_nothing_leaves_no_event(topics: str, catch_up: Any) -> None:
    sell(topics, ("ada", 3, TODAY - timedelta(minutes=1)))
    catch_up()

    assert events(catch_up()) == {}


def test_a_run_tells_what_it_has_changed_and_which_days_are_final(topics: str, catch_up: Any) -> None:
    sell(topics, ("ada", 3, FIRST), ("bob", 4, FIRST), ("ada", 5, SECOND))

    told = events(catch_up())

    assert told["day of aggregated_sales"] == [key(FIRST), key(SECOND)]
    assert told["topic aggregated-sales"] == [{"messages": 3}]
    (table,) = told["table aggregated_sales"]
    assert (table["revisions"], table["corrections"]) == (3, 0)
    assert (table["since"], table["until"]) == (f"{key(FIRST)}T00:00:00Z", f"{key(SECOND)}T00:01:00Z")


def test_a_day_is_told_once_and_again_when_it_is_corrected(topics: str, catch_up: Any) -> None:
    sell(topics, ("ada", 3, FIRST), ("ada", 5, SECOND))
    catch_up()
    assert days(catch_up()) == []

    sell(topics, ("eve", 1, FIRST))

    assert days(catch_up()) == [key(FIRST)], "its key is new, and the day was final"


def test_a_day_without_any_result_is_final_too(topics: str, catch_up: Any, airflow_environment: str) -> None:
    sell(topics, ("ada", 3, FIRST))
    catch_up()
    with psycopg.connect(airflow_environment) as connection:
        # As if the last run had been two days ago.
        for table, column in (("pipeline", "closed_until"), ("partition_progress", "caught_up_to")):
            connection.execute(f"update microbatch.{table} set {column} = %s", [FIRST + DAY])

    told = [key(FIRST + n * DAY) for n in range(1, (TODAY - FIRST).days)]
    assert days(catch_up()) == told
    assert rows(airflow_environment, "select count(*) from aggregated_sales where is_final") == [(1,)]


def test_a_day_is_not_final_before_it_is_over(topics: str, catch_up: Any) -> None:
    sell(topics, ("ada", 3, TODAY))

    told = events(catch_up())

    assert "table aggregated_sales" in told
    assert "day of aggregated_sales" not in told


def test_days_that_were_told_by_a_task_that_was_killed_are_told_again(
    topics: str, catch_up: Any, monkeypatch: pytest.MonkeyPatch, run_as: RunDag, dags: dict[str, DAG]
) -> None:
    sell(topics, ("ada", 3, FIRST))

    def announce_and_die(*given: Any) -> None:
        announce(*given)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("microbatch.airflow.announce", announce_and_die)
        killed = run_as(dags["sales"])
    assert states(killed)["publish"] == "failed"
    assert events(killed) == {}

    assert days(catch_up()) == [key(FIRST)]
    assert days(catch_up()) == []


def test_days_that_airflow_has_heard_of_are_forgotten(topics: str, catch_up: Any, airflow_environment: str) -> None:
    sell(topics, ("ada", 3, FIRST))
    catch_up()
    assert rows(airflow_environment, "select day::text from microbatch.final_day where told is not null") == [
        (key(FIRST),)
    ]
    catch_up()

    assert rows(airflow_environment, "select count(*) from microbatch.final_day") == [(0,)]


def test_history_that_reaches_back_makes_its_days_final(topics: str, catch_up: Any, airflow_environment: str) -> None:
    """Days that were published before they were complete are told when they are."""
    sell(topics, ("ada", 3, FIRST), ("ada", 5, SECOND))
    with_later_start = "update microbatch.{} set complete_from = %s"
    catch_up()
    catch_up()
    with psycopg.connect(airflow_environment) as connection:
        for table in ("pipeline", "partition_progress"):
            connection.execute(with_later_start.format(table), [SECOND])
        connection.execute("update microbatch.partition_progress set complete_from = %s", [FIRST - DAY])

    assert days(catch_up()) == [key(FIRST - DAY), key(FIRST)]
