"""`docs/security.md`: the statements for PostgreSQL are enough for both roles, and none of them is too much."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_pipeline import Message, World, new_world, sale
from fix_stack import Stack
from local.home import REPOSITORY
from microbatch import Stream
from microbatch.errors import MicrobatchError
from modes import reprocess
from outside import sink
from shell_pages import blocks_of

PASSWORD: Final = "of the tests"  # noqa: S105 - of roles that are dropped at the end of each
# A schema that a role has no right to is as if it were not there.
REFUSED: Final = "permission denied|no schema has been selected|relation .* does not exist"
PAGE: Final = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
ON_THE_SERVER, IN_THE_DATABASE = (
    [statement.strip() for statement in block.split(";") if statement.strip()] for block in blocks_of(PAGE, "sql")
)
GRANTS: Final = [each for each in (*ON_THE_SERVER, *IN_THE_DATABASE) if "grant" in each]

_numbers = itertools.count(1)


class Warehouse(msgspec.Struct, frozen=True):
    """A database, and both roles' connection strings."""

    writer: str
    reader: str


@contextmanager
def warehouse_without(stack: Stack, left_out: str) -> Iterator[Warehouse]:
    """What the page's statements make, but for one of them; gone at the end."""
    number = next(_numbers)
    names = {name: f"least_{name}_{number}" for name in ("warehouse", "microbatch", "reader")}

    def do(statements: list[str], dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as admin:
            for statement in statements:
                if statement != left_out:
                    admin.execute(named(statement).encode())

    def named(statement: str) -> str:
        for name, ours in names.items():
            statement = re.sub(rf"\b{name}\b", ours, statement)
        return re.sub("'[^']+'", f"'{PASSWORD}'", statement)

    def dsn(role: str) -> str:
        return make_conninfo(stack.admin_dsn, dbname=names["warehouse"], user=names[role], password=PASSWORD)

    try:
        do(ON_THE_SERVER, stack.admin_dsn)
        do(IN_THE_DATABASE, make_conninfo(stack.admin_dsn, dbname=names["warehouse"]))
        yield Warehouse(dsn("microbatch"), dsn("reader"))
    finally:
        drop = ["drop database if exists warehouse with (force)", "drop role microbatch", "drop role reader"]
        do(drop, stack.admin_dsn)


def work(stack: Stack, warehouse: Warehouse) -> World:
    """Run, redo, and read, with these rights."""
    world = new_world(stack, warehouse.writer, deployment="least")
    world = world.replace(outputs=[Stream(to=[sink(world, "sale")]), *world.pipeline.outputs])
    world.send(Message(sale("ada", 3)), Message(b"junk"))
    world.run(0)
    world.run_as(reprocess(0, 60))
    with psycopg.connect(warehouse.reader) as reader:
        reader.execute(
            "select * from aggregated_sales, aggregated_sales_history, microbatch.batch, microbatch.freshness"
        )
        reader.execute("select * from aggregated_sales_as_of(now())")
    return world


def test_the_statements_of_the_page_are_enough(stack: Stack) -> None:
    with warehouse_without(stack, "") as warehouse:
        world = work(stack, warehouse)

        assert world.results() == [(0, "ada", 3, 1, True, 1)]
        with psycopg.connect(warehouse.reader) as reader, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("update aggregated_sales set amount_usd = 0")


@pytest.mark.parametrize("left_out", GRANTS)
def test_without_one_of_them_something_is_refused(stack: Stack, left_out: str) -> None:
    with (
        warehouse_without(stack, left_out) as warehouse,
        pytest.raises((psycopg.Error, MicrobatchError), match=REFUSED),
    ):
        work(stack, warehouse)


def test_there_are_grants_for_both_roles() -> None:
    assert len(GRANTS) == 8
    assert {role: sum(each.endswith(f"to {role}") for each in GRANTS) for role in ("microbatch", "reader")} == {
        "microbatch": 4,
        "reader": 4,
    }
