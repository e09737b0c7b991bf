"""Shards and partitions that change under a live pipeline: messages come all the time, and old runs meet new ones."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from threading import Event
from typing import Any, Final

from fix_child import Child, Children, check, wait_for, waiting
from fix_others import add_partition
from fix_pipeline import T0, Message, World, interval, sale
from microbatch import Pairs, PostgresTable, Stream
from microbatch.consume import consume
from microbatch.publish import publish
from microbatch.runs import Run
from microbatch.topics import create_topics
from modes import at, of_interval, work
from outside import sink

MakeWorld = Callable[..., World]

LOT: Final = 24
"""Messages that the feed sends at a time."""
PACE_S: Final = 0.2
"""How long it rests in between."""
FIRST: Final = -2 * 1440
"""The minute in which messages begin, counted from T0."""

COLUMNS: Final = {"seller_id": "seller_id", "amount_usd": "amount_usd", "sale_ts": "sale_ts"}


def sales(partitions: int, seed: int, minute: int) -> list[Message]:
    """Sales of a minute, some of the minute before it, in any order; some that nobody can read."""
    chance = random.Random(seed)  # noqa: S311 - the same sales each time
    starts = [T0 + 60 * (minute - chance.choice([0, 0, 0, 1])) for _ in range(LOT)]
    values = [
        sale(chance.choice(["ada", "bob"]), chance.randrange(9), start + chance.randrange(60)) for start in starts
    ]
    values[chance.randrange(LOT)] = b"junk"
    return [Message(value, at % partitions, at_s=T0 + 60 * minute + 59) for at, value in enumerate(values)]


class Feed:
    """Sends messages of a minute to all partitions, until it is told to stop.

    Attributes:
        minute: of their event times, counted from T0.
        partitions: of the source.
        sent: how many have arrived.
    """

    def __init__(self, world: World, partitions: int) -> None:
        self.minute = FIRST
        self.partitions = partitions
        self.sent = 0
        self.is_over = Event()
        self._world = world

    def send(self) -> None:
        """Send, until it is over."""
        for seed in count():
            self._world.send(*sales(self.partitions, seed, self.minute))
            self.sent += LOT
            if self.is_over.wait(PACE_S):
                return

    def wait_for_more(self) -> None:
        """Wait until each partition has something that nobody can have read yet: one lot may be on its way."""
        wanted = self.sent + 2 * LOT
        wait_for("more messages", lambda: self.sent >= wanted or self.is_over.is_set())


@contextmanager
def feeding(world: World, partitions: int) -> Iterator[Feed]:
    feed = Feed(world, partitions)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(feed.send)
        sending.add_done_callback(lambda _: feed.is_over.set())
        try:
            feed.wait_for_more()
            yield feed
        finally:
            feed.is_over.set()
    sending.result()


def shared(make_world: MakeWorld, partitions: int, **changes: Any) -> World:
    """Sales as rows, on a topic, and in windows: all that shards can share."""
    world = make_world(partitions=partitions, **changes)
    return with_outputs(world, Stream(columns=COLUMNS, to=[PostgresTable("sale"), sink(world, "rows")]))


def in_order(make_world: MakeWorld, partitions: int) -> World:
    """The first of a seller's sales at each moment, and pairs of them: what needs the order of one shard."""
    world = make_world(partitions=partitions)
    stream = Stream(columns=COLUMNS, unique=["seller_id", "sale_ts"], to=[PostgresTable("sale"), sink(world, "rows")])
    return with_outputs(world, stream, Pairs("amount_usd", 8, to=[PostgresTable("pair"), sink(world, "pairs")]))


def with_outputs(world: World, *outputs: Stream | Pairs) -> World:
    """The same world with these outputs too."""
    wider = world.replace(outputs=[*world.pipeline.outputs, *outputs])
    create_topics([wider.pipeline], wider.connections)
    return wider


class Runs:
    """Runs of the minutes in their order, as a DAG does them: a process for each shard, and then publish."""

    def __init__(self, children: Children, feed: Feed) -> None:
        self._children = children
        self._feed = feed

    def next(self, max_records: int | None = None) -> Run:
        """The run of the minute that ends now; what is sent from here on is of the next one."""
        minute = self._feed.minute
        run = Run("sales", f"minute {minute}", interval=interval(minute), max_records=max_records)
        self._feed.minute += 1
        self._feed.wait_for_more()
        return run

    def start(self, world: World, run: Run, *shards: int, crash: str = "") -> list[Child]:
        """Start consume for some shards at the same time."""
        return [
            self._children.start(world, run, task="consume", shards=(shard,), crash=crash)
            for shard in shards or range(world.pipeline.shards)
        ]

    def finish(self, world: World, run: Run, started: list[Child]) -> None:
        """See them through, each tried again after what may pass, and publish."""
        for shard, child in enumerate(started):
            outcome = child.outcome()
            while outcome.error:
                assert outcome.is_transient, f"{outcome.error}: {outcome.text}"
                outcome = self._children.do(world, run, task="consume", shards=(shard,))
        self._children.succeed(world, run, task="publish")

    def do(self, world: World) -> Run:
        """A whole run."""
        run = self.next()
        self.finish(world, run, self.start(world, run))
        return run

    def stopped(self, world: World, run: Run, shard: int, point: str) -> Child:
        """A shard whose process has stopped at a crash point."""
        (child,) = self.start(world, run, shard, crash=f"{point}:stop")
        child.wait_until_stopped()
        return child


