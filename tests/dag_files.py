"""The pipelines of `dags/`, as a deployment with certain settings has them."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from fix_airflow import DAGS
from microbatch import Pipeline
from microbatch.declared import load_pipelines


def declared(file: str, **settings: str) -> Pipeline:
    """The pipeline of a file, imported afresh with these settings and no others of its own.

    Args:
        file: such as `logins`; settings of that file begin with its name.
        **settings: environment variables.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for name in [name for name in os.environ if name.startswith(f"{file.upper()}_")]:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        shutil.copy(DAGS / f"{file}.py", folder)
        (pipeline,) = load_pipelines(Path(folder))
    return pipeline
