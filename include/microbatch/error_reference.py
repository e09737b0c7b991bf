"""The page of all errors, from the code: `python -m microbatch.error_reference > docs/errors.md`."""

import ast
import inspect
from collections.abc import Iterator
from typing import Final

from microbatch import errors
from microbatch.errors import MicrobatchError, TerminalError, TransientError

_HEAD: Final = """\
# Errors

Every error of the engine: what it means, and what it says. Names in braces stand for the object and the value that an
error names; after a semicolon comes the remedy. *Tries again* says that Airflow's next try, or the next run, may get
over it by itself; all others need a person first. What is in `microbatch.failure`, in a task's log and on the
[pages](pages.md) is the name and the text.

Made from the code by `python -m microbatch.error_reference`.
"""
# Those that others are made of: nobody sees them.
_BASES: Final = (MicrobatchError, TerminalError, TransientError)


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(line for title, found in _sections() for line in _section(title, found))])


def _sections() -> Iterator[tuple[str, list[type[MicrobatchError]]]]:
    """The sections of `errors.py`, each begun by a comment such as `# -- declarations ---`, with their errors."""
    source = inspect.getsource(errors)
    starts = {
        number: line.strip("# -") for number, line in enumerate(source.splitlines(), 1) if line.startswith("# -- ")
    }
    for title_line, title in starts.items():
        end = min((line for line in starts if line > title_line), default=len(source))
        names = [
            node.name
            for node in ast.parse(source).body
            if isinstance(node, ast.ClassDef) and title_line < node.lineno < end
        ]
        yield title, [getattr(errors, name) for name in names]


def _section(title: str, found: list[type[MicrobatchError]]) -> Iterator[str]:
    yield f"## {title[0].upper()}{title[1:]}\n"
    for error in found:
        if error not in _BASES:
            again = " *Tries again.*" if issubclass(error, TransientError) else ""
            yield f"**{error.__name__}**: {inspect.getdoc(error)}{again}\n"
            yield f"```\n{error.message}\n```\n"


if __name__ == "__main__":
    print(reference(), end="")
