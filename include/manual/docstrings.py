"""Docstrings as Markdown: what stands in their sections (Google's style) becomes tables."""

import ast
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

SECTION: Final = re.compile(r"^(Args|Attributes|Raises|Returns):$")
ENTRY: Final = re.compile(r"^(\S[^:]*): (.*)$")


class Docstring(msgspec.Struct, frozen=True):
    """A docstring in its parts.

    Attributes:
        text: what stands before the first section.
        entries: of each section, the text of each name, on one line.
    """

    text: str
    entries: dict[str, dict[str, str]]


def parse(docstring: str) -> Docstring:
    """The parts of a docstring that `inspect.cleandoc` has cleaned."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    into = text
    for line in docstring.splitlines():
        if found := SECTION.match(line):
            into = sections.setdefault(found[1], [])
        else:
            into.append(line)
    return Docstring("\n".join(text).strip(), {name: _entries(lines) for name, lines in sections.items()})


def of_value(module: str, name: str) -> str:
    """The docstring below a module's constant.

    Raises:
        ValueError: there is none.
    """
    body = ast.parse(inspect.getsource(sys.modules[module])).body
    for assigned, below in itertools.pairwise(body):
        if name in _assigned(assigned) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            return inspect.cleandoc(str(below.value.value))
    raise ValueError(f"{name} of {module} has no docstring: write one below it")


def written_types(found: Any) -> dict[str, str]:
    """The types of a class's fields, inherited ones first, or of a function's arguments, as the source has them."""
    if inspect.isclass(found):
        bases = [base for base in reversed(found.__mro__) if base.__module__.partition(".")[0] == "microbatch"]
        return {name: kind for base in bases for name, kind in _annotated(_parsed(base).body)}
    arguments = _parsed(found).args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {each.arg: ast.unparse(each.annotation) for each in every if each.annotation}


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join('---' for _ in titles)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def code(value: Any) -> str:
    """A piece of code within a line."""
    return f"`{value}`"


def _entries(lines: Iterable[str]) -> dict[str, str]:
    """Names and their texts; a line that is indented further goes on with the text before."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n".join(["", *lines])).splitlines():
        if match := ENTRY.match(line):
            name, found[match[1]] = match[1], match[2]
        elif line.strip():
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _assigned(node: ast.stmt) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _parsed(found: Any) -> Any:
    """The syntax tree of a class or a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]


def _annotated(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, ast.unparse(node.annotation).strip("'")
