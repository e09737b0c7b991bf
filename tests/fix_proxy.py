"""TCP proxies before PostgreSQL and Kafka that cut a connection at a chosen request or byte, or at its answer."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

from fix_pipeline import World
from fix_stack import Stack
from local.ports import HOST

Request = Callable[[bytes], bool]
"""Whether a request is the one that is meant."""

# Requests to Kafka, by their number in the protocol.
PRODUCE: Final = 0
INIT_PRODUCER_ID: Final = 22
ADD_PARTITIONS_TO_TXN: Final = 24
ADD_OFFSETS_TO_TXN: Final = 25
END_TXN: Final = 26
TXN_OFFSET_COMMIT: Final = 28

_CHUNK_BYTES = 1 << 16
_TICK_S = 0.1


def says(text: bytes) -> Request:
    """The request to PostgreSQL that contains a text."""
    return lambda request: text in request


def calls(number: int) -> Request:
    """The request to Kafka of that number."""
    return lambda request: int.from_bytes(request[4:6], "big") == number


def nth(number: int) -> Request:
    """The n-th request of all, counted from 1."""
    seen = iter(range(1, number + 1))
    return lambda _: next(seen, number + 1) == number


class Cut(msgspec.Struct, frozen=True):
    """Where a connection is cut.

    Attributes:
        wanted: the request.
        at_answer: the request reaches the server, and its answer is lost; else the request is.
        passing: how many bytes of what is lost get through.
        for_good: nobody gets through afterwards, until the proxy is opened.
    """

    wanted: Request
    at_answer: bool = False
    passing: int = 0
    for_good: bool = False


class Line:
    """One client's connection through the proxy; of what came, what is not yet a whole request or answer."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.begun = {client: b"", server: b""}
        self.is_lost: Callable[[bytes], bool] | None = None


class Proxy:
    """Forwards connections to a server, and cuts one when it is told to."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lines: list[Line] = []
        self._planned: Cut | None = None
        self._is_open = True
        self._stopping = threading.Event()
        self.requests = 0
        self.cut = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="proxy")
        self._thread.start()

    def plan(self, cut: Cut) -> None:
        """Cut the connection of the next request that is meant."""
        self.cut.clear()
        self._planned = cut

    def open(self) -> None:
        """Let connections through again."""
        self._is_open = True

    def stop(self) -> None:
        """Cut everything, and end the thread."""
        self._stopping.set()
        self._thread.join()

    # -- what a protocol makes of the bytes ------------------------------------------------------------------------

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The whole requests or answers that some bytes begin with, and the rest. PostgreSQL's come as they come."""
        return [data], b""

    def answers(self, request: bytes) -> Callable[[bytes], bool]:
        """What tells the answer to a request: PostgreSQL answers one at a time."""
        return lambda _: True

    def translate(self, answer: bytes) -> bytes:
        """An answer as the client gets it."""
        return answer

    # -- the thread ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(_TICK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._lines:  # not cut by the event before
                    self._read(key.data, key.fileobj)  # type: ignore[arg-type]
        for line in list(self._lines):
            self._drop(line)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if not self._is_open:
            client.close()
            return
        line = Line(client, socket.create_connection((HOST, self._target_port)))
        for end in (line.client, line.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end, selectors.EVENT_READ, line)
        self._lines.append(line)

    def _read(self, line: Line, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK_BYTES)
            parts, line.begun[source] = self.split(line.begun[source] + data)
            lost = not data
            for part in parts if data else []:
                lost = self._request(line, part) if source is line.client else self._answer(line, part)
                if lost:
                    break
        except OSError:
            lost = True
        if lost and line in self._lines:
            self._drop(line)

    def _request(self, line: Line, request: bytes) -> bool:
        """Pass a request on; whether the connection is to be cut."""
        self.requests += 1
        cut = self._planned
        if cut is None or line.is_lost is not None or not cut.wanted(request):
            line.server.sendall(request)
            return False
        if cut.at_answer:
            line.is_lost = self.answers(request)
            line.server.sendall(request)
            return False
        line.server.sendall(request[: cut.passing])
        return self._done(cut)

    def _answer(self, line: Line, answer: bytes) -> bool:
        """Pass an answer on; whether the connection is to be cut."""
        cut = self._planned
        if cut is None or line.is_lost is None or not line.is_lost(answer):
            line.client.sendall(self.translate(answer))
            return False
        line.client.sendall(self.translate(answer)[: cut.passing])
        return self._done(cut)

    def _done(self, cut: Cut) -> bool:
        self._planned = None
        if cut.for_good:
            self._is_open = False
            for line in list(self._lines):
                self._drop(line)
        self.cut.set()
        return True

    def _drop(self, line: Line) -> None:
        self._lines.remove(line)
        for end in (line.client, line.server):
            self._selector.unregister(end)
            end.close()


class KafkaProxy(Proxy):
    """A proxy that clients of Kafka stay with: it writes its own port into the answers that name the broker's."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Requests and answers begin with their size; then requests have number, version and correlation id."""
        parts = []
        while len(data) >= 4 and len(data) >= (size := 4 + int.from_bytes(data[:4], "big")):
            parts.append(data[:size])
            data = data[size:]
        return parts, data

    def answers(self, request: bytes) -> Callable[[bytes], bool]:
        """The answer has the request's correlation id."""
        return lambda answer: answer[4:8] == request[8:12]

    def translate(self, answer: bytes) -> bytes:
        """In all versions of the protocol a port stands behind its host, in four bytes."""
        here, there = (HOST.encode() + port.to_bytes(4, "big") for port in (self.port, self._target_port))
        return answer.replace(there, here)


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy before the test run's PostgreSQL."""
    found = Proxy(stack.postgres_port)
    yield found
    found.stop()


def through(proxy: Proxy, world: World) -> World:
    """The same world, reached through a proxy."""
    at = world.connections
    if isinstance(proxy, KafkaProxy):
        kafka = {**at.kafka, "bootstrap.servers": f"{HOST}:{proxy.port}"}
        return World(world.pipeline, msgspec.structs.replace(at, kafka=kafka))
    return World(
        world.pipeline, msgspec.structs.replace(at, postgres=make_conninfo(at.postgres, host=HOST, port=proxy.port))
    )
