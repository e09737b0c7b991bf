"""The list of pipelines and the page of one: what the ledger says of them, to those who may see them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from fix_late import begin_late
from fix_pipeline import T0, Message, World, sale
from fix_ui import OpenUi, Person
from microbatch import Pairs, PostgresTable, Stream, TumblingWindow
from microbatch.consume import consume
from microbatch.errors import CursorUnexplainedError, TooManyRejectedError
from modes import of_interval, reprocess, work
from outside import sink

MakeWorld = Callable[..., World]


def ask(client: TestClient, path: str = "", **params: Any) -> Any:
    answer = client.get(f"/microbatch/api/pipelines{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def seconds(minutes: float) -> int:
    """Of that many minutes after T0, since 1970."""
    return int(T0 + 60 * minutes)


def card(world: World, open_ui: OpenUi, person: Person = Person()) -> dict[str, Any]:  # noqa: B008 - frozen
    (found,) = ask(open_ui(world.connections, person))
    return dict(found)


@pytest.fixture
def paused() -> Iterator[None]:
    """Airflow knows a DAG `sales`, which is paused."""
    from airflow.models.dag import DagModel  # noqa: PLC0415
    from airflow.models.dagbundle import DagBundleModel  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415

    with create_session() as session:
        session.merge(DagBundleModel(name="ui"))
        session.flush()
        facts = {"dag_id": "sales", "bundle_name": "ui", "is_paused": True, "description": "What was sold."}
        session.merge(DagModel(**facts))  # type: ignore[no-untyped-call]
    yield
    with create_session() as session:
        session.delete(session.get(DagModel, "sales"))


# -- the list ----------------------------------------------------------------------------------------------


def test_a_pipeline_that_has_caught_up_is_healthy(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3), sale("bob", 4), b"junk", sale("ada", 5))
    world.run(None)

    found = card(world, open_ui)

    ((complete_until,),) = world.rows(
        "select to_char(closed_until, 'YYYY-MM-DD\"T\"HH24:MI:SS') from microbatch.pipeline"
    )
    assert found.pop("complete_until").startswith(complete_until)
    assert 0 < found.pop("delay_s") < 60
    assert found == {
        "name": "sales",
        "dag_id": "sales",
        "description": None,
        "is_paused": None,
        "source_topic": world.pipeline.source.name,
        "state": "healthy",
        "reason": None,
        "remedy": None,
        "lag": 0,
        "messages_per_minute": 4.0,
        "rejects_per_minute": 1.0,
        "corrections": 0,
        "sparkline": found["sparkline"],
        "may_trigger": True,
    }


def test_nobody_hears_of_pipelines_that_are_not_theirs(world: World, open_ui: OpenUi) -> None:
    world.send(sale())
    world.run(None)
    client = open_ui(world.connections, Person(dags=frozenset({"other"})))

    assert ask(client) == []
    for path in (
        "",
        "/results/aggregated_sales/series",
        "/results/aggregated_sales/rows",
        "/batches",
        "/late",
        "/rejects",
    ):
        answer = client.get(f"/microbatch/api/pipelines/sales{path}")
        assert answer.status_code == 404
        assert "no pipeline 'sales' that you may see" in answer.json()["detail"]
    assert card(world, open_ui, Person(may_trigger=False))["may_trigger"] is False


def test_a_pipeline_without_messages_is_new(world: World, open_ui: OpenUi) -> None:
    world.run(None)

    assert card(world, open_ui)["state"] == "new"


def test_what_a_run_has_left_is_behind(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(partitions=1, max_records=2, run_budget=timedelta(microseconds=1))
    world.send(*[sale()] * 5)
    world.run(None)

    found = card(world, open_ui)

    assert (found["state"], found["lag"]) == ("behind", 3)
    assert found["reason"].startswith("3 offsets ")


def test_a_failed_batch_stops_a_pipeline_until_a_run_succeeds(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(max_rejected=0.1)
    world.send(sale())
    world.run(None)
    world.send(*[b"junk"] * 100)
    with pytest.raises(TooManyRejectedError):
        world.run(None, "bad")

    stopped = card(world, open_ui)
    failed = ask(open_ui(world.connections), "/sales")["last_failures"]
    world.replace(max_rejected=1.0).run(None)

    assert stopped["state"] == "stopped"
    assert stopped["reason"].startswith("pipeline 'sales': 100 of 100 messages in [0] ")
    assert stopped["remedy"].endswith("`microbatch accept-rejects sales`")
    assert [(row["dag_id"], row["run_id"], row["map_index"]) for row in failed] == [("sales", "bad", 0)]
    assert failed[0]["error"].startswith("TooManyRejectedError: pipeline 'sales': 100 of 100 ")
    assert card(world, open_ui)["state"] == "healthy"


def test_a_failure_that_a_retry_has_made_good_stops_nothing(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(shards=2, max_rejected=0.1)
    world.send(Message(sale(), 1), *[Message(b"junk", 0)] * 100)
    run = world.run_of(None, "retried")
    consume(world.pipeline, 1, run, world.connections)
    with pytest.raises(TooManyRejectedError):
        consume(world.pipeline, 0, run, world.connections)
    failing = card(world, open_ui)["state"]

    world.replace(max_rejected=1.0).run_as(run)

    # Nobody has looked at the other shard's partition since.
    assert (failing, card(world, open_ui)["state"]) == ("stopped", "healthy")


def test_messages_that_do_not_reach_kafka_are_behind(world: World, open_ui: OpenUi) -> None:
    world.send(sale())
    world.run(None)
    world.send(sale())
    with psycopg.connect(world.connections.postgres, autocommit=True) as connection:
        connection.execute("update microbatch.publisher set cursor = 0")
        with pytest.raises(CursorUnexplainedError):
            world.run(None)
        first = card(world, open_ui)["state"]
        connection.execute("update microbatch.merge set merged_at = merged_at - interval '1 hour'")

    found = card(world, open_ui)

    assert (first, found["state"]) == ("healthy", "behind")
    assert found["reason"].endswith("has not reached Kafka")


def test_a_paused_dag_stops_a_pipeline(world: World, open_ui: OpenUi, paused: None) -> None:
    world.send(sale())
    world.run(None)

    found = card(world, open_ui)

    assert (found["state"], found["remedy"]) == ("stopped", "Unpause the DAG 'sales'")
    assert (found["is_paused"], found["description"]) == (True, "What was sold.")


def test_corrections_of_the_hour_are_counted(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = begin_late(make_world(partitions=3))
    world.run(1)

    expected = world.rows("select count(*) from aggregated_sales_history where revision = 2")
    assert [(card(world, open_ui)["corrections"],)] == expected == [(2,)]


def test_the_small_chart_has_the_closed_windows(world: World, open_ui: OpenUi) -> None:
    world.send(
        sale("ada", 3, seconds(0)), sale("bob", 4, seconds(0)), sale("ada", 5, seconds(2)), sale("ada", 6, seconds(5))
    )
    world.run(3)

    assert card(world, open_ui)["sparkline"] == {
        "label": "amount_usd of aggregated_sales, windows of 1 minute",
        "values": [7.0, None, 5.0, None],
    }


def test_of_many_keys_the_small_chart_has_the_messages(world: World, open_ui: OpenUi) -> None:
    world.send(*(sale(f"s{number}") for number in range(1001)))
    world.run()

    found = card(world, open_ui)["sparkline"]

    assert found["label"] == "messages read a minute"
    assert (len(found["values"]), sum(found["values"])) == (60, 1001)


# -- one pipeline ------------------------------------------------------------------------------------------


def test_a_pipeline_has_its_outputs_and_its_flow(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world()
    window = world.pipeline.windows[0]
    by_day = TumblingWindow("1 day", [], window.measures, [sink(world, "days")], timezone="Europe/Berlin")
    outputs = [Stream(to=[PostgresTable("rows")]), Pairs("amount_usd", 12, [PostgresTable("twelves")]), window, by_day]
    world = world.replace(outputs=outputs)
    world.send(sale())
    world.run()

    found = ask(open_ui(world.connections), "/sales")

    topic = f"{world.pipeline.source.name}-days"
    assert [(each["kind"], each["schema"], each["table"], each["topic"]) for each in found["outputs"]] == [
        ("stream", "public", "rows", None),
        ("pairs", "public", "twelves", None),
        ("tumbling_window", "public", "aggregated_sales", window.topic.name if window.topic else ""),
        ("tumbling_window", "microbatch_topic", topic, topic),
    ]
    assert found["outputs"][2] | {"by": [["seller_id", "text"]], "size_s": 60, "timezone": "UTC"} == found["outputs"][2]
    assert found["outputs"][3]["measures"] == ["amount_usd", "sales"]
    assert {node["kind"] for node in found["flow"]["nodes"]} == {
        *("topic", "event", "stream", "window", "pairs", "table", "dead_letters")
    }
    assert found["deadletters_topic"] == world.pipeline.dead_letter_topic.name


def test_partitions_and_gaps_are_those_of_the_views(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(start="latest")
    world.send(*(Message(sale(), at_s=seconds(second / 60)) for second in range(10)))
    world.run(None)
    work(world, of_interval(0, 3, "one"))
    work(world, of_interval(6, 10, "another"))

    found = ask(open_ui(world.connections), "/sales")

    assert found["gaps"] == [{"partition": 0, "start_offset": 3, "end_offset": 6}]
    assert [tuple(row.values()) for row in found["partitions"]] == world.rows(
        "select partition, covered_until, looked_at_end, behind from microbatch.lag order by partition"
    )


# -- batches -----------------------------------------------------------------------------------------------


def test_batches_come_page_by_page(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(partitions=1, max_records=1)
    world.send(*[sale()] * 51, b"junk")
    world.run(0, "many")
    client = open_ui(world.connections)

    first = ask(client, "/sales/batches")
    second = ask(client, "/sales/batches", before=first["next"])

    assert (len(first["batches"]), len(second["batches"]), second["next"]) == (50, 2, None)
    found = first["batches"] + second["batches"]
    assert [row["ranges"] for row in found] == [[{"partition": 0, "start": n, "end": n + 1}] for n in range(51, -1, -1)]
    assert {(row["dag_id"], row["run_id"], row["map_index"], row["kind"]) for row in found} == {
        ("sales", "many", 0, "catch up")
    }
    assert [row["batch_id"] for row in found if row["rejected"]] == [first["batches"][0]["batch_id"]]


def test_a_batch_says_which_shard_has_read_it_and_who_has_redone_it(make_world: MakeWorld, open_ui: OpenUi) -> None:
    world = make_world(shards=2)
    world.send(Message(sale(), 0), Message(sale(), 1))
    world.run(0, "first")
    work(world, reprocess(0, 60, "again"))

    found = ask(open_ui(world.connections), "/sales/batches")["batches"]

    assert sorted((row["map_index"], row["ranges"][0]["partition"], row["redo_run_id"]) for row in found) == [
        (0, 0, "again"),
        (1, 1, "again"),
    ]
    assert all(row["redone_at"] > row["committed_at"] for row in found)


# -- late, rejects -----------------------------------------------------------------------------------------


def test_late_windows_say_how_late_and_what_was_corrected(world: World, open_ui: OpenUi) -> None:
    world.send(sale("ada", 3), sale("bob", 1))
    world.run(0)
    world.send(Message(sale("ada", 4), at_s=seconds(1.5)), Message(sale("ada", 4), at_s=seconds(1.25)), sale("bob", 2))
    world.run(1)

    found = ask(open_ui(world.connections), "/sales/late")

    facts = {"table": "aggregated_sales", "messages": 2, "lateness_s": 30.0}
    assert found["windows"] == [facts | {"window_start": "2026-11-21T10:00:00Z", "corrections": 2}]
    assert found["days"] == [facts | {"day": "2026-11-21", "windows": 1}]


def test_rejects_are_counted_by_their_reason(world: World, open_ui: OpenUi) -> None:
    world.send(sale(), b"junk", Message(b"junk", 1), b"{}")
    world.run(0)

    found = ask(open_ui(world.connections), "/sales/rejects")

    reasons = world.rows("select reason, count(*) from microbatch.reject group by 1 order by 2 desc")
    assert [(row["reason"], row["count"]) for row in found["reasons"]] == reasons
    assert [count for _, count in reasons] == [2, 1]
    places = [(row["partition"], row["offset"]) for row in found["samples"]]
    assert places == [(0, 1), (0, 2), (1, 0)]


def test_what_a_redo_has_accepted_is_no_reject(world: World, open_ui: OpenUi) -> None:
    world.send(sale(), b"junk")
    world.run(0)
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("update microbatch.reject set resolved = true")

    assert ask(open_ui(world.connections), "/sales/rejects") == {"reasons": [], "samples": []}
