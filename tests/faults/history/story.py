"""One pipeline's history: its messages, a deployment that reads them in order, and one that reads them backwards."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Final

import msgspec

from faults.headline.pipelines import one
from faults.history.finals import Look, Watch
from fix_pipeline import World, with_topics_of_its_own
from fix_stack import Stack
from microbatch.clock import Clock
from microbatch.runs import Run
from microbatch.settings import Connections
from microbatch.topics import create_topics
from modes import work
from producers.base import of_interval, usual_shares
from producers.registry import PRODUCERS
from producers.sending import send_at_once
from recount.kafka import ends

Interval = tuple[datetime, datetime]

START: Final = Clock().now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Of the first minute: yesterday, so that retention lets it be, and nothing of it is in the future."""
AT_A_TIME: Final = 4
"""Runs of the backfill."""
PARTITIONS: Final = 2
SEED: Final = 8
BEFORE: Final = timedelta(hours=2)
"""So long before the first message the backfill begins: no window of any of them is older, by max_future and more."""
OPTIONS: Final[dict[str, Any]] = {"max_future": timedelta(minutes=5)}
"""Of all deployments. By as much is what history makes complete behind what it has read."""
BACKWARDS: Final[dict[str, dict[str, Any]]] = {
    "logins": {"start": "latest"},
    "number_pairs": {"start": "latest"},
    # It reads history too, a batch a run, from below, while backfills read it from anywhere.
    "orders": {"max_records": 200, "run_budget": timedelta(microseconds=1)},
    "sales": {"start": "latest", "shards": 2},
    "weather": {"start": "latest"},
}
"""Of the second deployment, by pipeline."""


class Plan(msgspec.Struct, frozen=True):
    """How much of it.

    Attributes:
        minutes: with messages.
        live: the last of them, which come while history is read.
        step: of a run; of one that reads in order twice as much.
        a_minute: events.
    """

    minutes: int
    live: int
    step: int
    a_minute: int

    def intervals(self, first: int, last: int, steps: int = 1) -> list[Interval]:
        """Those from one minute to another, of one or more steps each."""
        moments = [START + timedelta(minutes=n) for n in range(first, last + 1, steps * self.step)]
        return list(pairwise(moments))


class Told(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        in_order: the first deployment, which has read everything interval by interval.
        backwards: the second one.
        backfill: its runs of history.
        live_from: where the messages begin that came after it was deployed, by partition.
        looks: what somebody saw who looked at the second one all the while.
    """

    in_order: World
    backwards: World
    backfill: list[Run]
    live_from: dict[int, int]
    looks: list[Look]


def tell(name: str, plan: Plan, stack: Stack, databases: tuple[str, str]) -> Told:
    """All of it, each deployment in a database of its own."""
    prefix = f"history-{plan.minutes}"
    source = with_topics_of_its_own(one(name), prefix, PARTITIONS).source
    in_order, backwards = (
        World(
            msgspec.structs.replace(
                with_topics_of_its_own(one(name), f"{prefix}-{deployment}", PARTITIONS), source=source, **options
            ),
            Connections({"bootstrap.servers": stack.bootstrap}, database, f"{prefix}-{deployment}"),
        )
        for deployment, database, options in (
            ("in-order", databases[0], OPTIONS),
            ("backwards", databases[1], {**OPTIONS, **BACKWARDS[name]}),
        )
    )
    for world in (in_order, backwards):
        create_topics([world.pipeline], world.connections)
    deployed = plan.minutes - plan.live
    send(in_order, plan, plan.intervals(0, deployed))
    live_from = {partition: end.high for partition, end in ends(stack.bootstrap, source.name).items()}
    backfill, looks = read_backwards(backwards, plan, deployed)
    read_in_order(in_order, plan)
    return Told(in_order, backwards, backfill, live_from, looks)


def send(world: World, plan: Plan, intervals: Iterable[Interval]) -> None:
    """Send the events of some intervals: always the same."""
    producer, topic = PRODUCERS[world.pipeline.name], world.pipeline.source.name
    for interval in intervals:
        events = of_interval(producer, usual_shares(producer), plan.a_minute / 60, interval, SEED)
        send_at_once(topic, world.connections.kafka, events)


def read_in_order(world: World, plan: Plan) -> None:
    """Interval after interval; then a live run closes them."""
    intervals = plan.intervals(0, plan.minutes, steps=2)
    for number, interval in enumerate(intervals):
        work(world, Run(world.pipeline.name, f"interval {number}", mode="interval", interval=interval))
    work(world, Run(world.pipeline.name, "close", interval=intervals[-1]))


def read_backwards(world: World, plan: Plan, deployed: int) -> tuple[list[Run], list[Look]]:
    """Deploy it when so many minutes are on the topic; read these in disorder, while more come and are read live.

    Returns:
        The runs that have read history, and what was seen meanwhile.
    """
    name, history, live = world.pipeline.name, plan.intervals(0, deployed), plan.intervals(deployed, plan.minutes)
    history.insert(0, (START - BEFORE, START))
    backfill = [
        Run(name, f"backfill {number}", mode="interval", interval=interval) for number, interval in enumerate(history)
    ]

    def read_live() -> None:
        for number, interval in enumerate(live, 1):
            send(world, plan, [interval])
            work(world, Run(name, f"live {number}", interval=interval))

    work(world, Run(name, "live 0", interval=history[-1]))
    with Watch(world) as watch:
        with ThreadPoolExecutor(1) as schedule:
            reading = schedule.submit(read_live)
            work_at_once(world, backfill)
            reading.result()
        work(world.replace(run_budget=timedelta(minutes=5)), Run(name, "close", interval=live[-1]))
    return backfill, watch.looks


def work_at_once(world: World, runs: list[Run]) -> None:
    """Some runs at a time, in an order that nobody has thought of."""
    shuffled = Random(world.pipeline.name).sample(runs, len(runs))  # noqa: S311 - the same order each time
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in pool.map(lambda run: work(world, run), shuffled):
            pass
