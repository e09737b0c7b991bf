"""Killed at every crash point: the next run loses nothing and counts nothing twice."""

import re
from pathlib import Path
from random import Random
from typing import Final

import pytest

import microbatch
from fix_child import Children, check
from fix_late import LATER, MESSAGES, RESULTS
from fix_pipeline import World, sale
from microbatch.crash import CRASH_POINTS, CrashPoint

ASKS_FOR_MORE: Final[tuple[CrashPoint, ...]] = ("publish.before_settled", "publish.before_renew")
"""Points that a run with something to do and nothing left over does not visit."""

OF_A_REDO: Final[tuple[CrashPoint, ...]] = ("redo.after_lock", "redo.before_commit")
"""Points of a run that redoes batches; `test_reprocess.py` kills it there."""

OF_A_RENAME: Final[tuple[CrashPoint, ...]] = ("rename.after_sent", "rename.after_cursor", "rename.after_renamed")
"""`test_renaming.py` kills it there."""

OF_A_RECOVER: Final[tuple[CrashPoint, ...]] = (
    "recover.after_lock",
    "recover.before_commit",
    "recover.after_commit",
    "recover.after_cursor",
)
"""`test_recover.py` kills it there."""

OF_A_REBUILD: Final[tuple[CrashPoint, ...]] = (
    "rebuild.after_decision",
    "rebuild.between_batches",
    "rebuild.before_publish",
)
"""`test_rebuild.py` kills it there."""

OF_A_FOLD: Final[tuple[CrashPoint, ...]] = (
    "fold.after_lock",
    "fold.after_contributions",
    "fold.before_commit",
    "fold.after_commit",
)
"""`test_folding.py` kills it there."""

OF_OTHERS: Final = (*ASKS_FOR_MORE, *OF_A_REDO, *OF_A_RENAME, *OF_A_RECOVER, *OF_A_REBUILD, *OF_A_FOLD)
OF_A_RUN: Final = [point for point in CRASH_POINTS if point not in OF_OTHERS]


@pytest.mark.parametrize("point", OF_A_RUN)
def test_a_run_killed_at_any_point_is_finished_by_its_retry(late: World, children: Children, point: CrashPoint) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash=point).died_by_kill()

    children.succeed(late, run)

    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("point", ["consume.before_commit", "consume.inside_copy", "consume.after_commit"])
def test_a_run_killed_in_its_second_batch_keeps_the_first(late: World, children: Children, point: CrashPoint) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash=f"{point}:kill:2").died_by_kill()
    kept = late.rows("select * from microbatch.batch order by batch_id")

    children.succeed(late, run)

    assert late.rows("select * from microbatch.batch order by batch_id")[: len(kept)] == kept
    assert len(kept) == (3 if point == "consume.after_commit" else 2)
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("point", ["consume.before_register", "consume.after_register", "consume.after_claim"])
def test_a_pipeline_whose_first_run_is_killed_begins_with_the_next(
    world: World, children: Children, point: CrashPoint
) -> None:
    world.send(sale("ada", 3), b"junk", sale("bob", 5))
    assert children.start(world, world.run_of(0, "killed"), crash=point).died_by_kill()

    children.succeed(world, world.run_of(0, "next"))

    assert world.results() == [(0, "ada", 3, 1, True, 1), (0, "bob", 5, 1, True, 1)]
    check(world)


def test_publications_that_were_sent_and_not_marked_are_not_sent_again(late: World, children: Children) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash="publish.after_kafka_commit").died_by_kill()

    assert children.start(late, run, crash="publish.before_settled").died_by_kill()
    outcome = children.succeed(late, run)

    assert outcome.sent == 0
    assert any("had been sent" in line for line in outcome.log)
    check(late)


def test_publications_that_were_intended_and_not_committed_are_sent(late: World, children: Children) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash="publish.before_kafka_commit").died_by_kill()

    outcome = children.succeed(late, run)

    assert outcome.sent == len(RESULTS) + 2
    check(late)


def test_a_run_with_nothing_to_send_killed_before_it_renews_the_offsets_leaves_nothing(
    late: World, children: Children
) -> None:
    children.succeed(late, late.run_of(1))
    assert children.start(late, late.run_of(2, "idle"), crash="publish.before_renew").died_by_kill()

    children.succeed(late, late.run_of(2, "idle"))

    assert late.results() == RESULTS
    check(late)


def test_what_a_killed_consume_has_committed_is_published_and_its_minute_stays_open(
    late: World, children: Children
) -> None:
    """Airflow runs publish although consume has failed."""
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash="consume.between_batches:kill:2").died_by_kill()

    children.succeed(late, run, task="publish")

    assert {minute for minute, *_ in late.results()} == {0}
    check(late, settled=False)
    children.succeed(late, run)
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
def test_runs_killed_at_random_moments_one_after_the_other_lose_and_repeat_nothing(
    late: World, children: Children, seed: int
) -> None:
    """Messages come all the time; `make faults` does the same to all five pipelines and to the servers."""
    chance = Random(seed)  # noqa: S311 - the same moments each time, as far as the machine lets them be
    kills = 0
    for number in range(8):
        child = children.start(late, late.run_of(1, f"run {number // 2}"))
        late.send(*LATER)
        child.is_done_within(chance.uniform(0, 1.5))
        child.kill()
        kills += child.died_by_kill()

    assert kills > 0
    children.succeed(late, late.run_of(1, "last"))
    assert check(late).messages == MESSAGES + 8 * len(LATER)


def test_a_run_leaves_no_process_and_no_thread_behind(late: World, children: Children) -> None:
    outcome = children.succeed(late, late.run_of(1))

    assert outcome.sent > 0
    assert outcome.left == []


def test_every_crash_point_is_visited_in_the_engine_and_here() -> None:
    engine = "\n".join(path.read_text() for path in Path(microbatch.__file__).parent.glob("*.py"))

    assert set(re.findall(r'crash_point\("([^"]+)"\)', engine)) == set(CRASH_POINTS)
    assert {*OF_A_RUN, *OF_OTHERS} == set(CRASH_POINTS)
