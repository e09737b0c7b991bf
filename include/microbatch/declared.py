"""Finding the pipelines that the files of a DAGs folder declare."""

import importlib.util
import sys
from pathlib import Path

from microbatch.errors import DagFileError, DeclarationError, MicrobatchError, PipelineNotFoundError
from microbatch.pipeline import Pipeline


def load_pipelines(folder: Path) -> list[Pipeline]:
    """All pipelines that the folder's Python files declare at their top level, by name.

    Raises:
        DagFileError: a file cannot be imported.
        DeclarationError: two files declare pipelines of one name.
    """
    found: dict[str, Pipeline] = {}
    for file in sorted(folder.glob("*.py")):
        for value in vars(_load(file)).values():
            if isinstance(value, Pipeline) and found.setdefault(value.name, value) is not value:
                raise DeclarationError(
                    pipeline=value.name, what=f"{file} declares it once more", remedy="give one another name"
                )
    return [found[name] for name in sorted(found)]


def find_pipeline(folder: Path, name: str) -> Pipeline:
    """The pipeline of that name.

    Raises:
        PipelineNotFoundError: there is none; the text says which there are.
    """
    pipelines = {pipeline.name: pipeline for pipeline in load_pipelines(folder)}
    if name not in pipelines:
        raise PipelineNotFoundError(name=name, folder=folder, declared=", ".join(pipelines) or "nothing")
    return pipelines[name]


def _load(file: Path) -> object:
    name = f"microbatch_dags.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DagFileError(file=file, error="it is no Python file")
    module = importlib.util.module_from_spec(spec)
    # msgspec resolves the annotations of an event through its module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except MicrobatchError:
        raise
    except Exception as error:  # whatever a user's file raises is said, with its name
        raise DagFileError(file=file, error=f"{type(error).__name__}: {error}") from error
    return module
