"""Who asks, and what that person may see and do: each answer is Airflow's auth manager's.

Reading a pipeline needs the view right on its DAG, triggering it the right to create runs of that DAG. Messages of
topics and free SQL show data of all pipelines, so each needs a right of its own: a custom view (where the auth manager
has such rights) *and* the right to read the connection that leads there (where it has none, as Airflow's simple auth
manager, this is what keeps viewers out).
"""

from typing import Annotated, Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, status

from microbatch.airflow_connections import KAFKA
from microbatch_ui.database import READER

SQL_VIEW: Final = "microbatch SQL"
TOPICS_VIEW: Final = "microbatch topics"


class Viewer:
    """A person who is logged in, and that person's rights."""

    def __init__(self, user: BaseUser, manager: BaseAuthManager[BaseUser]) -> None:
        self._user = user
        self._manager = manager

    @property
    def name(self) -> str:
        """For people."""
        return self._user.get_name()

    def may_see(self, dag_id: str) -> bool:
        """Whether Airflow shows that DAG to this person."""
        return self._manager.is_authorized_dag(method="GET", details=_details(dag_id), user=self._user)

    def may_trigger(self, dag_id: str) -> bool:
        """Whether Airflow lets this person start runs of that DAG."""
        return self._manager.is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=_details(dag_id), user=self._user
        )

    @property
    def may_read_sql(self) -> bool:
        """Whether this person may ask the ledger and all results anything."""
        return self._may_read(SQL_VIEW, READER)

    @property
    def may_read_topics(self) -> bool:
        """Whether this person may read messages."""
        return self._may_read(TOPICS_VIEW, KAFKA)

    def _may_read(self, view: str, conn_id: str) -> bool:
        return self._manager.is_authorized_custom_view(
            method="GET", resource_name=view, user=self._user
        ) and self._manager.is_authorized_connection(
            method="GET", details=ConnectionDetails(conn_id=conn_id), user=self._user
        )


def viewer(user: Annotated[BaseUser, Depends(get_user)]) -> Viewer:
    """The person of a request; without a valid login it is refused with 401."""
    return Viewer(user, get_auth_manager())


ViewerDep = Annotated[Viewer, Depends(viewer)]


def reads_sql(viewer: ViewerDep) -> Viewer:
    """A person who may ask anything in SQL; others are refused with 403."""
    return _allowed(viewer, viewer.may_read_sql, SQL_VIEW, READER)


def reads_topics(viewer: ViewerDep) -> Viewer:
    """A person who may read messages; others are refused with 403."""
    return _allowed(viewer, viewer.may_read_topics, TOPICS_VIEW, KAFKA)


def _allowed(viewer: Viewer, may: bool, view: str, conn_id: str) -> Viewer:
    if not may:
        needed = f"the view {view!r} and to read Airflow's connection {conn_id!r}"
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, f"You need the rights to {needed}: ask who manages Airflow's roles"
        )
    return viewer


SqlReaderDep = Annotated[Viewer, Depends(reads_sql)]
TopicReaderDep = Annotated[Viewer, Depends(reads_topics)]


def _details(dag_id: str) -> DagDetails:
    # Only where there are teams: it is a question to Airflow's database.
    team = DagModel.get_team_name(dag_id) if conf.getboolean("core", "multi_team") else None
    return DagDetails(id=dag_id, team_name=team)
