"""`docs/step-by-step.md`: its commands, run one after the other in one shell, print what the page shows.

What does not differ from run to run is asserted by itself.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from local import stack
from local.home import REPOSITORY
from own_stack import own_stack
from shell_pages import DOCS, Did, check_step, printed_by, run_steps, steps_of

# What a hang may cost; it takes less than two minutes on two cores that have nothing else to do.
PATIENCE_S: Final = 540
pytestmark = pytest.mark.timeout(PATIENCE_S + 60)

STEPS: Final = steps_of(DOCS / "step-by-step.md")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The state folder of a stack of the page's own, and the environment of its shell."""
    with own_stack(PYTHON=sys.executable) as folder:
        yield folder


@pytest.fixture(scope="module")
def did(home: Path) -> list[Did]:
    """What each block did; less than all of them if one failed that should not."""
    return run_steps(STEPS, REPOSITORY, patience_s=PATIENCE_S)


def test_the_page_has_commands_and_what_they_print() -> None:
    assert len(STEPS) > 15
    assert sum(bool(step.shown) for step in STEPS) > 12
    assert [step.script for step in STEPS if step.fails] == ["LOGINS_MIN_APP_VERSION=2.9.0 microbatch run logins\n"]


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_block_does_what_the_page_shows(did: list[Did], number: int) -> None:
    check_step(STEPS, did, number)


def test_numbers_that_waited_are_paired_by_the_next_batch(did: list[Did]) -> None:
    assert re.search(r"│ \d+ │ 2 │ \d+ │ 3 │", printed_by(STEPS, did, "number_pairs_waiting"))


def test_a_late_sale_is_a_revision_in_history_and_topic(did: list[Did]) -> None:
    printed = printed_by(STEPS, did, "aggregated_sales_history")

    assert "│ 1 │ 25 │ 2 │ 12.50 │ [5] │ False │" in printed
    assert "│ 2 │ 32 │ 3 │ 10.67 │ [5, 6] │ True │" in printed
    assert re.findall(r'"amount_usd":(\d+).*"revision":(\d)}', printed) == [("25", "1"), ("32", "2")]


def test_versions_are_compared_by_their_parts(did: list[Did]) -> None:
    assert (
        printed_by(STEPS, did, "from logins import logins")
        == "2.3.0 ['app version is too old']\n2.9.0 counts\n2.10.0 counts\n"
    )


def test_repeated_observations_are_counted(did: list[Did]) -> None:
    match = re.search(r"│ 44 │ \d │ (\d+) │", printed_by(STEPS, did, "repeated from microbatch.batch_history"))

    # 13 cities, and now and then an observation that came late or was renewed in between.
    assert match
    assert int(match[1]) >= 10


def test_cents_are_exact_once_the_minute_has_ended(did: list[Did]) -> None:
    assert "│ IS │ 0.30 │ 2 │ True │" in printed_by(STEPS, did, "in ('IS', 'US')")


def test_all_six_checks_agree(did: list[Did]) -> None:
    assert printed_by(STEPS, did, "python -m recount").count("\nall agrees\n") == 6


def test_nothing_runs_at_the_end(did: list[Did], home: Path) -> None:
    assert len(did) == len(STEPS)
    assert {health.state for health in stack.status(home)} == {"not started"}
