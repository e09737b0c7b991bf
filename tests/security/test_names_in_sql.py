"""Declared names reach SQL, topics and shells as names: quoted, or refused when they are declared."""

import ast
import json
import tomllib
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from psycopg import sql

from fix_cli import Command
from fix_pipeline import Message, World, sale
from local.home import REPOSITORY
from microbatch import Count, KafkaTopic, PostgresTable, Stream, Sum, TumblingWindow
from microbatch.errors import DeclarationError
from microbatch.topics import create_topics
from outside import on_topic

ATTACKS: Final = [
    '"; drop schema microbatch cascade; --',
    "'; drop schema microbatch cascade; --",
    "x\n; drop schema microbatch cascade; --",
    "$$; drop schema microbatch cascade; $$",
    "{table}{{ 7 * 7 }}{0}",
    "x; touch /tmp/y; `id` $(id)",
]
"""As tables, columns and values they are names like any other."""

REFUSED: Final = ["", "a\0b", "50%s", "a.b", "x" * 64]
"""No names of PostgreSQL, or of none that psycopg lets through."""

NO_TOPICS: Final = [*ATTACKS, *REFUSED[:3], "x" * 250, "../etc", "--help me"]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_in_a_name_or_a_value_is_a_name_or_a_value(world: World, command: Command, name: str) -> None:
    """As a result table, a key, a measure, a row table's column and the value of a key, all at once."""
    prefix = world.pipeline.source.name
    outputs = [
        Stream(columns={name: "seller_id", "amount_usd": "amount_usd"}, to=[PostgresTable(f"rows of {name}")]),
        TumblingWindow(
            "1 minute",
            by=[name],
            measures={f"n {name}": Count(), f"sum {name}": Sum("amount_usd")},
            to=[PostgresTable(name), KafkaTopic(f"{prefix}-results")],
        ),
    ]
    world = world.replace(outputs=outputs)
    create_topics([world.pipeline], world.connections)
    world.send(Message(sale(name, 3)))

    world.run(0)

    expected = {name: name, f"n {name}": 1, f"sum {name}": 3}
    with psycopg.connect(world.connections.postgres) as connection:
        cursor = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name)))
        columns = [column.name for column in cursor.description or []]
        [row] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    [message] = on_topic(world, f"{prefix}-results")
    assert expected.items() <= row.items()
    assert expected.items() <= json.loads(message.value or b"").items()
    assert world.rows("select count(*) from microbatch.batch") == [(1,)]
    for words in (["lag"], ["freshness"], ["gaps"], ["lag", name], ["freshness", name]):
        assert "drop" not in command(world, *words).stdout or name in words
    assert world.rows("select count(*) from microbatch.batch") == [(1,)]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_what_cannot_be_a_name_is_refused_when_it_is_declared(world: World, name: str) -> None:
    for output in (
        TumblingWindow("1 minute", by=[], measures={"n": Count()}, to=[PostgresTable(name)]),
        TumblingWindow("1 minute", by=[], measures={name: Count()}, to=[PostgresTable("results")]),
        Stream(columns={name: "seller_id"}, to=[PostgresTable("rows")]),
    ):
        with pytest.raises(DeclarationError):
            world.replace(outputs=[output])


@pytest.mark.parametrize("name", NO_TOPICS, ids=lambda name: ascii(name[:30]))
def test_what_cannot_be_a_topic_is_refused_when_it_is_declared(world: World, name: str) -> None:
    with pytest.raises(DeclarationError):
        world.replace(outputs=[Stream(to=[KafkaTopic(name)])])


# -- no SQL is made of strings -----------------------------------------------------------------------------------

INCLUDE: Final = REPOSITORY / "include"
DUCKDB: Final = ("database", "_database")
"""What the code calls DuckDB, which runs in the process and holds one batch: its SQL is composed of our own names."""

KNOWN: Final = {
    ("postgres.py", "f\"set local lock_timeout = '{LOCK_PATIENCE_S}s'\""),  # a number of our own
    ("cli_data.py", "statement.encode()"),  # `microbatch sql`: what a person has typed, as the role that only reads
}


def test_no_sql_for_postgres_is_made_of_strings() -> None:
    """The types of psycopg say the same, and mypy checks them; bytes would get round both."""
    found = {(where, text) for where, text in _statements() if (where, text) not in KNOWN}

    assert sorted(found) == []


def _statements() -> Iterator[tuple[str, str]]:
    """File and text of each statement that is neither a literal, nor a named query, nor composed by psycopg."""
    for file in sorted(INCLUDE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _is_for_postgres(node.func) and _is_made(node.args[0]):
                yield file.name, ast.unparse(node.args[0])


def _is_for_postgres(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr == "SQL":
        return True
    return function.attr in ("execute", "executemany", "copy", "stream") and _receiver(function.value) not in DUCKDB


def _receiver(on: ast.expr) -> str:
    """What the code calls the thing on which a method is called: x of `x.y()`, `self.x.y()`, `x().y()`."""
    if isinstance(on, ast.Call):
        return _receiver(on.func.value if isinstance(on.func, ast.Attribute) else on.func)
    return on.attr if isinstance(on, ast.Attribute) else getattr(on, "id", "")


def _is_made(statement: ast.expr) -> bool:
    """Whether a statement is made of strings: in braces, by +, %, `format`, `join`, or by going over to bytes."""
    if isinstance(statement, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in statement.values)
    if isinstance(statement, ast.Call) and isinstance(statement.func, ast.Attribute):
        made_of = statement.func.value
        text = isinstance(made_of, ast.Constant | ast.JoinedStr)
        return statement.func.attr == "encode" or (text and statement.func.attr in ("format", "join"))
    return isinstance(statement, ast.BinOp)


@pytest.mark.parametrize(
    "statement",
    [
        'connection.execute(f"select {x}")',
        'self._connection.execute("select " + x)',
        'cursor.execute("select %s" % x)',
        'cursor.copy("copy {}".format(x))',
        "cursor.execute(x.encode())",
        'sql.SQL(f"{x}")',
    ],
)
def test_that_check_sees(statement: str) -> None:
    [call] = [node for node in ast.walk(ast.parse(statement)) if isinstance(node, ast.Call) and node.args][:1]

    assert _is_for_postgres(call.func)
    assert _is_made(call.args[0])


def test_the_linter_looks_for_sql_made_of_strings_too() -> None:
    lint = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    silenced = [folder for folder, rules in lint["per-file-ignores"].items() if {"S", "S608"} & set(rules)]

    assert "S" in lint["select"]
    assert not {"S", "S608"} & set(lint["ignore"])
    assert silenced == ["tests/**"]


def test_no_shell_is_ever_started() -> None:
    """Programs get their arguments as a list."""
    shells = ("shell=True", "os.system(", "os.popen(", "getoutput(")
    texts = {file: file.read_text(encoding="utf-8") for file in INCLUDE.rglob("*.py")}

    assert [(file.name, shell) for file, text in texts.items() for shell in shells if shell in text] == []
