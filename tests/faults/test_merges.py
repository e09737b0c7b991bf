"""Batches commit while a merge is in the middle of its statements: they are the next merge's, whole."""

from typing import Final

import pytest

from fix_child import Children, check
from fix_late import LATER, MESSAGES
from fix_pipeline import World, sale
from microbatch.crash import CrashPoint

BETWEEN: Final[tuple[CrashPoint, ...]] = (
    "publish.after_lock",
    "publish.after_closing",
    "publish.after_take",
    "publish.after_totals",
    "publish.after_numbering",
)
PATIENT: Final[dict[str, float]] = {"postgres.IDLE_IN_TRANSACTION_S": 120}


@pytest.mark.parametrize("point", BETWEEN)
def test_a_batch_that_commits_between_two_statements_of_a_merge_is_the_next_merges(
    late: World, children: Children, point: CrashPoint
) -> None:
    """It adds to windows that the merge sums, brings keys that are new to them, and closes one more minute."""
    run = late.run_of(1, "merges")
    children.succeed(late, run, task="consume")
    merging = children.start(late, run, task="publish", crash=f"{point}:stop", constants=PATIENT)
    merging.wait_until_stopped()
    late.send(*LATER, sale("new", 1))
    children.succeed(late, late.run_of(2, "meanwhile"), task="consume")

    merging.go_on()

    assert not merging.outcome().error, merging.outcome()
    children.succeed(late, late.run_of(2, "meanwhile"), task="publish")
    assert [result[:4] for result in late.results() if result[1] in ("ada", "new")] == [
        (0, "ada", 67, 6),
        (0, "new", 1, 1),
        (1, "ada", 18, 2),
    ]
    assert check(late).messages == MESSAGES + len(LATER) + 1
