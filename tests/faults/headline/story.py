"""The headline run from its first message to its verdict."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from faults.headline import plan, watcher
from faults.headline.feed import Feed, Source, Times, live, past
from faults.headline.judge import Verdict, compare, judge
from faults.headline.pipelines import five, output_topics
from faults.headline.servers import Servers
from faults.headline.watcher import Watcher
from faults.headline.work import Lane, Where
from fix_stack import Stack
from microbatch.clock import Clock
from microbatch.settings import Connections
from recount import story as recount_story
from recount.picture import Picture, take
from recount.place import Place

_LOOK_S: Final = 0.2
_TELL_S: Final = 5.0
_HOURS: Final = (timedelta(hours=26), timedelta(hours=2))
_MINUTES: Final = (timedelta(minutes=10), timedelta(minutes=2))


class Order(msgspec.Struct, frozen=True):
    """What kind of run.

    Attributes:
        blows: how many signals are sent, at least.
        messages: how many events are sent, at least.
        prefix: of the topics; empty: those of `dags/`.
        airflow: the stack has an Airflow that runs the pipelines too.
        deadline_s: after which it has failed.
    """

    seed: int
    blows: int
    messages: int
    prefix: str = ""
    airflow: bool = False
    deadline_s: float = 45 * 60


class Ending(msgspec.Struct):
    """What came of it.

    Attributes:
        hits: signals sent, by step and signal.
        messages: counted again by the recount, by pipeline.
        outputs: messages that the watcher saw.
        troubles: errors that no retry mends.
        deaths: processes that a signal ended which nobody had sent: as good as a kill, and worth a look.
    """

    order: Order
    seconds: float
    hits: dict[tuple[str, str], int]
    messages: dict[str, int]
    outputs: int
    verdict: Verdict
    troubles: list[str]
    deaths: list[str] = []

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, twice, out of order or otherwise wrong, and all was done that was ordered."""
        enough = sum(self.hits.values()) >= self.order.blows and sum(self.messages.values()) >= self.order.messages
        return enough and self.verdict.is_good and not self.troubles


class TooLongError(Exception):
    """It is not over by its deadline."""


Say = Callable[[str], None]


