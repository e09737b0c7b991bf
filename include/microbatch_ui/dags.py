"""What Airflow itself says of the DAGs that run pipelines."""

from collections.abc import Sequence

import msgspec
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select


class Dag(msgspec.Struct, frozen=True):
    """A DAG.

    Attributes:
        description: as its pipeline has it; None: it has none.
        is_paused: nobody starts runs of it by schedule.
    """

    description: str | None
    is_paused: bool


def dags(dag_ids: Sequence[str]) -> dict[str, Dag]:
    """Those of these ids that Airflow has."""
    wanted = select(DagModel.dag_id, DagModel.description, DagModel.is_paused).where(DagModel.dag_id.in_(dag_ids))
    with create_session() as session:
        return {dag_id: Dag(description, is_paused) for dag_id, description, is_paused in session.execute(wanted)}