def closed_until(world: World) -> Any:
    return world.rows("select closed_until from microbatch.pipeline")[0][0]


def end_of(run: Run) -> datetime:
    assert run.interval is not None
    return run.interval[1]


# -- shards ------------------------------------------------------------------------------------------------


def test_one_shard_becomes_four_and_one_again_while_messages_come(make_world: MakeWorld, children: Children) -> None:
    """Each change meets a run of the layout before it; of the shards that are removed, two come back late."""
    one = shared(make_world, partitions=4)
    four = one.replace(shards=4)
    with feeding(one, partitions=4) as feed:
        runs = Runs(children, feed)
        runs.do(one)

        # Growing: the four wait for the lock, or for the ranges, of the one; what it has read they have to leave.
        old = runs.stopped(one, runs.next(), 0, "consume.before_commit")
        grown = runs.next()
        started = runs.start(four, grown)
        wait_for("all four wait for the old one", lambda: len(waiting(four)) == 4)
        old.go_on()
        assert not old.outcome().error
        runs.finish(four, grown, started)
        assert closed_until(four) == end_of(grown)

        # Shrinking: two of the four sleep, one with nothing in its hands, one between two batches; another one dies,
        # and so does the first publish of the single shard.
        last = runs.next(max_records=4)
        zombies = [runs.stopped(four, last, 3, "consume.after_locks")]
        assert runs.start(four, last, 1, crash="consume.inside_copy")[0].died_by_kill()
        feed.wait_for_more()
        zombies.append(runs.stopped(four, last, 2, "consume.between_batches"))
        shrunk = runs.next()
        children.succeed(one, shrunk, task="consume")
        assert children.start(one, shrunk, task="publish", crash="publish.after_kafka_commit").died_by_kill()
        for zombie in zombies:
            zombie.go_on()
            assert not zombie.outcome().error
        assert end_of(runs.do(one)) == closed_until(one)

    one.run(0)
    assert check(one).messages == feed.sent
    assert one.rows("select array_agg(distinct shard order by shard) from microbatch.batch") == [([0, 1, 2, 3],)]


def test_shards_that_are_removed_while_they_read_an_interval_leave_it_unfinished_in_sight(
    make_world: MakeWorld,
) -> None:
    """Airflow removes what is left of their tasks. No message of theirs counts twice, and the windows are not final."""
    margin = timedelta(seconds=1)
    two = make_world(shards=2, start=at(180), max_future=margin)
    one = two.replace(shards=1)
    two.send(*(Message(sale("ada", 1, int(at(60).timestamp())), n % 2, at_s=at(60).timestamp()) for n in range(4)))
    two.send(*(Message(sale("ada", 1, int(at(240).timestamp())), n, at_s=at(240).timestamp()) for n in range(2)))
    two.run(minute=4)
    run = of_interval(0, 120, "backfill")
    consume(two.pipeline, 0, run, two.connections)
    publish(two.pipeline, run, two.connections)

    one.run(minute=5)
    unfinished = [result[1:5] for result in one.results() if result[0] == 1]
    work(one, of_interval(0, 120, "backfill again"))

    assert unfinished == [("ada", 2, 2, False)]
    assert [result[1:5] for result in one.results() if result[0] == 1] == [("ada", 4, 4, True)]
    assert check(one).messages == 6


# -- partitions --------------------------------------------------------------------------------------------


def test_partitions_that_are_added_to_shards_count_from_their_first_message(
    make_world: MakeWorld, children: Children
) -> None:
    check_growth(shared(make_world, partitions=2, shards=2), children)


def test_partitions_that_are_added_to_pairs_and_unique_count_from_their_first_message(
    make_world: MakeWorld, children: Children
) -> None:
    check_growth(in_order(make_world, partitions=2), children)


def check_growth(world: World, children: Children) -> None:
    """A partition appears under a batch, and another one between a run's registration and its first batch."""
    with feeding(world, partitions=2) as feed:
        runs = Runs(children, feed)
        runs.do(world)
        for point in ("consume.before_commit", "consume.after_register"):
            run = runs.next()
            old = runs.stopped(world, run, 0, point)
            feed.partitions = add_partition(world) + 1
            feed.wait_for_more()
            old.go_on()
            others = range(1, world.pipeline.shards)
            runs.finish(world, run, [old, *(runs.start(world, run, *others) if others else [])])
        assert end_of(runs.do(world)) == closed_until(world)

    world.run(0)
    assert check(world).messages == feed.sent
    first = "select partition, first_offset, covered_until > 0 from microbatch.partition_progress order by partition"
    assert world.rows(first) == [(partition, 0, True) for partition in range(4)]
