"""`microbatch export`: results and their history as Parquet files, with the numbers that SQL has."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from pyarrow.parquet import read_schema

from fix_cli import Command
from fix_everything import FIRST, everything, readings
from fix_pipeline import Message, World, new_database, new_world, sale
from fix_stack import Stack
from microbatch import exporting
from microbatch.topics import create_topics
from modes import at


@pytest.fixture(scope="module")
def wide(stack: Stack) -> Iterator[World]:
    """A table with a column of every type, and corrections in its history; tests only read it."""
    with new_database(stack) as dsn:
        made = new_world(stack, dsn)
        prefix = made.pipeline.source.name.removesuffix("-sales-usd")
        world = World(everything(prefix, 2), made.connections)
        create_topics([world.pipeline], world.connections)
        for minute, seed in ((FIRST, 1), (FIRST + 1, 2)):
            world.send(*readings(60, 2, seed, minute))
            world.run(minute)
        yield world


def table_of(world: World) -> str:
    return world.pipeline.windows[0].table or ""


def in_sql(world: World, table: str, order: str) -> list[dict[str, Any]]:
    with psycopg.connect(world.connections.postgres, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(f"select * from {table} order by {order}".encode()).fetchall()


def in_duckdb(file: Path) -> list[dict[str, Any]]:
    # As Arrow: DuckDB's own times would need another library.
    found: pa.Table = duckdb.connect().sql(f"select * from '{file}'").to_arrow_table()
    return found.to_pylist()


def test_duckdb_reads_from_the_file_what_sql_reads_from_the_table(
    wide: World, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ROWS_A_CHUNK", 3)
    file = tmp_path / "minutes.parquet"

    result = command(wide, "export", table_of(wide), str(file))

    rows = in_sql(wide, table_of(wide), 'window_start, device, "Select"')
    assert result.exit_code == 0, result.output
    assert f"{len(rows)} results of public.{table_of(wide)}" in result.output
    assert in_duckdb(file) == rows
    assert len(rows) > 9


def test_the_history_is_every_revision_with_its_batches(wide: World, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "history.parquet"

    command(wide, "export", table_of(wide), str(file), "--history")

    rows = in_sql(wide, f"{table_of(wide)}_history", 'window_start, device, "Select", revision')
    assert in_duckdb(file) == rows
    assert {row["revision"] for row in rows} == {1, 2}
    assert any(len(row["batches"]) == 2 for row in rows)


def test_pandas_has_the_same_sums_to_the_last_digit(wide: World, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "minutes.parquet"

    command(wide, "export", table_of(wide), str(file))

    frame = pd.read_parquet(file)
    ((price, weight, mean),) = wide.rows(f'select sum(price), sum(weight), sum("mean price") from {table_of(wide)}')
    assert (frame["price"].sum(), frame["weight"].sum(), frame["mean price"].sum()) == (price, weight, mean)
    assert str(frame["window_start"].dtype) == "datetime64[us, UTC]"


def test_numbers_have_exact_types(wide: World, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "minutes.parquet"

    command(wide, "export", table_of(wide), str(file))

    schema = read_schema(file)
    kinds = {name: schema.field(name).type for name in ("price", "weight", "readings", "mean price", "newest")}
    assert kinds == {
        "price": pa.decimal128(38, 2),
        "weight": pa.decimal128(38, 0),
        "readings": pa.int64(),
        "mean price": pa.decimal128(38, 3),
        "newest": pa.timestamp("us", "UTC"),
    }


@pytest.fixture
def three_minutes(world: World) -> World:
    """A sale in each of three minutes."""
    world.send(*(Message(sale("ada", minute, int(at(60 * minute).timestamp()))) for minute in range(3)))
    world.run(3)
    return world


def test_only_the_windows_that_were_asked_for_are_exported(
    three_minutes: World, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "sales.parquet"

    command(three_minutes, "export", "aggregated_sales", str(file), "--from", "2026-11-21T10:01Z", "--to", str(at(120)))

    assert [(row["window_start"], row["amount_usd"]) for row in in_duckdb(file)] == [(at(60), Decimal(1))]


def test_a_table_without_results_becomes_a_file_without_rows(
    three_minutes: World, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "sales.parquet"

    command(three_minutes, "export", "aggregated_sales", str(file), "--from", "2027-01-01T00:00Z")

    assert in_duckdb(file) == []


def test_a_file_that_exists_is_replaced_only_if_that_is_said(
    three_minutes: World, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "sales.parquet"
    file.write_text("mine")

    refused = command(three_minutes, "export", "aggregated_sales", str(file))

    assert (refused.exit_code, file.read_text()) == (1, "mine")
    assert "it exists; --overwrite replaces it" in refused.output
    assert command(three_minutes, "export", "aggregated_sales", str(file), "--overwrite").exit_code == 0
    assert len(in_duckdb(file)) == 3


def test_a_table_that_is_not_there_is_told_with_those_that_are(
    three_minutes: World, command: Command, tmp_path: Path
) -> None:
    result = command(three_minutes, "export", "sales", str(tmp_path / "sales.parquet"))

    assert result.exit_code == 1
    assert "those that there are: aggregated_sales" in result.output


def test_a_number_that_no_reader_has_exactly_is_refused_and_leaves_no_file(
    three_minutes: World, command: Command, tmp_path: Path
) -> None:
    three_minutes.rows("update aggregated_sales set amount_usd = 1e39 where amount_usd = 2 returning 1")

    result = command(three_minutes, "export", "aggregated_sales", str(tmp_path / "sales.parquet"))

    assert result.exit_code == 1
    assert "column 'amount_usd' has a number of more than 38 digits" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(three_minutes: World, command: Command, tmp_path: Path) -> None:
    result = command(three_minutes, "export", "aggregated_sales", str(tmp_path / "none" / "sales.parquet"))

    assert result.exit_code == 1
    assert "sales.parquet: it cannot be written: No such file or directory" in result.output
