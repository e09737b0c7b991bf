"""Batches commit while a merge is in the middle of its statements: they are the next merge's, whole."""

from typing import Final

import pytest

from fix_child import Children, check
from fix_late import LATER, MESSAGES
from fix_pipeline import T0, World, sale
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
    """It adds to windows that the merge sums, and brings keys that are new to them.

    It also closes one more minute, to which it brings nothing: what that has was read before, and merged while open.
    """
    run = late.run_of(1, "merges")
    late.send(sale("eve", 5, T0 + 130))
    children.succeed(late, run, task="consume")
    merging = children.start(late, run, task="publish", crash=f"{point}:stop", constants=PATIENT)
    merging.wait_until_stopped()
    late.send(*LATER, sale("new", 1))
    children.succeed(late, late.run_of(2, "meanwhile"), task="consume")

    merging.go_on()

    assert not merging.outcome().error, merging.outcome()
    children.succeed(late, late.run_of(2, "meanwhile"), task="publish")
    assert [result[:5] for result in late.results() if result[1] in ("ada", "new") or result[0] == 2] == [
        (0, "ada", 67, 6, True),
        (0, "new", 1, 1, True),
        (1, "ada", 18, 2, True),
        (2, "eve", 5, 1, True),
    ]
    assert check(late).messages == MESSAGES + len(LATER) + 2
