"""What the engine asks Kafka: who it is, which topics it has, where their partitions begin and end."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Thread
from time import monotonic, sleep
from typing import Any, Final
from uuid import UUID

import msgspec
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec
from confluent_kafka.cimpl import NewTopic

from microbatch.errors import (
    KafkaRefusedError,
    KafkaSettingsError,
    KafkaUnreachableError,
    MicrobatchError,
    TopicNotCreatedError,
)
from microbatch.event import EPOCH
from microbatch.settings import Connections

# Below the time after which Postgres gives up on a transaction that waits for us.
KAFKA_TIMEOUT_S: Final = 10.0
# We have the exceptions; librdkafka's own lines on stderr would say the same again and again.
QUIET: Final[dict[str, Any]] = {"log_level": 2}
# From the bootstrap address to the broker behind it, a fresh client waits for this: 100 ms by default, of each of the
# clients of a run. While nobody answers it doubles up to `reconnect.backoff.max.ms`, as ever.
_PROMPT: Final[dict[str, Any]] = {"reconnect.backoff.ms": 10}
# Under which messages are read by assignment: the client needs a group, nothing is ever committed under it. Always the
# same one, so that a login needs a right for one.
READER: Final = "microbatch.reader"

# The client has no types for these.
_EARLIEST: Final[OffsetSpec] = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final[OffsetSpec] = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: Final[OffsetSpec] = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


class TopicFacts(msgspec.Struct, frozen=True):
    """A topic as the broker describes it. Its id changes when it is deleted and created anew."""

    topic_id: UUID
    partitions: int


class Ends(msgspec.Struct, frozen=True):
    """Offsets of one partition; `low_watermark <= last_stable <= high_watermark`."""

    low_watermark: int
    last_stable: int
    high_watermark: int


def client_config(connections: Connections, **own: Any) -> dict[str, Any]:
    """Settings for librdkafka: those of the connection, and the engine's own, which are not to be changed."""
    return {**QUIET, **_PROMPT, **connections.kafka, **own}


def warm_up(client: Consumer | Producer, topic: str, connections: Connections) -> None:
    """Let a fresh client find the broker and a topic's partitions.

    At first a client knows a bootstrap address; when it goes over to the broker behind it, it drops what it has asked
    there and asks again after 0.5 to 3 seconds (librdkafka 2.16, tried). It never drops this question. It goes over
    with the first answer, so the second one comes from there: without it, one transactional producer in ten found no
    broker just then and waited for half a second, on a busy machine each one.

    Raises:
        KafkaUnreachableError: no broker answers.
    """
    with reaching(connections):
        for _ in range(2):
            client.list_topics(topic, timeout=KAFKA_TIMEOUT_S)


