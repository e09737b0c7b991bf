"""What a person decides when a pipeline cannot go on by itself: always on record, with who, when and why."""

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from microbatch.errors import NotRegisteredError
from microbatch.migrations import migrate
from microbatch.postgres import Connection, connect, one_row
from microbatch.settings import Connections
from microbatch.sql import queries

Kind = Literal["accept-loss", "accept-rejects", "recover", "redrive", "rebuild"]
"""The commands by which people decide."""

_DECIDING: Final = queries("deciding")


class Why(msgspec.Struct, frozen=True):
    """Who decides, and the reason that is given."""

    by: str
    reason: str

    @classmethod
    def of(cls, reason: str) -> "Why":
        """The user of this process, on this host."""
        return cls(f"{getpass.getuser()}@{socket.gethostname()}", reason)


class Known(msgspec.Struct, frozen=True):
    """A pipeline as the ledger knows it; the DAG file is not asked.

    Attributes:
        topic_id: of the source topic that it reads.
        definition: as it was registered, as plain values.
    """

    pipeline_id: int
    name: str
    deployment: str
    ledger: UUID
    cluster_id: str
    source_topic: str
    topic_id: UUID
    former_names: list[str]
    definition: dict[str, Any]
    definition_hash: str


@contextmanager
def session(connections: Connections, purpose: str) -> Iterator[Connection]:
    """A session of a deciding person, over a ledger of this engine's version."""
    with connect(connections.postgres, purpose) as connection:
        migrate(connection)
        yield connection


def known(connection: Connection, deployment: str, name: str) -> Known:
    """The registered pipeline of that name.

    Raises:
        NotRegisteredError: there is none; the text says which there are.
    """
    facts = {"deployment": deployment, "name": name}
    with connection.cursor(row_factory=class_row(Known)) as cursor:
        found = cursor.execute(_DECIDING["known_pipeline"], facts).fetchone()
    if found is None:
        names = [row[0] for row in connection.execute(_DECIDING["known_names"], facts).fetchall()]
        raise NotRegisteredError(pipeline=name, deployment=deployment, registered=", ".join(names) or "none")
    return found


def record(connection: Connection, pipeline_id: int, kind: Kind, details: dict[str, Any], why: Why) -> int:
    """Write a decision, in the transaction of what follows from it; returns its number."""
    facts = {"pipeline_id": pipeline_id, "kind": kind, "details": Jsonb(details), **msgspec.structs.asdict(why)}
    return int(one_row(connection, _DECIDING["record_decision"], facts)[0])
