"""What Airflow's plugin manager finds: the app with pages and routes, and where the pages stand in Airflow's UI.

Every process of Airflow imports plugins, scheduler and tasks too; only the api-server serves them. So the app is
imported at its first request.
"""

from functools import cache
from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = "/microbatch"
_PAGES: Final = {"pipelines": "Pipelines", "topics": "Topics", "sql": "SQL"}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """What Airflow mounts."""
    await _made()(scope, receive, send)


@cache
def _made() -> ASGIApp:
    from microbatch_ui.app import make_app  # noqa: PLC0415 - see above

    return make_app()


def _apps() -> list[dict[str, Any]]:
    return [{"name": "microbatch", "app": app, "url_prefix": PREFIX}]


def _views() -> list[dict[str, Any]]:
    """Pages in the navigation, and a tab on each DAG."""
    pages = [
        {
            "name": name,
            "href": f"{PREFIX}/{page}",
            "url_route": f"microbatch-{page}",
            "destination": "nav",
            "category": "microbatch",
        }
        for page, name in _PAGES.items()
    ]
    tab = {
        "name": "Pipeline",
        "href": f"{PREFIX}/dag?dag_id={{DAG_ID}}",
        "url_route": "microbatch-pipeline",
        "destination": "dag",
    }
    return [*pages, tab]


class MicrobatchPlugin(AirflowPlugin):
    """See the module's docstring."""

    name = "microbatch"
    fastapi_apps = _apps()
    external_views = _views()