class Broker:
    """Questions to Kafka that are not about messages. Every answer takes at most KAFKA_TIMEOUT_S.

    Raises:
        KafkaUnreachableError: no broker answers, or none lets us in; any question may raise it too.
        KafkaRefusedError: we may not ask that, or of that topic.
        KafkaSettingsError: the client does not take the settings of the connection.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._complaints: list[KafkaError] = []
        try:
            self._admin = AdminClient(client_config(connections, error_cb=self._complaints.append))
        except KafkaException as error:
            raise KafkaSettingsError(reason=error.args[0].str()) from error
        self.cluster_id()  # as in `warm_up`: it could take 3 seconds to answer if its first question were for offsets

    def cluster_id(self) -> str:
        """The id of the cluster that answers."""
        return str(self._answer(self._admin.describe_cluster(request_timeout=KAFKA_TIMEOUT_S)).cluster_id)

    def topic(self, name: str) -> TopicFacts | None:
        """Facts about a topic, None if it does not exist."""
        return self.topics([name]).get(name)

    def topics(self, names: list[str]) -> dict[str, TopicFacts]:
        """Facts about those of some topics that exist."""
        futures = self._admin.describe_topics(TopicCollection(names), request_timeout=KAFKA_TIMEOUT_S)
        found = {}
        for name, future in futures.items():
            try:
                found[name] = _facts(self._answer(future))
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            except KafkaRefusedError as error:
                raise KafkaRefusedError(**error.facts | {"reason": f"{name}: {error.facts['reason']}"}) from error
        return found

    def create(self, topics: list[NewTopic]) -> None:
        """Create topics, and wait until their partitions answer; one that somebody else creates is as good.

        Raises:
            TopicNotCreatedError: Kafka refuses, or they do not answer in time.
        """
        for name, future in self._admin.create_topics(topics, operation_timeout=KAFKA_TIMEOUT_S).items():
            try:
                self._answer(future)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise TopicNotCreatedError(topic=name, reason=error.args[0].str()) from error
        # The answer comes from the controller; the brokers' metadata and the partitions' leaders follow.
        names = [topic.topic for topic in topics]
        deadline_s = monotonic() + KAFKA_TIMEOUT_S
        while silent := self._silent(names):
            if monotonic() > deadline_s:
                raise TopicNotCreatedError(topic=silent[0], reason="it is created, but no broker answers for it")
            sleep(0.02)

    def _silent(self, names: list[str]) -> list[str]:
        """Those of some topics that are unknown, or of which a partition has no leader."""
        known = self.topics(names)
        silent = [name for name in names if name not in known]
        for name, facts in known.items():
            try:
                self._offsets(name, list(range(facts.partitions)), _LATEST, IsolationLevel.READ_UNCOMMITTED)
            except KafkaUnreachableError:
                silent.append(name)
        return silent

    def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, Ends]:
        """The ends of some partitions; the last stable offset is asked for last.

        Asked in this order, a low watermark can be too low and a high watermark too low by what happens
        meanwhile, never too high; `last_stable` may then be above `high_watermark`, and is cut to it.
        """
        wanted = list(partitions)
        low = self._offsets(topic, wanted, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)
        high = self._offsets(topic, wanted, _LATEST, IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(topic, wanted, _LATEST, IsolationLevel.READ_COMMITTED)
        for partition in wanted:
            if min(low[partition], high[partition], stable[partition]) < 0:
                # An end that is not known must not pass for one that is reached.
                reason = f"it gave no offset of {topic}[{partition}]"
                raise KafkaUnreachableError(bootstrap=self._connections.bootstrap, reason=reason)
        return {p: Ends(low[p], min(stable[p], high[p]), high[p]) for p in wanted}

    def offsets_at(self, topic: str, partitions: Iterable[int], moment: datetime) -> dict[int, int | None]:
        """The offset of the first message of each partition whose timestamp is `moment` or later; None: there is none.

        All messages below it are older, in whatever order they came; transaction markers count as messages.
        """
        # Kafka's timestamps are milliseconds: rounded up. Negative ones have other meanings for the client.
        at_ms = max(0, -(-(moment - EPOCH) // timedelta(milliseconds=1)))
        spec = OffsetSpec.for_timestamp(at_ms)
        # Among committed messages alone, an open transaction would hide what lies above it.
        found = self._offsets(topic, list(partitions), spec, IsolationLevel.READ_UNCOMMITTED)
        return {partition: None if offset < 0 else offset for partition, offset in found.items()}

    def newest_times(self, topic: str, partitions: Iterable[int]) -> dict[int, datetime]:
        """The latest timestamp of those partitions that have messages, wherever it stands; it may be in the future."""
        found = self._look(topic, list(partitions), _NEWEST, IsolationLevel.READ_UNCOMMITTED)
        return {p: EPOCH + timedelta(milliseconds=at.timestamp) for p, at in found.items() if at.timestamp >= 0}

    def _offsets(
        self, topic: str, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[int, int]:
        return {partition: at.offset for partition, at in self._look(topic, partitions, spec, isolation).items()}

    def _look(
        self, topic: str, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[int, ListOffsetsResultInfo]:
        if not partitions:
            return {}
        asked = {TopicPartition(topic, partition): spec for partition in partitions}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=KAFKA_TIMEOUT_S)
        return {at.partition: self._answer(future) for at, future in futures.items()}

    def _answer(self, future: Future[Any]) -> Any:
        try:
            with reaching(self._connections):
                return future.result(timeout=KAFKA_TIMEOUT_S)
        except KafkaUnreachableError as error:
            raise self._explained(error) from error

    def _explained(self, error: KafkaUnreachableError) -> KafkaUnreachableError:
        """The same error with the reason that the client has told meanwhile: a question itself only times out."""
        self._admin.poll(0)  # this is when it tells
        told = [complaint for complaint in self._complaints if complaint.code() != KafkaError._ALL_BROKERS_DOWN]
        if not told:
            return error
        return KafkaUnreachableError(bootstrap=self._connections.bootstrap, reason=told[-1].str())


def _facts(description: Any) -> TopicFacts:
    uuid = description.topic_id
    # The client gives two signed halves.
    most, least = (half % (1 << 64) for half in (uuid.get_most_significant_bits(), uuid.get_least_significant_bits()))
    return TopicFacts(UUID(int=most << 64 | least), len(description.partitions))


def bounded(call: Callable[[], object], timeout_s: float) -> None:
    """Make a call of the client that may never come back; then it is left behind in its thread, which ends with us.

    Raises:
        KafkaException: the call's own; _TIMED_OUT if it has not come back by then.
    """
    done: Future[object] = Future()

    def make() -> None:
        try:
            done.set_result(call())
        except KafkaException as error:
            done.set_exception(error)

    Thread(target=make, name="microbatch call", daemon=True).start()
    try:
        done.result(timeout_s)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error


_NO_ANSWER: Final = (
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._DESTROY_BROKER,  # the client has gone over from the address that was asked to another one
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
    # A broker died, or came back just now: its partitions have no leader yet.
    KafkaError._NOENT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
)

NO_RIGHT: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


@contextmanager
def reaching(connections: Connections) -> Iterator[None]:
    """Turn those of the client's errors into our own that say that no broker answered, or that we have no right."""
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        known = unreachable(error, connections)
        if known is None:
            raise
        raise known from error


def unreachable(error: Exception, connections: Connections) -> MicrobatchError | None:
    """The error to raise when this one says that no broker answered, or that we have no right; else None."""
    if isinstance(error, KafkaException):
        if error.args[0].code() in NO_RIGHT:
            return KafkaRefusedError(bootstrap=connections.bootstrap, reason=error.args[0].str())
        if error.args[0].code() not in _NO_ANSWER:
            return None
        return KafkaUnreachableError(bootstrap=connections.bootstrap, reason=error.args[0].str())
    reason = f"no answer within {KAFKA_TIMEOUT_S:g} s"
    return KafkaUnreachableError(bootstrap=connections.bootstrap, reason=reason)