def tell(order: Order, stack: Stack, connections: Connections, folder: Path, say: Say) -> Ending:
    """All of it, on a stack where the pipelines' topics are and no pipeline has run.

    Raises:
        TooLongError: it is not over by its deadline.
    """
    began_s = time.monotonic()
    pipelines = five(order.prefix)
    is_over = threading.Event()
    hits: Counter[tuple[str, str]] = Counter()
    troubles, deaths = list[str](), list[str]()
    with _fed(order, connections.bootstrap) as feed, _watched(order, connections.bootstrap, folder) as watching:
        where = Where(order.prefix, str(folder), connections, feed, is_over, hits, troubles, deaths)
        lanes = {name: Lane(name, order.messages // order.blows, where) for name in pipelines}
        servers = Servers(stack, is_over, airflow=order.airflow)
        run = _Blows(order, lanes, servers, where, say, began_s)
        try:
            run.strike_all()
            run.come_to_rest()
        finally:
            is_over.set()
            for lane in lanes.values():
                lane.end()
        troubles += [f"a message was not sent: {text}" for text in feed.refused]
        say("the recount")
        pictures = [take(_place(name, connections)) for name in pipelines]
        verdict, outputs = _verdict(pictures, connections.bootstrap, order.prefix, watching)
    return Ending(
        order=order,
        seconds=time.monotonic() - began_s,
        hits=dict(hits),
        messages={picture.pipeline: picture.counted.messages for picture in pictures},
        outputs=outputs,
        verdict=verdict,
        troubles=troubles,
        deaths=deaths,
    )


# -- blows ---------------------------------------------------------------------------------------------------------


class _Blows:
    """All blows of the plan, each pipeline's one after the other, and the servers' between them."""

    def __init__(
        self, order: Order, lanes: dict[str, Lane], servers: Servers, where: Where, say: Say, began_s: float
    ) -> None:
        self._order = order
        self._lanes = lanes
        self._servers = servers
        self._where = where
        self._say = say
        self._began_s = began_s
        self._told_s = began_s
        blows = plan.make(order.seed, order.blows, tuple(lanes), airflow=order.airflow)
        self._processes = [blow for blow in blows if blow.victim == "process"]
        self._others = [blow for blow in blows if blow.victim != "process"]
        self._done = 0
        self._lock = threading.Lock()

    def strike_all(self) -> None:
        """Send all signals."""
        with ThreadPoolExecutor(len(self._lanes) + 1) as pool:
            futures = [pool.submit(self._strike, name) for name in self._lanes]
            futures.append(pool.submit(self._strike_servers))
            self._wait(futures)

    def come_to_rest(self) -> None:
        """Let everything run undisturbed until nothing is left to do."""
        self._until(self._where.feed.is_done, "all messages are sent")
        if self._order.airflow:
            minute = _minute_after(Clock().now())
            self._servers.repair()
            self._until(lambda: self._servers.has_closed(minute), "Airflow has closed the last minute")
            self._servers.stop_airflow()
        with ThreadPoolExecutor(len(self._lanes)) as pool:
            self._wait([pool.submit(lane.finish, lane.last_run()) for lane in self._lanes.values()])

    def _strike(self, name: str) -> None:
        """The blows against one pipeline's processes; its messages are sent as they go on."""
        lane, source = self._lanes[name], self._where.feed.sources[name]
        blows = [blow for blow in self._processes if blow.pipeline == name]
        for n, blow in enumerate(blows, 1):
            source.let(n / len(blows))
            lane.strike(blow)
            with self._lock:
                self._done += 1
            while self._servers_are_behind():
                source.let_more()
                lane.finish()

    def _strike_servers(self) -> None:
        while self._others:
            while self._done < self._others[0].after:
                if self._where.is_over.wait(_LOOK_S):
                    return
            blow = self._others[0]
            self._servers.strike(blow)
            with self._lock:
                self._where.hits[blow.step, blow.signal] += 1
                self._others.pop(0)

    def _servers_are_behind(self) -> bool:
        """Whether a server was to be hit a while ago: processes work on until it is, so that it has work around it."""
        with self._lock:
            return bool(self._others) and self._done > self._others[0].after + len(self._lanes)

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        """Until all are done. If one fails, the others end too."""
        try:
            self._until(lambda: all(future.done() for future in futures) or bool(_errors(futures)), "all is done")
        except BaseException:
            self._where.is_over.set()
            raise
        for error in _errors(futures):
            self._where.is_over.set()
            raise error

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            seconds = time.monotonic() - self._began_s
            if seconds > self._order.deadline_s:
                doing = "; ".join(lane.doing for lane in self._lanes.values() if lane.doing)
                raise TooLongError(f"{seconds:.0f} s, and still not: {what} ({doing})")
            if time.monotonic() - self._told_s > _TELL_S:
                self._told_s = time.monotonic()
                hits = sum(self._where.hits.values())
                self._say(
                    f"{seconds:5.0f} s  {self._where.feed.sent:7,} of {self._order.messages:,} messages"
                    f"  {hits:4} of {self._order.blows} signals"
                )
            time.sleep(_LOOK_S)


def _errors(futures: Sequence[Future[None]]) -> list[BaseException]:
    """Why some have failed."""
    return [error for future in futures if future.done() and (error := future.exception())]


def _minute_after(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


# -- what goes in and what is seen -----------------------------------------------------------------------------------


@contextmanager
def _fed(order: Order, bootstrap: str) -> Iterator[Feed]:
    """Airflow's runs close the minutes of the clock; without it, minutes of the past are worked through."""
    pipelines = five(order.prefix)
    events = -(-order.messages // len(pipelines))
    sources = {
        name: Source(name, pipeline.source.name, events, order.seed, _times(name, events, order))
        for name, pipeline in pipelines.items()
    }
    feed = Feed(bootstrap, sources)
    try:
        yield feed
    finally:
        feed.end()


def _times(name: str, events: int, order: Order) -> Times:
    """An observation is a repeat within two minutes, and hours have to end: a day of weather goes by."""
    if order.airflow and name != "weather":
        return live
    ago, until = _HOURS if name == "weather" else _MINUTES
    return past(Clock().now() - ago, ago - until, events)


@contextmanager
def _watched(order: Order, bootstrap: str, folder: Path) -> Iterator[Watcher]:
    partitions = [place for topic in _topics(order.prefix) for place in watcher.partitions(bootstrap, topic)]
    watching = Watcher(bootstrap, partitions, folder)
    try:
        yield watching
    finally:
        watching.end()


def _topics(prefix: str) -> list[str]:
    return [topic for pipeline in five(prefix).values() for topic in output_topics(pipeline)]


# -- the verdict -----------------------------------------------------------------------------------------------------


def _place(name: str, connections: Connections) -> Place:
    at = (connections.bootstrap, connections.postgres, connections.deployment)
    return Place(name, *at, settled=True, compacted=False, patience_s=20)


def _verdict(pictures: list[Picture], bootstrap: str, prefix: str, watching: Watcher) -> tuple[Verdict, int]:
    fresh, ends = watcher.read_again(bootstrap, _topics(prefix))
    seen = watching.finish(ends)
    verdict = judge(seen, {topic: origins for picture in pictures for topic, origins in _wanted(picture).items()})
    verdict.add(compare(seen, fresh))
    for picture in pictures:
        report = recount_story.judge(picture)
        verdict.otherwise += [f"{picture.pipeline}: {text}" for text in report.differences]
        if not report.messages:
            verdict.otherwise.append(f"{picture.pipeline}: no messages, which proves nothing")
    return verdict, len(seen)


def _wanted(picture: Picture) -> dict[str, set[tuple[int, int]]]:
    """The origins that topics of rows, pairs and dead letters must have, by the independent recount of the input."""
    definition, counted = picture.ledger.definition, picture.counted
    wanted = {definition.dead_letters: set(counted.rejects)}
    if definition.stream is not None and definition.stream.target.topic is not None:
        wanted[definition.stream.target.topic] = set(counted.passed)
    for output, pairing in zip(definition.pairs, counted.pairings, strict=True):
        if output.target.topic is not None:
            wanted[output.target.topic] = set(pairing.pairs)
    return wanted
