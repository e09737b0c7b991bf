"""Watching pipelines: answers of the ledger and of Kafka, through the command line as people use it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner, Result

from fix_pipeline import Message, World, sale
from fix_stack import Stack
from microbatch import KafkaTopic, Pairs, PostgresTable, Stream, cli
from microbatch.cli_data import ask
from microbatch.errors import NotRegisteredError
from microbatch.watching import Questions
from outside import open_transaction, sink, with_output

MakeWorld = Callable[..., World]


@pytest.fixture(autouse=True)
def reader(stack: Stack, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command line finds the servers, and this database by the role that only reads."""
    database = conninfo_to_dict(warehouse)["dbname"]
    dsn = make_conninfo(stack.reader_dsn, dbname=database)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("POSTGRES_DSN", dsn)
    monkeypatch.setenv("POSTGRES_OWNER_DSN", warehouse)
    monkeypatch.setenv("COLUMNS", "80")
    return dsn


@pytest.fixture
def seen(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that the command line looks at."""
    return look_at(world, monkeypatch)


def look_at(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)
    return world


def microbatch(*command: str) -> Result:
    return CliRunner().invoke(cli.app, list(command))


def output(*command: str) -> str:
    result = microbatch(*command)
    assert result.exit_code == 0, result.output + result.stderr
    return result.output


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in it, less their headers."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]


# -- nothing, and names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["lag", "gaps", "freshness"])
def test_with_nothing_registered_it_says_so(seen: World, command: str) -> None:
    assert f"No pipeline is registered in deployment '{seen.connections.deployment}' yet" in output(command)


@pytest.mark.parametrize("command", [["lag"], ["gaps"], ["freshness"], ["watch", "--once"]], ids=" ".join)
def test_an_unknown_name_is_answered_with_those_that_exist(seen: World, command: list[str]) -> None:
    seen.run()

    result = microbatch(*command, "purchases")

    assert result.exit_code == 1
    assert result.stderr.startswith("microbatch: no pipeline 'purchases' is registered in deployment")
    assert "registered there: sales." in result.stderr
    assert result.stderr.count("\n") == 1


def test_pipelines_of_another_deployment_are_not_shown(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen.run()
    monkeypatch.setenv("MICROBATCH_DEPLOYMENT", "another")

    assert "No pipeline is registered" in output("lag")
    with ask({"POSTGRES_DSN": seen.connections.postgres}) as connection, pytest.raises(NotRegisteredError):
        Questions(connection, "another").registered("sales")


# -- lag, gaps, freshness ----------------------------------------------------------------------------------


def test_lag_shows_what_came_since_the_last_run(seen: World) -> None:
    seen.send(sale(), sale(), Message(sale(), partition=1))
    seen.run()
    seen.send(sale(), sale(), sale())

    rows = cells(output("lag", "sales"))

    topic = seen.pipeline.source.name
    assert [row[:6] for row in rows] == [
        ["sales", f"{topic}[0]", "2", "5", "5", "3"],
        ["sales", f"{topic}[1]", "1", "1", "1", "0"],
    ]


def test_lag_shows_an_open_transaction_and_a_new_partition(seen: World) -> None:
    seen.run()
    producer = open_transaction(seen, Message(sale()))
    topic = seen.pipeline.source.name
    admin = AdminClient({"bootstrap.servers": seen.connections.bootstrap})
    for future in admin.create_partitions([NewPartitions(topic, 3)]).values():
        future.result(60)

    text = output("lag")
    producer.abort_transaction(10)

    assert f"{topic}[0]: another producer's transaction is open at offset 0." in text
    assert [row[2:6] for row in cells(text)] == [["0", "0", "1", "1"], ["0", "0", "0", "0"], ["-", "0", "0", "0"]]


def test_gaps_are_shown_until_a_run_reads_them(seen: World) -> None:
    seen.send(*[sale()] * 5)
    seen.run()
    assert output("gaps") == "No gaps: sales.\n"
    with psycopg.connect(seen.connections.postgres) as connection:
        connection.execute("update microbatch.offset_range set offsets = '[3, 5)' where partition = 0")
        connection.execute("update microbatch.partition_progress set covered_until = 0 where partition = 0")

    assert cells(output("gaps")) == [["sales", f"{seen.pipeline.source.name}[0]", "0..2", "3"]]


def test_freshness_shows_until_when_and_the_last_error(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = look_at(make_world(max_rejected=0.1), monkeypatch)
    world.send(sale())
    world.run(0)
    world.send(*[b"[b]junk"] * 100)
    with pytest.raises(Exception, match="were rejected"):
        world.run(1)

    text = output("freshness", "sales")

    (row,) = cells(text)
    assert (row[0], row[1], row[2][-8:], row[-1]) == ("sales", "-", "10:01:00", "1")
    assert ", 1 since the last batch:\nTooManyRejectedError: pipeline 'sales': 100 of 100 messages" in text


# -- watch -------------------------------------------------------------------------------------------------


def test_watch_shows_results_lag_and_batches_in_80_columns(seen: World) -> None:
    seen.send(sale("ada", 3), sale("[b]bob[/b]", 4), b"junk")
    seen.run()

    text = output("watch", "sales", "--once")

    rows = cells(text)
    assert max(map(len, text.splitlines())) <= 80
    assert [row[-5:] for row in rows if "ada" in row] == [["ada", "1", "True", "3", "1"]]
    assert [row[-5:] for row in rows if "[b]bob[/b]" in row] == [["[b]bob[/b]", "1", "True", "4", "1"]]
    assert [row[2:6] for row in rows if row[0] == "1"] == [["3", "1", "0", "0"]]
    assert "complete until" in text


def test_watch_before_the_first_window_has_closed_says_so(seen: World) -> None:
    seen.send(sale())
    seen.run(-1)

    assert "none yet" in output("watch", "sales", "--once")


def test_watch_shows_streams_and_pairs(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    outputs = [
        Stream(columns={"seller": "upper(seller_id)"}, to=[PostgresTable("some rows")]),
        Pairs("amount_usd", sum=12, to=[sink(world, "pairs")]),
    ]
    world = look_at(world.replace(outputs=outputs), monkeypatch)
    world.send(*(Message(sale(f"s{n}", 5 + 2 * (n % 2)), partition=n % 2) for n in range(20)))
    world.run()

    text = output("watch", "sales", "--once")

    assert "some rows, the newest rows" in text
    assert sum(row[-1] in {f"S{n}" for n in range(20)} for row in cells(text)) == 8
    assert f"topic {world.pipeline.source.name}-pairs, the newest rows" in text


def test_watch_of_an_output_without_a_table(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = KafkaTopic(f"{seen.pipeline.source.name}-only", partitions=2)
    world = look_at(with_output(seen, to=[topic]), monkeypatch)
    world.send(sale("ada", 3))
    world.run()

    assert [row[1] for row in cells(output("watch", "sales", "--once")) if "10:00:00" in row[0]] == ["ada"]


def test_watch_goes_on_until_ctrl_c(seen: World) -> None:
    seen.send(sale("ada", 3))
    seen.run()
    terminal, inner = pty.openpty()
    command = [str(Path(sys.executable).with_name("microbatch")), "watch", "sales"]
    watching = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)

    screens = b""
    while screens.count(b"newest rows") < 2:
        screens += os.read(terminal, 65536)
    watching.send_signal(signal.SIGINT)

    assert watching.wait(120) == 0
    assert b"Traceback" not in os.read(terminal, 65536)
    os.close(terminal)


# -- sql, send ---------------------------------------------------------------------------------------------


def test_sql_shows_what_python_has_no_value_for(seen: World) -> None:
    seen.run()

    assert "-infinity" in output("sql", "select complete_from from microbatch.freshness")


def test_the_reading_role_only_reads(seen: World) -> None:
    seen.run()

    result = microbatch("sql", "delete from microbatch.batch")

    assert result.exit_code == 1
    assert result.stderr.startswith("microbatch: PostgreSQL refuses it: ")


def test_send_makes_a_topic_of_lines(seen: World) -> None:
    topic = f"{seen.pipeline.source.name}-by-hand"

    result = CliRunner().invoke(cli.app, ["send", topic], input="one\n\ntwo\r\n")

    assert result.output == f"2 messages sent to {topic}\n"
    assert sorted(line.split("  ")[-1] for line in output("consume", topic).splitlines()) == ["one", "two"]


def test_send_to_a_name_that_kafka_refuses_is_one_line(seen: World) -> None:
    result = CliRunner().invoke(cli.app, ["send", "no topic"], input="one\n")

    assert result.exit_code == 1
    assert result.stderr.startswith("microbatch: topic 'no topic' could not be created")
    assert result.stderr.count("\n") == 1
