"""The registered pipelines of this deployment that a person may see."""

from typing import Any, Final

import msgspec
from fastapi import HTTPException, status

from microbatch.postgres import Connection
from microbatch.settings import deployment
from microbatch_ui.access import Viewer
from microbatch_ui.database import queries, rows

_PIPELINES: Final = queries("pipelines")


class Registered(msgspec.Struct, frozen=True):
    """A pipeline as the ledger knows it.

    Attributes:
        pipeline_id: its number.
        name: its name.
        dag_id: the DAG that ran it last; before the first run, the one of its name.
        source_topic: what it reads.
        definition: as it is registered; see `microbatch.definition`.
    """

    pipeline_id: int
    name: str
    dag_id: str
    source_topic: str
    definition: dict[str, Any]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """As the definition has them."""
        return list(self.definition["outputs"])


def visible(connection: Connection, viewer: Viewer) -> list[Registered]:
    """Those that the person may see, by name."""
    return [each for each in _registered(connection) if viewer.may_see(each.dag_id)]


def pipeline_of(connection: Connection, viewer: Viewer, name: str) -> Registered:
    """The pipeline of that name; one that the person may not see is as if there were none: 404."""
    for each in _registered(connection):
        if each.name == name and viewer.may_see(each.dag_id):
            return each
    raise HTTPException(
        status.HTTP_404_NOT_FOUND, f"There is no pipeline {name!r} that you may see; it appears once its DAG has run"
    )


def _registered(connection: Connection) -> list[Registered]:
    return msgspec.convert(rows(connection, _PIPELINES["registered"], {"deployment": deployment()}), list[Registered])
