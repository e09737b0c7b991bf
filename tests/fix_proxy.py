"""A TCP proxy before PostgreSQL that loses a chosen request, or its answer."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

from fix_pipeline import World
from fix_stack import Stack
from local.ports import HOST

_CHUNK_BYTES = 1 << 16
_TICK_S = 0.1


class Line(msgspec.Struct, eq=False):
    """One client's connection through the proxy; `muted`: the next answer is lost."""

    client: socket.socket
    server: socket.socket
    muted: bool = False


class Proxy:
    """Forwards connections, and cuts one when it is told to."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lines: list[Line] = []
        self._wanted: bytes | None = None
        self._forward = True
        self._stopping = threading.Event()
        self.cut = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="proxy")
        self._thread.start()

    def lose_answer_to(self, text: bytes) -> None:
        """The next request with that text reaches the server; the connection is cut instead of its answer."""
        self._arm(text, forward=True)

    def lose_request(self, text: bytes) -> None:
        """The connection is cut instead of the next request with that text."""
        self._arm(text, forward=False)

    def stop(self) -> None:
        """Cut everything, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def _arm(self, text: bytes, *, forward: bool) -> None:
        self.cut.clear()
        self._forward = forward
        self._wanted = text

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(_TICK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._lines:  # not cut by the event before
                    self._pass_on(key.data, from_client=key.fileobj is key.data.client)
        for line in list(self._lines):
            self._cut(line)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        line = Line(client, socket.create_connection((HOST, self._target_port)))
        for end in (line.client, line.server):
            self._selector.register(end, selectors.EVENT_READ, line)
        self._lines.append(line)

    def _pass_on(self, line: Line, *, from_client: bool) -> None:
        source, target = (line.client, line.server) if from_client else (line.server, line.client)
        try:
            data = source.recv(_CHUNK_BYTES)
            if from_client and self._wanted is not None and self._wanted in data:
                self._wanted = None
                line.muted, lost = True, not self._forward
            else:
                lost = line.muted and not from_client
            if lost or not data:
                self._cut(line)
            else:
                target.sendall(data)
        except OSError:
            self._cut(line)

    def _cut(self, line: Line) -> None:
        self._lines.remove(line)
        for end in (line.client, line.server):
            self._selector.unregister(end)
            end.close()
        if line.muted:
            self.cut.set()


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy before the test run's PostgreSQL."""
    found = Proxy(stack.postgres_port)
    yield found
    found.stop()


@pytest.fixture
def through(proxy: Proxy) -> Callable[[World], World]:
    """A function that gives the same world, reached through the proxy."""

    def reached(world: World) -> World:
        dsn = make_conninfo(world.connections.postgres, host=HOST, port=proxy.port)
        return World(world.pipeline, msgspec.structs.replace(world.connections, postgres=dsn))

    return reached
