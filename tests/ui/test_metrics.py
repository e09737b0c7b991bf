"""What Prometheus pulls, and the command for alerts: against the ledger as plain SQL has it."""

from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from starlette.testclient import TestClient
from typer.testing import CliRunner

from fix_pipeline import T0, Message, World, sale
from fix_stack import Stack
from fix_ui import OpenUi, Person
from microbatch import cli
from microbatch.maintaining import maintain
from microbatch.metrics import PULLED
from microbatch.runs import Run

METRICS: Final = "/microbatch/metrics"
Scrape = dict[tuple[str, ...], float]


def scrape(client: TestClient) -> Scrape:
    """By the metric's name and the values of its labels, these by their names."""
    answer = client.get(METRICS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def number(world: World, query: str) -> float:
    ((value,),) = world.rows(query)
    return float(value)


def of_the_last_minute(number: int) -> Run:
    """A scheduled run that has just become due."""
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    return Run("sales", f"run {number}", interval=(end - timedelta(minutes=1), end))


def test_each_metric_is_what_the_ledger_has(world: World, open_ui: OpenUi) -> None:
    # The last one came a minute after its window had ended.
    late = Message(sale(), partition=1, at_s=T0 + 120)
    world.send(sale(), sale(), b"no sale", Message(sale("bob"), partition=1), late)
    world.run()
    world.send(sale("eve"))

    found = scrape(open_ui(world.connections))

    source = world.pipeline.source.name
    assert found["microbatch_covered_offsets_total", "sales"] == 5
    assert found["microbatch_lag_offsets", "0", "sales", source] == 0, "as the last look saw it"
    assert found["microbatch_gap_offsets", "sales"] == 0
    assert found["microbatch_outbox_segments", "sales"] == 0
    assert found["microbatch_messages_last_hour", "sales"] == 5
    assert found["microbatch_rejected_last_hour", "sales"] == 1
    assert found["microbatch_late_last_hour", "sales"] == 1
    ((reason,),) = world.rows("select reason from microbatch.reject")
    assert found["microbatch_rejects_last_hour", "sales", reason] == 1
    assert found["microbatch_publications_total", "sales"] == number(world, "select cursor from microbatch.publisher")
    assert found["microbatch_complete_until_timestamp_seconds", "sales"] == T0 + 60
    for name, query in {
        "looked_at_timestamp_seconds": "select min(looked_at) from microbatch.lag",
        "last_batch_timestamp_seconds": "select max(committed_at) from microbatch.batch",
    }.items():
        moment = f"select extract(epoch from ({query}))"
        assert found[f"microbatch_{name}", "sales"] == pytest.approx(number(world, moment), abs=1e-3)
    seconds = number(world, "select seconds from microbatch.batch_history order by batch_id desc limit 1")
    assert found["microbatch_last_batch_seconds", "sales"] == pytest.approx(seconds)
    states = {key[2]: value for key, value in found.items() if key[0] == "microbatch_state"}
    assert states == {"healthy": 0, "behind": 1, "stopped": 0, "new": 0}, "what it has closed is of another day"
    assert {key[0] for key in found} == {metric.name for metric in PULLED}


def test_gaps_and_what_waits_for_kafka_are_seen(world: World, open_ui: OpenUi) -> None:
    world.send(sale(), sale(), sale())
    world.run()
    with psycopg.connect(world.connections.postgres) as connection:
        # As if the second message had been stepped over, and nothing had been sent.
        connection.execute("update microbatch.offset_range set offsets = int8range(2, 3)")
        connection.execute("update microbatch.partition_progress set covered_until = 1 where partition = 0")
        connection.execute(
            "insert into microbatch.outbox_segment (pipeline_id, merge_id, messages, payload)"
            " select pipeline_id, merge_id, 1, '' from microbatch.merge"
        )

    found = scrape(open_ui(world.connections))

    assert found["microbatch_gap_offsets", "sales"] == 1
    assert found["microbatch_lag_offsets", "0", "sales", world.pipeline.source.name] == 2
    assert found["microbatch_outbox_segments", "sales"] == 1


def test_counters_stay_when_batches_are_redone_and_folded(world: World, open_ui: OpenUi) -> None:
    world.send(sale(), sale(), b"no sale")
    world.run(run_id="first")
    world.send(sale("bob", at=T0 + 60))
    world.run(minute=1)
    client = open_ui(world.connections)
    counters = ("microbatch_covered_offsets_total", "sales"), ("microbatch_publications_total", "sales")
    before = scrape(client)

    world.run_as(Run("sales", "first", clear_number=1))
    maintain(world.pipeline.name, world.connections, datetime.now(UTC) + timedelta(days=200))

    after = scrape(client)
    assert world.rows("select kind from microbatch.batch") == [("archive",)]
    assert [after[name] >= before[name] for name in counters] == [True, True]
    assert after["microbatch_covered_offsets_total", "sales"] == 4


def test_reasons_beyond_the_most_frequent_are_counted_together(world: World, open_ui: OpenUi) -> None:
    world.send(sale(), b"no sale")
    world.run()
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("delete from microbatch.reject")
        # 25 reasons: of reason n there are n rejects.
        connection.execute(
            'insert into microbatch.reject (pipeline_id, topic_id, partition, "offset", batch_id, reason)'
            " select pipeline_id, topic_id, n, i, batch_id, 'reason ' || n"
            " from microbatch.offset_range, generate_series(1, 25) as n, generate_series(1, n) as i"
        )

    found = scrape(open_ui(world.connections))

    reasons = {key[2]: value for key, value in found.items() if key[0] == "microbatch_rejects_last_hour"}
    assert reasons == {f"reason {n}": n for n in range(6, 26)} | {"other": 1 + 2 + 3 + 4 + 5}


def test_who_may_not_see_a_dag_gets_nothing_of_its_pipeline(world: World, open_ui: OpenUi) -> None:
    world.send(sale())
    world.run()

    assert scrape(open_ui(world.connections, Person(dags=frozenset({"orders"})))) == {}
    assert open_ui(world.connections, None).get(METRICS).status_code == 401


def test_the_command_for_alerts_says_what_the_metric_says(
    world: World, open_ui: OpenUi, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = conninfo_to_dict(world.connections.postgres)["dbname"]
    monkeypatch.setenv("POSTGRES_DSN", make_conninfo(stack.reader_dsn, dbname=database))
    client = open_ui(world.connections)
    world.send(sale())
    world.run_as(of_the_last_minute(1))

    well = CliRunner().invoke(cli.app, ["freshness", "--check"])
    assert (well.output, well.exit_code) == ("", 0)
    assert scrape(client)["microbatch_state", "sales", "healthy"] == 1

    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("update microbatch.partition_progress set looked_at = '2026-11-22 06:41Z'")
    ill = CliRunner().invoke(cli.app, ["freshness", "--check", "sales"])
    assert ill.exit_code == 1
    assert ill.output.startswith("sales: stopped: no run has looked at the source since 2026-11-22 06:41:00 UTC. See ")
    assert ill.output.count("\n") == 1
    assert scrape(client)["microbatch_state", "sales", "stopped"] == 1
