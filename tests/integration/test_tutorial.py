"""`docs/tutorial.md`: its commands, run one after the other, print what the page shows.

They run in a folder of their own on the test run's servers; `make install` and `microbatch up` are said there already.
"""

import os
import re
from typing import Final

import msgspec
import pytest

from fix_pipeline import new_database
from fix_stack import Stack
from local.home import REPOSITORY
from shell_pages import DOCS, Did, check_step, printed_by, run_steps, steps_of

STEPS: Final = steps_of(DOCS / "tutorial.md")
STARTS: Final = ("make install", "microbatch up --only stack")


@pytest.fixture(scope="module")
def did(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[Did]:
    """What each block did, in an empty folder with servers that know nothing of it."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    begin, *rest = STEPS
    begin = msgspec.structs.replace(begin, script=re.sub("|".join(STARTS), ":", begin.script))
    with new_database(stack, migrated=False) as warehouse:
        servers = {
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap,
            "POSTGRES_OWNER_DSN": warehouse,
            "POSTGRES_DSN": warehouse,
            "MICROBATCH_DEPLOYMENT": folder.name,
        }
        return run_steps([begin, *rest], folder, environment=os.environ | servers, patience_s=240)


def test_the_servers_are_started_as_in_step_by_step() -> None:
    elsewhere = "".join(step.script for step in steps_of(DOCS / "step-by-step.md"))

    assert [line for line in STARTS if line not in STEPS[0].script or line not in elsewhere] == []


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_block_does_what_the_page_shows(did: list[Did], number: int) -> None:
    check_step(STEPS, did, number)


def test_the_numbers_are_those_of_the_page(did: list[Did]) -> None:
    """Steps are compared by shape only; here the events are the page's own, and their sums with them."""
    shown = [line for step in STEPS for line in step.shown if line.startswith("│")]
    printed = {re.sub(" +", " ", line) for each in did for line in each.printed.splitlines()}

    assert len(shown) >= 8
    assert [line for line in shown if re.sub(" +", " ", line) not in printed] == []


def test_the_audit_at_the_end_agrees(did: list[Did]) -> None:
    assert printed_by(STEPS, did, "microbatch audit").endswith("All agrees.\n")
