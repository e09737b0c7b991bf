"""An answer of PostgreSQL or Kafka is lost, or the request before it: the ledger and the cursor know what happened."""

from collections.abc import Iterator
from concurrent.futures import Future
from itertools import product
from typing import Final

import msgspec
import pytest

from child import IMPATIENT, Outcome
from fix_child import Children, check
from fix_late import MESSAGES, RESULTS, at_once
from fix_pipeline import World
from fix_proxy import (
    ADD_OFFSETS_TO_TXN,
    ADD_PARTITIONS_TO_TXN,
    END_TXN,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Cut,
    KafkaProxy,
    Proxy,
    calls,
    says,
    through,
)
from fix_stack import Stack
from microbatch.crash import CrashPoint

OF_POSTGRES: Final[dict[str, tuple[CrashPoint, bytes]]] = {
    "a batch's commit": ("consume.before_commit", b"COMMIT"),
    "the run's completion": ("consume.before_run_completed", b"insert into microbatch.run "),
    "a merge's commit": ("publish.after_numbering", b"COMMIT"),
    "an intent": ("publish.after_fence", b"set intent"),
    "a mark's commit": ("publish.after_kafka_commit", b"COMMIT"),
}
"""Requests, and the crash points before them."""
OF_KAFKA: Final = {
    "the producer's id": INIT_PRODUCER_ID,
    "the transaction's partitions": ADD_PARTITIONS_TO_TXN,
    "messages": PRODUCE,
    "the transaction's group": ADD_OFFSETS_TO_TXN,
    "positions and cursor": TXN_OFFSET_COMMIT,
    "the transaction's commit": END_TXN,
}


class Loss(msgspec.Struct, frozen=True):
    """What is lost: the answer to a request, or the request; and whether the server can be reached again at once."""

    request: str
    of_answer: bool
    for_good: bool

    def __str__(self) -> str:
        what = "answer to" if self.of_answer else "request of"
        return f"{what} {self.request}, {'then silence' if self.for_good else 'then all is well'}"


class Told(msgspec.Struct, frozen=True):
    """A story, told to its end.

    Attributes:
        cut: whether the connection was cut.
        hit: how the run ended whose connection it was.
        next: how its retry ended, which has a good connection.
    """

    world: World
    cut: bool
    hit: Outcome
    next: Outcome


LOSSES: Final = [
    *(Loss(request, of_answer, for_good=False) for request, of_answer in product(OF_POSTGRES, (False, True))),
    Loss("a batch's commit", of_answer=True, for_good=True),
    *(Loss(*each) for each in product(OF_KAFKA, (False, True), (False, True))),
]


def tell(world: World, children: Children, stack: Stack, loss: Loss) -> Told:
    """A run stops before the request; then its connection is cut there, and its retry does the rest."""
    if loss.request in OF_POSTGRES:
        point, text = OF_POSTGRES[loss.request]
        proxy, wanted = Proxy(stack.postgres_port), says(text)
    else:
        point, proxy = "publish.before_fence", KafkaProxy(stack.kafka_port)
        wanted = calls(OF_KAFKA[loss.request])
    run = world.run_of(1, "cut off")
    try:
        child = children.start(through(proxy, world), run, crash=f"{point}:stop", constants=IMPATIENT)
        child.wait_until_stopped()
        proxy.plan(Cut(wanted, loss.of_answer, for_good=loss.for_good))
        child.go_on()
        hit = child.outcome()
    finally:
        proxy.stop()
    return Told(world, proxy.cut.is_set(), hit, children.retry(world, run))


@pytest.fixture(scope="module")
def stories(stack: Stack, module_children: Children) -> Iterator[dict[Loss, Future[Told]]]:
    """The story of each loss, being told."""
    with at_once(stack, LOSSES, lambda world, loss: tell(world, module_children, stack, loss)) as told:
        yield told


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_what_is_lost_on_the_way_changes_nothing(stories: dict[Loss, Future[Told]], loss: Loss) -> None:
    told = stories[loss].result()

    assert told.cut
    if loss.request in OF_POSTGRES:
        assert told.hit.error == "ConnectionLostError", told.hit
    elif loss.for_good:
        assert told.hit.is_transient, told.hit
    else:
        assert not told.hit.error or told.hit.is_transient, told.hit
    assert told.world.results() == RESULTS
    assert check(told.world).messages == MESSAGES


def test_a_batch_whose_commit_was_not_answered_is_in_the_ledger_and_not_read_again(
    late: World, proxy: Proxy, children: Children
) -> None:
    child = children.start(through(proxy, late), late.run_of(1, "cut off"), crash="consume.before_commit:stop")
    child.wait_until_stopped()
    proxy.plan(Cut(says(b"COMMIT"), at_answer=True))
    child.go_on()
    assert child.outcome().is_ours

    kept = late.rows("select batch_id, messages from microbatch.batch where run_id = 'cut off'")
    children.succeed(late, late.run_of(1, "cut off"))

    assert [messages for _, messages in kept] == [5]
    assert late.rows("select batch_id, messages from microbatch.batch where run_id = 'cut off'")[:1] == kept
    check(late)


@pytest.mark.parametrize("for_good", [False, True], ids=["then all is well", "then silence"])
def test_a_kafka_transaction_whose_commit_was_not_answered_is_not_sent_again(
    stories: dict[Loss, Future[Told]], *, for_good: bool
) -> None:
    told = stories[Loss("the transaction's commit", of_answer=True, for_good=for_good)].result()

    assert bool(told.hit.error) is for_good
    assert told.next.sent == 0
    assert any("had been sent" in line for line in told.next.log) is for_good
