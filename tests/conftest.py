"""Fixtures by resource: one `fix_*.py` module each; and the order of the files."""

from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

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

WHOLE_AIRFLOWS: Final = (
    "e2e/test_make_up",
    "integration/test_step_by_step",
    "e2e/test_containers",
    "e2e/test_pages",
    "e2e/test_wheel",
)
"""Files with a whole Airflow, which always works: one worker runs them one after the other."""

LONGEST: Final = (
    *WHOLE_AIRFLOWS,
    "faults/test_servers",
    "faults/test_crashes",
    "integration/test_recount",
    "integration/test_everything",
    "integration/test_reprocess",
    "dags/test_runs",
    "faults/test_recover_copies",
    "faults/test_history",
    "integration/test_new_pipeline",
    "integration/test_maintaining",
    "integration/test_stack_lifecycle",
    "faults/test_headline",
    "faults/test_zombies",
    "faults/test_cuts",
    "faults/test_answers",
    "security/test_servers_with_tls",
    "integration/test_path",
    "integration/test_rebuild",
    "integration/test_intervals",
    "dags/test_assets",
    "faults/test_sending",
    "faults/test_recover_logs",
    "integration/test_tutorial",
    "model/test_model",
    "faults/test_recover",
    "integration/test_operations",
    "dags/test_upkeep",
    "integration/test_shards_live",
)
"""Files that take a minute or more on a slow machine, the longest first."""

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


class OneAirflowAtATime(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """Files are what workers are given; those with a whole Airflow are given together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        name = file.removeprefix("tests/").removesuffix(".py")
        return "whole Airflows" if name in WHOLE_AIRFLOWS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneAirflowAtATime:
    """Two of them at once are more than two cores bear: tests that wait for Airflow's minutes would wait longest."""
    return OneAirflowAtATime(config, log)
