"""Where pipelines stand: what the ledger says of each, and what Airflow says of its DAG."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from microbatch.postgres import Connection
from microbatch.settings import deployment
from microbatch.sql import queries as engine_queries
from microbatch.states import Facts
from microbatch_ui.dags import Dag, dags
from microbatch_ui.database import rows
from microbatch_ui.pipelines import Registered

_WATCHING: Final = engine_queries("watching")


class Standing(msgspec.Struct, frozen=True):
    """Where a pipeline stands.

    Attributes:
        facts: what its state is judged by.
        dag: what Airflow says of its DAG; None: Airflow has none.
        registered_at: when the ledger first knew it.
        delay_s: from the end of what is complete to now; None: nothing is.
    """

    facts: Facts
    dag: Dag | None
    registered_at: datetime
    delay_s: float | None


def standings(connection: Connection, pipelines: Sequence[Registered]) -> dict[str, Standing]:
    """Where each of these pipelines stands, by its name."""
    known = dags([pipeline.dag_id for pipeline in pipelines])
    asked = {"deployment": deployment(), "names": [pipeline.name for pipeline in pipelines]}
    found = {}
    for row in rows(connection, _WATCHING["standing"], asked):
        dag = known.get(row["dag_id"])
        facts = msgspec.convert({**row, "is_paused": dag.is_paused if dag else None}, Facts)
        found[row["name"]] = Standing(facts, dag, row["registered_at"], row["delay_s"])
    return found
