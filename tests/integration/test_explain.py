"""Explain: from a published number back to its revisions, their batches and offsets, and the messages themselves."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner, Result

from fix_late import begin_late
from fix_others import delete_messages
from fix_pipeline import T0, Message, World, sale
from fix_stack import Stack
from microbatch import Count, EpochSeconds, Event, Pipeline, Scale, Stream, Sum, TumblingWindow, cli, declared
from modes import reprocess, work
from outside import sink

MakeWorld = Callable[..., World]
Explain = Callable[..., Result]


class Priced(Event):
    """Something that is sold at a price."""

    name: str
    price: Annotated[Decimal, Scale(2)]
    at: EpochSeconds


def priced(name: str, price: str, at: int = T0) -> bytes:
    return json.dumps({"name": name, "price": price, "at": at}).encode()


@pytest.fixture
def explain(stack: Stack, warehouse: str, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """A function that runs `microbatch explain` over a world, by the role that only reads."""
    database = conninfo_to_dict(warehouse)["dbname"]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("POSTGRES_DSN", make_conninfo(stack.reader_dsn, dbname=database))
    monkeypatch.setenv("POSTGRES_OWNER_DSN", "")

    def run(world: World, *words: str) -> Result:
        def find(_: Path, __: str) -> Pipeline:
            return world.pipeline

        monkeypatch.setattr(declared, "find_pipeline", find)
        monkeypatch.setenv("MICROBATCH_DEPLOYMENT", world.connections.deployment)
        return CliRunner().invoke(cli.app, ["explain", *words])

    return run


def output(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output + result.stderr
    return result.output.splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    """The rows of the table in it, less its header; the lines of a cell with commas between them."""
    rows: list[list[str]] = []
    for line in lines:
        found = [cell.strip() for cell in line.strip("│").split("│")] if line[:1] == "│" else []
        if found and found[0]:
            rows.append(found)
        elif found:
            rows[-1] = [", ".join(filter(None, pair)) for pair in zip(rows[-1], found, strict=True)]
    return rows


def places(lines: list[str]) -> list[str]:
    """Of the messages that are listed: partition@offset."""
    return [line.split()[0] for line in lines if line.startswith("  ") and "@" in line.split()[0]]


@pytest.fixture
def late(make_world: MakeWorld, explain: Explain) -> World:
    """Ten o'clock's minute was final, and then corrected by two of three batches."""
    world = begin_late(make_world(partitions=3, max_records=5))
    world.run(1, "later")
    return world


# -- revisions and batches ---------------------------------------------------------------------------------


def test_a_correction_shows_which_batches_and_runs_made_the_difference(late: World, explain: Explain) -> None:
    lines = output(explain(late, "aggregated_sales", "ada", "--window", "2026-11-21T10:00:59.9"))

    assert lines[:2] == [
        "aggregated_sales of pipeline sales",
        "window 2026-11-21 10:00:00 to 10:01:00 UTC, seller_id ada",
    ]
    assert [line.partition("; from")[0] for line in lines if line.startswith("revision")] == [
        "revision 1: final",
        "revision 2: final, a correction",
    ]
    summed = late.rows(
        "select revision, batches from aggregated_sales_history where seller_id = 'ada'"
        " and window_start = '2026-11-21 10:00Z' order by 1"
    )
    first, second = (batches for _, batches in summed)
    new = [number for number in second if number not in first]
    assert "  amount_usd 7, sales 2" in lines
    assert "  amount_usd 37, sales 4" in lines
    assert f"  sums {len(second)} batches; new: {', '.join(map(str, new))}" in lines
    assert lines.count("  merged by run later of sales") == 1
    rows = cells(lines)
    assert [row[:2] for row in rows] == [[str(number), "1 to 2" if number in first else "2"] for number in second]
    assert next(row[2] for row in rows) == "amount_usd 7, amount_usd__count 2, sales 2"
    assert [row[4].partition(", at ")[0] for row in rows] == [
        "first, of sales",
        *["later, of sales"] * len(new),
    ]
    assert rows[0][3] == "[0] 0..1, [1] 0..1, [2] 0..0"


def test_messages_are_exactly_those_of_window_and_key(late: World, explain: Explain) -> None:
    lines = output(explain(late, "public.aggregated_sales", "ada", "--window", "2026-11-21T11:00+01:00", "--messages"))

    assert sorted(places(lines)) == ["0@0", "0@2", "2@0", "2@4"]
    verdicts = [line for line in lines if line.startswith("  ") and " give" in line]
    assert verdicts[0] == "  2 messages give amount_usd 7, amount_usd__count 2, sales 2: what the batch contributes"
    assert len(verdicts) == 3
    assert all(line.endswith(": what the batch contributes") for line in verdicts)
    assert any('key=-  {"seller_id": "ada", "amount_usd": 20' in line for line in lines)


def test_what_retention_has_deleted_is_said(late: World, explain: Explain) -> None:
    delete_messages(late, 0, below=2)

    lines = output(explain(late, "aggregated_sales", "ada", "--window", "2026-11-21T10:00", "--messages"))

    assert sorted(places(lines)) == ["0@2", "2@0", "2@4"]
    assert f"  {late.pipeline.source.name}[0] 0..1: deleted since, retention does not keep them" in lines
    assert any(
        line == "  1 message gives amount_usd 4, amount_usd__count 1, sales 1; the batch contributes amount_usd 7,"
        " amount_usd__count 2, sales 2, the rest is of messages that are deleted"
        for line in lines
    )


def test_a_batch_that_was_redone_says_by_whom(world: World, explain: Explain) -> None:
    world.send(Message(sale("ada", 3)))
    world.run(0)
    work(world, reprocess(0, 60, "again"))

    lines = output(explain(world, "aggregated_sales", "ada", "--window", "2026-11-21T10:00"))

    (note,) = [line for line in lines if line.startswith("Batch ")]
    assert note.startswith("Batch 1 was redone at ")
    assert note.endswith(" by run again of sales; what it contributes is shown as it is since then.")


def test_a_window_that_is_not_published_yet_shows_what_will_be_summed(world: World, explain: Explain) -> None:
    world.send(sale("ada", 3))
    world.run(-1)

    lines = output(explain(world, "aggregated_sales", "ada", "--window", "2026-11-21T10:00"))

    assert "no revision: it is not published yet" in lines
    assert [row[:3] for row in cells(lines)] == [["1", "none yet", "amount_usd 3, amount_usd__count 1, sales 1"]]


def test_accepted_losses_of_the_pipeline_are_mentioned(world: World, explain: Explain) -> None:
    world.send(sale("ada", 3))
    world.run(0)
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute(
            "insert into microbatch.decision (pipeline_id, kind, details, reason, decided_by)"
            " select pipeline_id, 'accept-loss', '{}', 'r', 'me' from microbatch.pipeline"
        )
        connection.execute(
            "insert into microbatch.batch"
            " (pipeline_id, shard, kind, batch_time, definition_hash, committed_at, decision_id)"
            " select pipeline_id, 0, 'loss', now(), '', now(), decision_id from microbatch.decision"
        )
        connection.execute(
            "insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets)"
            " select 2, pipeline_id, topic, topic_id, 0, '[7,17)' from microbatch.offset_range"
        )

    lines = output(explain(world, "aggregated_sales", "ada", "--window", "2026-11-21T10:00"))

    assert lines[-1] == ("sales has accepted losses: 10 offsets were never read and are in no number.")


# -- keys --------------------------------------------------------------------------------------------------


@pytest.fixture
def prices(make_world: MakeWorld, explain: Explain) -> World:
    """Windows by a text with spaces and a negative decimal, behind a stream that keeps the first of each name."""
    world = make_world()
    source = world.pipeline.source
    outputs = [
        Stream(unique=["name", "price"], to=[sink(world, "rows")]),
        TumblingWindow(
            "1 minute", by=["name", "price"], measures={"n": Count(), "sum": Sum("price")}, to=[sink(world, "p")]
        ),
    ]
    world = world.replace(
        name="prices", source=type(source)(source.name, Priced, event_time="at", partitions=2), outputs=outputs
    )
    world.send(priced("a b", "-1.5"), priced("a b", "-1.50"), priced("a 'c", "2"), Message(priced("a b", "-1.50"), 1))
    world.run(0)
    return world


def test_decimals_and_texts_with_spaces_are_keys_and_repeats_are_no_messages(prices: World, explain: Explain) -> None:
    table = f"{prices.pipeline.source.name}-p"

    lines = output(explain(prices, table, "a b", "-1.5", "--window", "2026-11-21T10:00", "--messages"))
    other = output(explain(prices, f"microbatch_topic.{table}", "a 'c", "2.000", "--window", "2026-11-21T10:00"))

    assert lines[1] == "window 2026-11-21 10:00:00 to 10:01:00 UTC, name 'a b', price -1.50"
    assert places(lines) == ["0@0"]
    (verdict,) = [line for line in lines if " give" in line]
    assert verdict.startswith("  1 message gives n 1, sum -1.50")
    assert verdict.endswith(": what the batch contributes")
    assert "  n 1, sum 2.00" in other


# -- what is not there -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["nothing", "ada"],
            "nothing: no pipeline of deployment 'D' has windows of that name; those that there are: T",
        ),
        (["T"], "T: 0 values were given for a key; a key is name (text), price (numeric"),
        (
            ["T", "a b", "dear"],
            'T: invalid input syntax for type numeric: "dear"; a key is name (text), price (numeric',
        ),
        (["T", "a c", "2"], "T: nothing for name 'a c', price '2' at 2026-11-21T10:00:00Z; that window has the keys "),
        (["T", "a b", "-1.5", "--window", "2026-11-21T12:00"], "; that key has windows at 2026-11-21T10:00:00Z"),
        (["T", "x", "9", "--window", "2026-11-21T12:00"], "; neither the key nor the window has any result"),
        (
            ["T", "a b", "-1.5", "--window", "noon"],
            "'noon'; give any moment in the window, such as 2026-11-21T10:00:00Z",
        ),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    prices: World, explain: Explain, words: list[str], said: str
) -> None:
    table, deployment = f"{prices.pipeline.source.name}-p", prices.connections.deployment
    given = [table if word == "T" else word for word in words]

    result = explain(prices, *given, *([] if "--window" in words else ["--window", "2026-11-21T10:00"]))

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert (
        said.replace("T:", f"{table}:").replace(": T", f": {table}").replace("'D'", repr(deployment)) in result.stderr
    )


def test_messages_need_the_declaration_that_is_registered(late: World, explain: Explain) -> None:
    window = late.pipeline.windows[0]
    other = late.replace(outputs=[type(window)("2 minutes", window.by, window.measures, window.to)])

    result = explain(other, "aggregated_sales", "ada", "--window", "2026-11-21T10:00", "--messages")

    assert result.exit_code == 1
    assert "pipeline 'sales' is registered with another definition" in result.stderr
