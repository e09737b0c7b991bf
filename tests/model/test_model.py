"""The model of the protocol: nothing breaks in its small worlds, and something does without each protection."""

from typing import Final

import pytest

from model.scenarios import SCENARIOS
from model.search import search, walk
from model.state import PROTECTIONS

STATES: Final = 4_000
"""Of each world; `python -m model` looks at all of them, which takes a minute."""

BROKEN: Final = {
    "register": "latest",
    "exclusion": "layouts",
    "definition_lock": "definitions",
    "idle_timeout": "overlap",
    "complement": "gap",
    "read_committed": "foreign, two",
    "segments_tx": "numbers",
    "caught_up": "foreign",
    "high_watermark": "foreign",
    "all_partitions": "foreign",
    "complete_from": "latest",
    "ahead": "latest, early event",
    "joined": "history, gap",
    "notes": "history, parts",
    "all_joined": "history, two",
    "closed_partial": "history, gap",
    "redo_row": "redo twice",
    "replace": "behind, redo",
    "touch_old": "retract",
    "new_rejects": "redo",
    "close_first": "merge",
    "touched_first": "history, gap",
    "merge_tx": "retract",
    "all_keys": "behind, redo",
    "behind": "foreign",
    "only_changes": "redo",
    "revisions_go_on": "retract",
    "numbered_by_merge": "gap",
    "hold_back": "gap",
    "hold_back_low": "history, gap",
    "one_range": "gap, around",
    "one_statement": "gap",
    "publish_lock": "late",
    "session_timeout": "kafka",
    "one_session": "other ledger",
    "fencing": "kafka",
    "cluster_check": "other cluster",
    "intent": "kafka",
    "cursor": "other ledger",
    "ledger_uuid": "other ledger",
    "atomic_offsets": "kafka",
    "stable": "kafka",
    "tail_check": "restore, no cursor",
    "renew_fenced": "zombie publisher",
    "exclusion + shard_lock": "overlap",
    "redo_row + shard_lock": "redo twice",
}
"""By protection, or two that stand in for each other: a world that breaks without."""

FOR_PEACE: Final = {"shard_lock"}
"""Without it nothing is wrong: claimants are refused by the constraint, or deadlock in it."""


@pytest.mark.parametrize("world", SCENARIOS)
def test_wherever_everything_is_killed_a_clean_run_loses_and_repeats_nothing(world: str) -> None:
    found, states, is_whole = search(world, frozenset(), STATES)

    assert found is None, found
    assert is_whole or states >= STATES


def test_random_walks_through_large_worlds_lose_and_repeat_nothing() -> None:
    assert walk(frozenset(), walks=40, seed=1) is None


@pytest.mark.parametrize("protections", BROKEN)
def test_without_a_protection_something_breaks(protections: str) -> None:
    found, _, _ = search(BROKEN[protections], frozenset(protections.split(" + ")), max_states=100_000)

    assert found is not None


def test_every_protection_is_taken_away() -> None:
    assert {name for name in BROKEN if " + " not in name} | FOR_PEACE == set(PROTECTIONS)
