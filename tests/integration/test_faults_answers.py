"""PostgreSQL's answer is lost, or the request before it: the ledger knows, and the next run asks it."""

from collections.abc import Callable

import pytest

from fix_child import Children, check
from fix_late import MESSAGES, RESULTS
from fix_pipeline import World
from fix_proxy import Proxy
from microbatch.crash import CrashPoint

STEPS = [
    pytest.param("consume.before_commit", b"COMMIT", id="a batch's commit"),
    pytest.param("consume.before_run_completed", b"insert into microbatch.run ", id="the run's completion"),
    pytest.param("publish.after_numbering", b"COMMIT", id="a merge's commit"),
    pytest.param("publish.after_fence", b"set intent", id="an intent"),
    pytest.param("publish.after_kafka_commit", b"COMMIT", id="a mark's commit"),
]


@pytest.mark.parametrize("lost", [Proxy.lose_answer_to, Proxy.lose_request])
@pytest.mark.parametrize(("point", "text"), STEPS)
def test_an_answer_or_a_request_of_postgres_that_is_lost_changes_nothing(
    late: World,
    proxy: Proxy,
    through: Callable[[World], World],
    children: Children,
    point: CrashPoint,
    text: bytes,
    lost: Callable[[Proxy, bytes], None],
) -> None:
    child = children.start(through(late), late.run_of(1, "cut off"), crash=f"{point}:stop")
    child.wait_until_stopped()
    lost(proxy, text)

    child.go_on()

    assert child.outcome().error == "ConnectionLostError", child.outcome()
    assert proxy.cut.is_set()
    children.succeed(late, late.run_of(1, "cut off"))
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_a_batch_whose_commit_was_not_answered_is_in_the_ledger_and_not_read_again(
    late: World, proxy: Proxy, through: Callable[[World], World], children: Children
) -> None:
    child = children.start(through(late), late.run_of(1, "cut off"), crash="consume.before_commit:stop")
    child.wait_until_stopped()
    proxy.lose_answer_to(b"COMMIT")
    child.go_on()
    assert child.outcome().is_ours

    kept = late.rows("select batch_id, messages from microbatch.batch where run_id = 'cut off'")
    children.succeed(late, late.run_of(1, "cut off"))

    assert [messages for _, messages in kept] == [5]
    assert late.rows("select batch_id, messages from microbatch.batch where run_id = 'cut off'")[:1] == kept
    check(late)
