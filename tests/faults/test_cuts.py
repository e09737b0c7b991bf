"""The TCP connection to PostgreSQL or Kafka is cut: at every step, and anywhere."""

from collections.abc import Iterator
from concurrent.futures import Future
from random import Random
from typing import Final, Literal

import msgspec
import pytest

from child import IMPATIENT, Outcome
from fix_child import Children, check
from fix_late import MESSAGES, OF_A_TASK, RESULTS, at_once, visiting
from fix_pipeline import World
from fix_proxy import Cut, KafkaProxy, Proxy, nth, says, through
from fix_stack import Stack
from microbatch.crash import CrashPoint

Server = Literal["postgres", "kafka"]

SEEDS: Final = 3
LONG_SEEDS: Final = 60
PLACES: Final = [
    pytest.param(server, seed, marks=[] if seed < SEEDS else pytest.mark.long)
    for server in ("postgres", "kafka")
    for seed in range(SEEDS + LONG_SEEDS)
]


class Told(msgspec.Struct, frozen=True):
    """A story, told to its end.

    Attributes:
        hit: how the run ended whose connection was cut.
        next: how its retry ended.
    """

    world: World
    hit: Outcome
    next: Outcome


def tell(world: World, children: Children, stack: Stack, point: CrashPoint) -> Told:
    """A run stops at a point, and finds its connection cut when it goes on."""
    proxy = Proxy(stack.postgres_port)
    try:
        run = visiting(world, children, point)
        child = children.start(through(proxy, world), run, crash=f"{point}:stop")
        child.wait_until_stopped()
        proxy.plan(Cut(says(b"")))
        child.go_on()
        hit = child.outcome()
    finally:
        proxy.stop()
    return Told(world, hit, children.retry(world, run))


@pytest.fixture(scope="module")
def stories(stack: Stack, module_children: Children) -> Iterator[dict[CrashPoint, Future[Told]]]:
    """The story of each point, being told."""
    with at_once(stack, OF_A_TASK, lambda world, point: tell(world, module_children, stack, point)) as told:
        yield told


@pytest.mark.parametrize("point", OF_A_TASK)
def test_a_run_whose_connection_to_postgres_is_cut_at_any_point_is_finished_by_its_retry(
    stories: dict[CrashPoint, Future[Told]], point: CrashPoint
) -> None:
    told = stories[point].result()

    assert told.hit.error == "ConnectionLostError", told.hit
    assert told.world.results() == RESULTS
    assert check(told.world).messages == MESSAGES


@pytest.fixture(scope="module")
def requests(stack: Stack, module_children: Children) -> dict[Server, int]:
    """How many requests a run makes."""

    def count(world: World, server: Server) -> int:
        proxy = proxy_before(stack, server)
        try:
            module_children.succeed(through(proxy, world), world.run_of(1))
        finally:
            proxy.stop()
        return proxy.requests

    servers: list[Server] = ["postgres", "kafka"]
    with at_once(stack, servers, count) as counted:
        return {server: counted[server].result() for server in servers}


def proxy_before(stack: Stack, server: Server) -> Proxy:
    return Proxy(stack.postgres_port) if server == "postgres" else KafkaProxy(stack.kafka_port)


@pytest.mark.parametrize(("server", "seed"), PLACES)
def test_a_run_whose_connection_is_cut_anywhere_is_finished_by_its_retries(
    late: World, stack: Stack, children: Children, requests: dict[Server, int], server: Server, seed: int
) -> None:
    """At the n-th request or its answer, after some of its bytes; then it may reach the server again, or not."""
    chance = Random(f"{server} {seed}")  # noqa: S311 - the same place each time
    # A run may make far fewer requests than the one that was counted: each client asks until it knows its broker.
    at = nth(chance.randrange(1, requests[server] // 2))
    cut = Cut(at, chance.random() < 0.5, passing=chance.randrange(64), for_good=chance.random() < 0.5)
    proxy = proxy_before(stack, server)
    proxy.plan(cut)
    run = late.run_of(1, "cut off")
    try:
        outcome = children.do(through(proxy, late), run, constants=IMPATIENT)
    finally:
        proxy.stop()

    assert proxy.cut.is_set()
    assert not outcome.error or outcome.is_transient, outcome
    children.retry(late, run)
    # A cut may let a run end behind, which shows open windows: the next one goes on, and revisions have grown.
    children.retry(late, late.run_of(1, "next"))
    assert [result[:5] for result in late.results()] == [result[:5] for result in RESULTS]
    assert check(late).messages == MESSAGES
