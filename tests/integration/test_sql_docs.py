"""docs/sql.md: every query in it runs, and answers the question that stands above it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from fix_pipeline import T0, Message, World, new_database, new_world, sale
from fix_stack import Stack

PAGE: Final = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
BLOCKS: Final = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
QUERIES: Final = dict(re.findall(r"^## ([^\n]*\?)\n(?:(?!^## ).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
MINUTES: Final = [f"2026-11-21T10:0{minute}:00+00:00" for minute in range(5)]
ANSWERS: Final[dict[str, list[tuple[Any, ...]]]] = {
    "Up to when is it complete?": [("-infinity", MINUTES[4])],
    "What did each seller sell in the last hour?": [("ada", 23, 4), ("bob", 5, 1)],
    "In which minutes was nothing sold?": [(MINUTES[2],)],
    "Which results are final?": [(MINUTES[0], "ada", 13), (MINUTES[0], "bob", 5), (MINUTES[1], "ada", 4)],
    "What was corrected since yesterday?": [(MINUTES[0], "ada", 3, 13)],
    "What had we published yesterday at noon?": [
        (MINUTES[0], "ada", 3, 1),
        (MINUTES[0], "bob", 5, 1),
        (MINUTES[1], "ada", 4, 1),
    ],
    "How did this number come to be what it is?": [(1, 3, True, False), (2, 13, True, True)],
    "From which offsets does this number come?": [(1, 0, "[0,3)"), (1, 1, "[0,1)"), (2, 0, "[3,5)"), (2, 1, "[1,2)")],
    "Which runs have read it?": [(1, "catch up", "sales", 4), (2, "catch up", "sales", 3)],
    "How late does data come?": [(MINUTES[0], 1, "00:01:30", 1)],
    "How late does data come, by the day?": [("public.aggregated_sales", "2026-11-21", 1, "00:01:30")],
    "How much was too late?": [(True, 1)],
    "Why is this message a dead letter?": [("JSON is malformed: invalid character (byte 0)",)],
    "Is there anything that was not read?": [],
    "Are there results of two definitions?": [],
}


@pytest.fixture(scope="module")
def sales(stack: Stack) -> Iterator[World]:
    """Four minutes from ten o'clock: two were published two days ago; today ada's sale of the first came, 90 s late."""
    with new_database(stack) as dsn:
        world = new_world(stack, dsn, allowed_lateness=timedelta(hours=1))
        world.send(sale("ada", 3), sale("ada", 4, T0 + 60), b"junk", Message(sale("bob", 5), 1))
        world.run(1)
        with psycopg.connect(dsn) as owner:
            owner.execute("update aggregated_sales_history set valid_from = valid_from - interval '2 days'")
        world.send(
            Message(sale("ada", 10), at_s=T0 + 150),
            Message(sale("ada", 6, T0 + 180), at_s=T0 + 180),
            Message(sale("bob", 9), 1, at_s=T0 + 2 * 3600),
        )
        world.run(3)
        yield world


def test_every_question_has_an_answer_here() -> None:
    assert QUERIES.keys() == ANSWERS.keys()
    assert len(QUERIES) == PAGE.count("```sql")


@pytest.mark.parametrize("question", QUERIES)
def test_the_page_answers(sales: World, question: str) -> None:
    rows = sales.rows(f"select to_json(q) from ({QUERIES[question].rstrip().rstrip(';')}) as q")

    assert [tuple(row.values()) for (row,) in rows] == ANSWERS[question]


def test_the_page_exports_results_and_duckdb_reads_them(sales: World, tmp_path: Path) -> None:
    ((_, export), (_, asked)) = BLOCKS
    environment = {
        **os.environ,
        "POSTGRES_DSN": sales.connections.postgres,
        "MICROBATCH_DEPLOYMENT": sales.connections.deployment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("/bin/bash", "-euc", export)

    assert re.findall(r"(ada|bob) +│ +(\d+)", run(sys.executable, "-c", asked)) == [("ada", "23"), ("bob", "5")]
