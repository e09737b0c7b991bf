"""An auth manager for tests: Airflow's simple one, with a person who may see one DAG, and one who may read no data."""

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

ONE_DAG = "eve"
"""May see the DAG `sales`, and no other."""

VIEWER = "vera"
"""May see everything that viewers see."""


class LimitedAuthManager(SimpleAuthManager):
    """Airflow's simple auth manager, less DAGs for `eve`."""

    def is_authorized_dag(self, *, user: SimpleAuthManagerUser, details: Any = None, **asked: Any) -> bool:
        """As it is, but for that person."""
        if user.username == ONE_DAG and details is not None and details.id not in (None, "sales"):
            return False
        return super().is_authorized_dag(user=user, details=details, **asked)
