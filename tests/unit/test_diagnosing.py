"""Which case a disagreement of Kafka and the ledger is: a function of what both say."""

from typing import Any, Final
from uuid import UUID

import pytest

from microbatch.diagnosing import Ahead, Case, Kept, NewLog, Overwritten, Seen, Truncated, diagnose
from microbatch.kafka import Ends
from microbatch.outbox import Cursor
from microbatch.settling import Whose

OURS, OTHER, FORMER, NEIGHBOUR = "ours", "other", "former", "neighbour"
TOPIC, NEW_TOPIC = UUID(int=1), UUID(int=2)
WHOSE: Final = Whose(["sales"], OURS, {FORMER: 7}, [NEIGHBOUR])


def found(*, marked: int = 5, intent: int | None = None, covered: int = 10, **seen: Any) -> Case | None:
    """The case of a ledger that has sent `marked`, over a Kafka that is as it should be but for `seen`."""
    kept = Kept(
        cluster_id="cluster",
        topic_id=TOPIC,
        marked=marked,
        intent=intent,
        first={0: 2, 1: 0},
        covered={0: (covered, covered)},
        unread={0: 3, 1: 0},
    )
    usual: dict[str, Any] = {
        "cluster_id": "cluster",
        "topic_id": TOPIC,
        "ends": {0: Ends(0, 10, 10)},
        "cursor": Cursor(OURS, 5),
        "positions": {0: 10},
        "newest": {OURS: 5},
        "empty": [],
    }
    return diagnose(WHOSE, kept, Seen(**(usual | seen)))


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"intent": 8},
        {"intent": 8, "cursor": Cursor(OURS, 8), "newest": {OURS: 8}},
        {"cursor": None},
        {"cursor": None, "newest": {OURS: 5, FORMER: 7}},
        {"cursor": None, "newest": {OURS: 5, NEIGHBOUR: 9}},  # another deployment, in the same database
        {"cursor": None, "newest": {}, "marked": 0},
        {"newest": {OURS: 5, OTHER: 3}},  # a deployment that shares the dead letters
    ],
)
def test_what_publish_explains_by_itself_is_no_case(seen: dict[str, Any]) -> None:
    assert found(**seen) is None


@pytest.mark.parametrize("cursor", ["", "somebody", Cursor(OURS, 4), Cursor(OTHER, 9), Cursor(FORMER, 7)])
def test_a_cursor_beside_messages_that_are_known_was_overwritten(cursor: Cursor | str) -> None:
    assert found(cursor=cursor) == Overwritten(str(cursor), marked=5, sent=5, newest=5)


@pytest.mark.parametrize("other", [{OTHER: 3}, {"no cursor": 0}])
def test_a_lost_cursor_beside_messages_of_others_is_for_a_person(other: dict[str, int]) -> None:
    """Publish does not explain it: another deployment may have the same dead-letter topic."""
    assert found(cursor=None, newest={OURS: 5, **other}) == Overwritten("", marked=5, sent=5, newest=5)


@pytest.mark.parametrize(("newest", "sent"), [(5, 5), (6, 8), (8, 8)])
def test_any_message_of_an_intent_says_that_all_of_it_was_sent(newest: int, sent: int) -> None:
    assert found(cursor="", intent=8, newest={OURS: newest}) == Overwritten("", marked=5, sent=sent, newest=newest)


@pytest.mark.parametrize("newest", [None, 3])
def test_messages_that_are_there_no_more_are_not_taken_for_unsent(newest: int | None) -> None:
    seen: dict[str, Any] = {"newest": {OURS: newest} if newest else {}}

    assert found(cursor=None, **seen) == Overwritten("", marked=5, sent=5, newest=newest)


def test_more_publications_of_ours_than_were_sent_say_that_the_ledger_is_a_copy() -> None:
    seen: dict[str, Any] = {"cursor": Cursor(OURS, 9), "newest": {OURS: 8}, "positions": {0: 12}}

    assert found(**seen) == Ahead(OURS, is_ours=True, marked=5, publication=9, behind={0: (10, 12)}, begins={})
    assert found(cursor="", newest={OURS: 8}) == Ahead(
        OURS, is_ours=True, marked=5, publication=8, behind={}, begins={}
    )


def test_messages_of_another_ledger_with_its_cursor_are_another_ledgers() -> None:
    ahead = Ahead(OTHER, is_ours=False, marked=5, publication=9, behind={}, begins={0: 2})

    assert found(cursor=Cursor(OTHER, 9), newest={OURS: 5, OTHER: 8}) == ahead
    assert found(cursor=None, newest={OTHER: 9}) == ahead


def test_what_a_former_ledger_has_sent_since_is_not_known() -> None:
    seen: dict[str, Any] = {"cursor": Cursor(FORMER, 8), "newest": {OURS: 5, FORMER: 8}}

    assert found(**seen) == Ahead(FORMER, is_ours=False, marked=5, publication=8, behind={}, begins={0: 2})


def test_a_log_that_ends_below_what_is_counted_was_truncated() -> None:
    assert found(covered=11, cursor="") == Truncated(TOPIC, {0: (10, 11)})


@pytest.mark.parametrize(
    ("seen", "clusters"),
    [({"topic_id": NEW_TOPIC}, None), ({"topic_id": NEW_TOPIC, "cluster_id": "another"}, ("cluster", "another"))],
)
def test_another_topic_comes_before_what_its_cursor_and_its_ends_say(
    seen: dict[str, Any], clusters: tuple[str, str] | None
) -> None:
    log: dict[str, Any] = {"cursor": None, "newest": {}, "ends": {0: Ends(2, 3, 3)}, "empty": ["results"]}

    assert found(**seen, **log) == NewLog(
        clusters=clusters,
        topics=(TOPIC, NEW_TOPIC),
        begins={0: 2},
        unread={0: 3},
        sent=5,
        newest=None,
        empty=["results"],
    )
