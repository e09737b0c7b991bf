"""Large amounts in bounded memory: a backlog of messages to send, keys in one window, hours of downtime.

The long forms have a day's worth; the short ones are just past the bounds that they are about.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Final

import pytest

from fix_child import Children, check
from fix_pipeline import T0, Message, World, sale
from microbatch import KafkaTopic, Stream
from microbatch.topics import create_topics
from outside import on_topic

MakeWorld = Callable[..., World]

PEAK_MIB: Final = 500
# So that several transactions are needed for what a short form sends.
SMALL_LOTS: Final[dict[str, float]] = {"sending.LOT_MESSAGES": 10_000}
"""What a task may have at most; the long forms handle more than that."""

is_long = (pytest.mark.long, pytest.mark.timeout(3600))


def padded(number: int) -> str:
    """A seller with a name of 300 characters."""
    return f"{number:0300}"


def transactions(world: World, topic: str) -> list[int]:
    """How many messages each Kafka transaction has put into a topic of one partition: a marker stands between them."""
    offsets = [message.offset for message in on_topic(world, topic)]
    ends = [number for number, (this, following) in enumerate(pairwise(offsets), 1) if following > this + 1]
    return [end - start for start, end in pairwise([0, *ends, len(offsets)])]


@pytest.mark.parametrize("count", [25_000, pytest.param(1_000_000, marks=is_long)])
def test_a_backlog_of_outgoing_messages_is_sent_in_bounded_transactions_also_over_a_kill(
    make_world: MakeWorld, children: Children, count: int
) -> None:
    made = make_world(partitions=1)
    topic = KafkaTopic(f"{made.pipeline.source.name}-rows", partitions=1)
    world = made.replace(outputs=[Stream(columns={"seller": "seller_id"}, to=[topic])])
    create_topics([world.pipeline], world.connections)
    world.send(*(Message(sale(padded(number), number)) for number in range(count)))
    run = world.run_of(0, "backlog")
    consumed = children.succeed(world, run, task="consume")

    assert children.start(
        world, run, task="publish", crash="publish.after_kafka_commit:kill:2", constants=SMALL_LOTS
    ).died_by_kill()
    published = children.succeed(world, run, task="publish", constants=SMALL_LOTS)

    sizes = transactions(world, topic.name)
    assert sum(sizes) == count
    assert max(sizes) <= SMALL_LOTS["sending.LOT_MESSAGES"]
    assert max(consumed.peak_mib, published.peak_mib) < PEAK_MIB
    assert check(world).messages == count


@pytest.mark.parametrize("count", [25_000, pytest.param(1_000_000, marks=is_long)])
def test_many_keys_of_one_window_are_all_published_also_over_a_kill(
    world: World, children: Children, count: int
) -> None:
    world.send(*(Message(sale(f"seller {number}", number), number % 2) for number in range(count)))
    run = world.run_of(0, "many")
    crash = "publish.inside_transaction:kill:2"
    assert children.start(world, run, crash=crash, constants=SMALL_LOTS).died_by_kill()

    published = children.succeed(world, run, constants=SMALL_LOTS)

    assert 0 < published.sent < count, "what was sent before the kill is not sent again"
    assert published.peak_mib < PEAK_MIB
    assert world.rows("select count(*), sum(amount_usd) from aggregated_sales where is_final and revision = 1") == [
        (count, count * (count - 1) // 2)
    ]
    assert check(world).messages == count


def downtime(hours: int, a_minute: int) -> Iterator[Message]:
    """What came until T0: each minute has as many sales of one seller, in two partitions."""
    for number in range(hours * 60 * a_minute):
        at = T0 - 3600 * hours + 60 * (number // a_minute)
        yield Message(sale("ada", 1, at), number % 2, at_s=at)


@pytest.mark.parametrize(("hours", "a_minute"), [(3, 20), pytest.param(24, 1_500, marks=is_long)])
def test_hours_of_downtime_are_caught_up_in_bounded_memory_with_results_on_the_way(
    make_world: MakeWorld, children: Children, hours: int, a_minute: int
) -> None:
    count = hours * 60 * a_minute
    world = make_world(max_records=count // 8, run_budget=timedelta(microseconds=1))  # a run is a batch
    world.send(*downtime(hours, a_minute))
    seen, peaks_mib, behind = [], [], count

    while behind:
        outcome = children.succeed(world, world.run_of(-1))
        peaks_mib.append(outcome.peak_mib)
        ((behind,),) = world.rows("select behind from microbatch.run order by completed_at desc limit 1")
        seen.append(world.rows("select coalesce(sum(sales), 0)::int from aggregated_sales")[0][0])

    assert len(seen) >= 8
    assert seen == sorted(set(seen)), "each run shows more than the one before"
    assert world.results() == [(n, "ada", a_minute, a_minute, True, revision) for n, *_, revision in world.results()]
    assert len(world.results()) == hours * 60
    assert max(peaks_mib) < PEAK_MIB
    assert check(world).messages == count
