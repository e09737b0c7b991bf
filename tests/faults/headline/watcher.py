"""A process that reads all output topics, read_committed, from before the first message to after the last one.

It is never killed, and knows nothing of the engine. It keeps the place in each partition itself.
"""

import hashlib
import multiprocessing
import signal
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from faults.headline.judge import Seen
from recount.kafka import Message, ends, read

Ends = dict[tuple[str, int], int]
_KAFKA: Final = {
    "group.id": "headline-watcher",
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "reconnect.backoff.max.ms": 500,
    "log_level": 0,
}
_WAIT_S: Final = 0.2
_PATIENCE_S: Final = 60.0


class WatcherError(Exception):
    """It could not read on."""


class Watcher:
    """The process, seen from outside."""

    def __init__(self, bootstrap: str, partitions: Iterable[tuple[str, int]], folder: Path) -> None:
        self._file = folder / "seen.msgpack"
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=watch, args=(bootstrap, list(partitions), self._file, theirs))
        self._process.start()
        theirs.close()

    def finish(self, until: Ends) -> list[Seen]:
        """All that it has seen, once it has read up to these ends.

        Raises:
            WatcherError: it could not.
        """
        self._pipe.send(until)
        if not self._pipe.poll(_PATIENCE_S):
            raise WatcherError("the watcher does not come to the end of the topics")
        if answer := self._pipe.recv():
            raise WatcherError(answer)
        return msgspec.msgpack.decode(self._file.read_bytes(), type=list[Seen])

    def end(self) -> None:
        """It is not needed any more."""
        self._process.kill()
        self._process.join()


def watch(bootstrap: str, partitions: list[tuple[str, int]], file: Path, pipe: Connection) -> None:
    """The process' main function: read until it is told the ends and has reached them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    places: Ends = dict.fromkeys(partitions, OFFSET_BEGINNING)
    seen: list[Seen] = []
    until: Ends | None = None
    error = ""
    while not error and (until is None or any(places[place] < end for place, end in until.items())):
        consumer = Consumer({"bootstrap.servers": bootstrap, **_KAFKA})
        consumer.assign([TopicPartition(*place, offset) for place, offset in places.items()])
        while not error and (until is None or any(places[place] < end for place, end in until.items())):
            if until is None and pipe.poll():
                until = pipe.recv()
            raws = consumer.consume(1000, _WAIT_S)
            if any(_is_lost(raw) for raw in raws):
                break  # a new client, from the same places
            error = next((text for raw in raws if (text := _take(raw, places, seen))), "")
        consumer.close()
    file.write_bytes(msgspec.msgpack.encode(seen))
    pipe.send(error)


def _is_lost(raw: Any) -> bool:
    return raw.error() is not None and raw.error().fatal()


def _take(raw: Any, places: Ends, seen: list[Seen]) -> str:
    """Note a message or the end of a partition; returns what is wrong with it."""
    error, place, offset = raw.error(), (raw.topic(), raw.partition()), raw.offset()
    if error is None:
        if offset < places[place]:
            return f"{place}: offset {offset} came after {places[place] - 1}"
        places[place] = offset + 1
        seen.append(
            seen_of(Message(*place, offset, raw.timestamp()[1], raw.key(), raw.value(), tuple(raw.headers() or ())))
        )
    elif error.code() == KafkaError._PARTITION_EOF:
        places[place] = max(places[place], offset)
    elif error.code() == KafkaError._AUTO_OFFSET_RESET:
        return f"{place}: {error.str()}"
    return ""  # whatever else it is, the client goes on by itself once the broker is back


def seen_of(message: Message) -> Seen:
    """What is kept of a message."""
    source, offset = message.header("microbatch.partition"), message.header("microbatch.offset")
    revision = message.header("microbatch.revision")
    whole = msgspec.msgpack.encode((message.timestamp_ms, message.key, message.value, message.headers))
    return Seen(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        origin=None if source is None or offset is None else (int(source), int(offset)),
        revision=None if revision is None else int(revision),
        digest=hashlib.blake2b(whole, digest_size=16).digest(),
    )


def read_again(bootstrap: str, topics: Iterable[str]) -> tuple[list[Seen], Ends]:
    """What a fresh reader sees now, and where the topics end."""
    seen, places = list[Seen](), Ends()
    for topic in topics:
        spans = {partition: (end.low, end.last_stable) for partition, end in _stable_ends(bootstrap, topic).items()}
        seen += [seen_of(message) for message in read(bootstrap, topic, spans)]
        places |= {(topic, partition): end for partition, (_, end) in spans.items()}
    return seen, places


def _stable_ends(bootstrap: str, topic: str) -> Mapping[int, Any]:
    """Once no transaction is open: a commit is answered before its markers are in the partitions."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        found = ends(bootstrap, topic)
        if all(end.last_stable == end.high for end in found.values()):
            return found
        if time.monotonic() > deadline_s:
            raise WatcherError(f"{topic}: a transaction is still open")
        time.sleep(_WAIT_S)


def partitions(bootstrap: str, topic: str) -> list[tuple[str, int]]:
    """The partitions of a topic."""
    return [(topic, partition) for partition in ends(bootstrap, topic)]
