"""The command that begins a pipeline: its file and its test, from templates, which pass as they are."""

import keyword
import os
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from microbatch.errors import NewPipelineRefusedError

# As Pipeline.name has it.
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
# PostgreSQL's names have 63 bytes; the longest that the template makes of NAME is NAME_per_minute_contribution.
MAX_NAME: Final = 63 - len("_per_minute_contribution")


def new(name: str, dags: Path, tests: Path) -> list[Path]:
    """Write the file and the test of a pipeline; folders are made. Returns the two files.

    Raises:
        NewPipelineRefusedError: the name is not usable, or there is such a file.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        remedy = f"use lower-case letters, digits, _ and -, at most {MAX_NAME}, a letter first"
        raise NewPipelineRefusedError(name=name, reason="the name is not usable", remedy=remedy)
    identifier = name.replace("-", "_")
    if keyword.iskeyword(identifier):
        raise NewPipelineRefusedError(name=name, reason="the name is a word of Python", remedy="choose another")
    words = {
        "name": name,
        "identifier": identifier,
        "title": identifier.replace("_", " ").capitalize().strip(),
        "event": "".join(word.capitalize() for word in identifier.split("_")) + "Event",
        "folder": _folder(dags, tests),
    }
    wanted = {
        dags / f"{identifier}.py": "pipeline",
        tests / f"test_{identifier}.py": "test",
    }
    for file in wanted:
        if file.exists():
            remedy = "choose another name, or move the file away"
            raise NewPipelineRefusedError(name=name, reason=f"{file} is there already", remedy=remedy)
    for file, template in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        text = files("microbatch").joinpath("templates", f"{template}.txt").read_text(encoding="utf-8")
        file.write_text(Template(text).substitute(words), encoding="utf-8")
    return list(wanted)


def _folder(dags: Path, tests: Path) -> str:
    """Python that says where the DAGs are, seen from the test: both move together."""
    common = Path(os.path.commonpath([dags.resolve(), tests.resolve()]))
    up = len(tests.resolve().relative_to(common).parts)
    down = "".join(f' / "{part}"' for part in dags.resolve().relative_to(common).parts)
    return f"Path(__file__).parents[{up}]{down}"
