"""Nothing is answered without a login, and nobody gets more than Airflow's auth manager says."""

import pytest
from fastapi.routing import APIRoute

from fix_pipeline import World
from fix_ui import OpenUi, Person
from microbatch_ui.app import make_app

ROUTES = [
    (route.path, method) for route in make_app().routes if isinstance(route, APIRoute) for method in route.methods
]


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_no_route_answers_without_a_login(world: World, open_ui: OpenUi, path: str, method: str) -> None:
    client = open_ui(world.connections, None)

    answer = client.request(method, "/microbatch" + path.replace("{name:path}", "app.js"), json={})

    assert answer.status_code == 401


def test_a_person_hears_who_is_logged_in_and_what_for(world: World, open_ui: OpenUi) -> None:
    client = open_ui(world.connections, Person("eve", reads_data=False))

    assert client.get("/microbatch/api/me").json() == {
        "name": "eve",
        "may_read_sql": False,
        "may_read_topics": False,
    }
