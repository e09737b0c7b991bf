"""A short headline run, and that its judge sees what it is there to see."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from faults.headline import plan, report, story
from faults.headline.judge import Seen, Verdict, compare, judge
from faults.headline.pipelines import NAMES, five
from fix_stack import Stack
from microbatch.settings import Connections
from microbatch.topics import create_topics

SEED = 7
ORDER = story.Order(seed=SEED, blows=25, messages=3000, prefix="headline", deadline_s=540)
ROWS, RESULTS = "processed-user-login", "device_type_count"
ORIGINS = [(0, 3), (0, 5), (1, 2)]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("children")
def test_five_pipelines_whose_processes_and_servers_are_killed_lose_and_double_nothing(
    stack: Stack, warehouse: str, tmp_path: Path
) -> None:
    connections = Connections({"bootstrap.servers": stack.bootstrap}, warehouse, "headline")
    create_topics(list(five(ORDER.prefix).values()), connections)

    ending = story.tell(ORDER, stack, connections, tmp_path, print)

    report.show(ending, Console())
    assert ending.is_good, f"seed {SEED}"


# -- the plan --------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_blows_and_another_one_others() -> None:
    assert plan.make(1, 200, NAMES, airflow=True) == plan.make(1, 200, NAMES, airflow=True)
    assert plan.make(1, 200, NAMES, airflow=True) != plan.make(2, 200, NAMES, airflow=True)


def test_two_hundred_blows_kill_and_stop_at_every_crash_point_and_every_server() -> None:
    blows = plan.make(1, 200, NAMES, airflow=True)

    hits = Counter((blow.step, blow.signal) for blow in blows)
    steps = {*plan.POINTS, plan.ANY_TIME, "kafka", "postgres", "airflow scheduler", "airflow task"}
    assert len(blows) == 200
    assert hits.keys() == {(step, signal) for step in steps for signal in plan.SIGNALS}


def test_no_crash_point_is_hit_far_more_often_than_another() -> None:
    hits = Counter(blow.point for blow in plan.make(1, 200, NAMES, airflow=True) if blow.point)

    assert max(hits.values()) - min(hits.values()) <= 1


# -- the judge -------------------------------------------------------------------------------------------------------


def rows(*origins: tuple[int, int]) -> list[Seen]:
    """The rows of these messages, as they were seen on one partition."""
    return [Seen(ROWS, 0, offset, None, origin, None, b"%d@%d" % origin) for offset, origin in enumerate(origins)]


def results(*revisions: int) -> list[Seen]:
    """The revisions of one result, as they were seen."""
    return [Seen(RESULTS, 0, offset, b"key", None, n, b"%d" % n) for offset, n in enumerate(revisions)]


def verdict(*seen: Seen) -> Verdict:
    return judge(seen, {ROWS: set(ORIGINS)})


def test_each_row_once_and_each_revision_in_turn_is_good() -> None:
    # Source partitions have no order between them.
    assert verdict(*rows((1, 2), (0, 3), (0, 5)), *results(1, 2, 3)).is_good


def test_a_row_that_nobody_saw_is_lost() -> None:
    assert verdict(*rows((0, 3), (1, 2))) == Verdict(lost=[f"{ROWS}: nothing of 0@5"])


def test_a_topic_of_which_nothing_was_seen_has_lost_all() -> None:
    assert len(verdict().lost) == len(ORIGINS)


def test_a_row_that_was_seen_again_is_twice() -> None:
    assert verdict(*rows(*ORIGINS, (1, 2))) == Verdict(twice=[f"{ROWS}: 1@2 is there 2 times"])


def test_rows_that_were_swapped_are_out_of_order() -> None:
    assert verdict(*rows((0, 5), (0, 3), (1, 2))) == Verdict(out_of_order=[f"{ROWS}[0]@1: 0@3 after 0@5"])


def test_a_row_of_a_message_that_gives_none_is_wrong() -> None:
    assert verdict(*rows(*ORIGINS, (1, 9))) == Verdict(otherwise=[f"{ROWS}: 1@9, of which there should be nothing"])


@pytest.mark.parametrize(
    ("revisions", "wrong"),
    [
        ((1, 3), Verdict(lost=[f"{RESULTS}[0]@1: revision 3 of key comes after 1"])),
        ((2,), Verdict(lost=[f"{RESULTS}[0]@0: revision 2 of key comes after 0"])),
        ((1, 2, 2), Verdict(twice=[f"{RESULTS}[0]@2: revision 2 of key once more"])),
        ((1, 2, 1), Verdict(out_of_order=[f"{RESULTS}[0]@2: revision 1 of key after 2"])),
    ],
)
def test_revisions_with_a_hole_or_a_repeat_or_backwards_are_wrong(revisions: tuple[int, ...], wrong: Verdict) -> None:
    assert verdict(*rows(*ORIGINS), *results(*revisions)) == wrong


def test_what_is_there_at_the_end_and_was_not_seen_during_the_run_is_lost_and_the_other_way_round_is_wrong() -> None:
    all_of_it = rows(*ORIGINS)

    assert compare(all_of_it, all_of_it).is_good
    assert len(compare(all_of_it[1:], all_of_it).lost) == 1
    assert len(compare(all_of_it, all_of_it[1:]).otherwise) == 1


def test_an_ending_with_too_few_signals_or_messages_or_anything_wrong_is_not_good() -> None:
    good = story.Ending(
        order=msgspec.structs.replace(ORDER, blows=2, messages=10),
        seconds=1,
        hits={("kafka", "kill"): 1, ("consume.reading", "stop"): 1},
        messages={"sales": 4, "orders": 6},
        outputs=20,
        verdict=Verdict(),
        troubles=[],
    )
    changes: list[dict[str, Any]] = [
        {"hits": {("kafka", "kill"): 1}},
        {"messages": {"sales": 9}},
        {"verdict": Verdict(lost=["sales"])},
        {"verdict": Verdict(otherwise=["sales"])},
        {"troubles": ["sales: CursorUnexplainedError"]},
    ]

    assert good.is_good
    assert not any(msgspec.structs.replace(good, **change).is_good for change in changes)
