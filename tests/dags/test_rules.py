"""Conventions of the files in dags/: one test a rule, its message names the DAG and the remedy."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fix_airflow import DAGS

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

SERIALIZE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
dags = DagBag(dag_folder=sys.argv[1]).dags
# Airflow sorts keys as well, but not lists.
print(json.dumps({name: DagSerialization.serialize_dag(dag) for name, dag in dags.items()}, sort_keys=True))
"""


@pytest.fixture(scope="module")
def dag_bag() -> "DagBag":
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415

    # No connections, no database: what a DAG file does when it is parsed needs neither.
    return DagBag(dag_folder=DAGS)


@pytest.fixture
def dags(dag_bag: "DagBag") -> "list[DAG]":
    return list(dag_bag.dags.values())


def is_producer(dag: "DAG") -> bool:
    return "producer" in dag.tags


def is_pipeline(dag: "DAG") -> bool:
    return not {"producer", "upkeep"} & dag.tags


def breaking(dags: "list[DAG]", is_broken: "Callable[[DAG], bool]") -> list[str]:
    return sorted(dag.dag_id for dag in dags if is_broken(dag))


def test_every_file_loads(dag_bag: "DagBag") -> None:
    assert dag_bag.import_errors == {}


def test_every_file_declares_a_dag(dags: "list[DAG]") -> None:
    silent = {file.name for file in DAGS.glob("*.py")} - {Path(dag.fileloc).name for dag in dags}
    assert not silent, f"{silent} declare no DAG; a helper module belongs into include/"


def test_every_dag_has_the_tag_that_make_up_unpauses_by(dags: "list[DAG]") -> None:
    broken = breaking(dags, lambda dag: "microbatch" not in dag.tags)
    assert not broken, f'{broken} would stay paused after `make up`; give them the tag "microbatch"'


def test_every_dag_has_a_page_for_operators(dags: "list[DAG]") -> None:
    broken = breaking(dags, lambda dag: not dag.doc_md or not dag.description)
    assert not broken, f"{broken} have no documentation; write the file's docstring and the pipeline's description"


def test_the_page_begins_with_the_docstring_of_the_file(dags: "list[DAG]") -> None:
    for dag in dags:
        docstring = ast.get_docstring(ast.parse(Path(dag.fileloc).read_text(encoding="utf-8")))
        assert docstring, f"{dag.fileloc} has no docstring"
        assert (dag.doc_md or "").startswith(docstring), f"{dag.dag_id} shows another text than its file's docstring"


def test_a_paused_dag_makes_up_for_nothing_and_never_runs_twice_at_once(dags: "list[DAG]") -> None:
    broken = breaking(dags, lambda dag: dag.catchup or dag.max_active_runs != 1)
    assert not broken, f"{broken}: set catchup=False and max_active_runs=1; a run reads all that is unread anyway"


def test_start_dates_are_fixed_aware_and_long_past(dags: "list[DAG]") -> None:
    long_past = datetime(2025, 1, 1, tzinfo=UTC)
    lasting = [dag for dag in dags if "upkeep" not in dag.tags]
    broken = breaking(lasting, lambda dag: dag.start_date is None or dag.start_date > long_past)
    assert not broken, f"{broken}: nothing before the start_date runs; use microbatch.airflow.START_DATE"


def test_what_works_at_night_does_not_begin_while_everything_starts(dags: "list[DAG]") -> None:
    broken = breaking([dag for dag in dags if "upkeep" in dag.tags], lambda dag: dag.start_date is not None)
    assert not broken, f"{broken}: with a start_date of long ago the first run comes at once; leave it out"


def test_every_run_ends(dags: "list[DAG]") -> None:
    broken = breaking(dags, lambda dag: not timedelta(0) < (dag.dagrun_timeout or timedelta(0)) < timedelta(hours=1))
    assert not broken, f"{broken}: without dagrun_timeout a stopped task blocks the schedule for good"


def test_pipelines_ask_for_the_params_of_a_run_and_no_others(dags: "list[DAG]") -> None:
    pipelines = [dag for dag in dags if is_pipeline(dag)]
    broken = breaking(pipelines, lambda dag: list(dag.params) != ["mode", "from", "to", "max_records"])
    assert not broken, f"{broken}: settings come from the environment when the file is imported, not from a run"


def test_pipelines_try_again_after_seconds(dags: "list[DAG]") -> None:
    slow = timedelta(seconds=10)
    tasks = [task for dag in dags if is_pipeline(dag) for task in dag.tasks]
    broken = [task.task_id for task in tasks if not task.retries or task.retry_delay > slow]
    assert tasks, "there are no pipelines in dags/"
    assert not broken, f"{broken}: a lost worker would delay results by minutes"


def test_producers_stay_in_their_pool_and_are_not_retried(dags: "list[DAG]") -> None:
    tasks = [task for dag in dags if is_producer(dag) for task in dag.tasks]
    broken = [task.task_id for task in tasks if task.pool != "producers" or task.retries]
    assert tasks, "there are no producers in dags/"
    assert not broken, f'{broken}: use pool="producers", else they take the slots of pipelines; and retries=0'


def test_pipelines_are_not_in_the_pool_of_producers(dags: "list[DAG]") -> None:
    broken = [task.task_id for dag in dags if not is_producer(dag) for task in dag.tasks if task.pool == "producers"]
    assert not broken, f"{broken} would wait for producers"


def test_dag_files_import_the_installed_package(dags: "list[DAG]") -> None:
    broken = [file.name for file in DAGS.glob("*.py") if "include." in file.read_text(encoding="utf-8")]
    assert not broken, f"{broken}: `import microbatch`, not include.…; workers have the package, not the folder"


def test_parsing_the_dag_files_loads_nothing_heavy() -> None:
    heavy = "duckdb pandas pyarrow confluent_kafka psycopg matplotlib"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import sales, produce_sales, daily_report, fill_gaps, maintenance; "
        f"print(*[name for name in {heavy!r}.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, DAGS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", "import what a task needs inside the task: the files are parsed all the time"


def test_serialization_does_not_depend_on_the_hash_seed() -> None:
    first, second = (
        subprocess.run(
            [sys.executable, "-c", SERIALIZE, DAGS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    )
    assert '"sales"' in first
    assert first == second, "Airflow would see a new version of the DAG at every parse"
