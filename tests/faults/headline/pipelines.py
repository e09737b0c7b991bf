"""The five pipelines of `dags/` without Airflow, so that a child has them in a tenth of a second."""

import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from fix_pipeline import with_topics_of_its_own
from local.airflow_services import DAGS
from microbatch import Pipeline
from microbatch.declared import load_pipelines

NAMES = ("logins", "number_pairs", "orders", "sales", "weather")


def five(prefix: str = "") -> dict[str, Pipeline]:
    """By name, with topics of their own if there is a prefix."""
    return {name: one(name, prefix) for name in NAMES}


@cache
def one(name: str, prefix: str = "") -> Pipeline:
    """One of them. Event types cannot be pickled, for no package has them: children are told the name."""
    without = ModuleType("microbatch.airflow")
    vars(without).update(as_dag=lambda _pipeline, **_options: None, every_minute=None)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setitem(sys.modules, "microbatch.airflow", without)
        shutil.copy(DAGS / f"{name}.py", folder)
        (found,) = load_pipelines(Path(folder))
    return with_topics_of_its_own(found, prefix) if prefix else found


def output_topics(pipeline: Pipeline) -> list[str]:
    """All topics that a pipeline writes."""
    topics = [output.topic.name for output in pipeline.outputs if output.topic]
    return [*topics, pipeline.dead_letter_topic.name]
