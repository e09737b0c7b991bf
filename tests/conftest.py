"""Fixtures by resource: one `fix_*.py` module each; and the order of the files."""

from typing import Final

import pytest
from hypothesis import settings

pytest_plugins = [
    "fix_stack",
    "fix_pipeline",
    "fix_child",
    "fix_cli",
    "fix_late",
    "fix_rebuild",
    "fix_proxy",
    "fix_airflow",
    "fix_dags",
    "fix_secured",
    "fix_registry",
    "fix_ui",
    "fix_browser",
    "fix_compose",
]

LONGEST: Final = (
    "e2e/test_make_up",
    "integration/test_step_by_step",
    "integration/test_reprocess",
    "integration/test_recount",
    "faults/test_servers",
    "e2e/test_containers",
    "faults/test_crashes",
    "faults/test_headline",
    "integration/test_everything",
    "e2e/test_pages",
    "faults/test_history",
    "integration/test_new_pipeline",
    "e2e/test_wheel",
    "integration/test_stack_lifecycle",
    "integration/test_shards_live",
    "faults/test_zombies",
    "faults/test_answers",
    "faults/test_cuts",
    "integration/test_path",
    "dags/test_runs",
    "integration/test_maintaining",
    "dags/test_upkeep",
    "faults/test_folding",
    "integration/test_rebuild",
    "faults/test_rebuild",
    "dags/test_assets",
    "integration/test_views",
    "security/test_servers_with_tls",
)
"""Files that take a minute or more, the longest first; but those with a whole Airflow, which always works, apart."""

# A slow machine is no failure.
settings.register_profile("microbatch", deadline=None)
settings.load_profile("microbatch")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: workers get files in this order, and none shall be left alone with a long one.

    The many short files of `unit` come last by their name.
    """
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))
