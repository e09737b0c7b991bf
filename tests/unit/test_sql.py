"""The SQL of the engine: named queries are used, used names exist, and each says what it is for."""

import ast
import hashlib
import re
from pathlib import Path

import pytest

import microbatch
from microbatch.sql import migrations, queries

SOURCE = Path(microbatch.__file__).parent
FILES = sorted(file.stem for file in (SOURCE / "sql").glob("*.sql"))
# Of outputs' tables: their queries are composed by name.
TEMPLATES = ("adopting", "pairs", "streams", "views", "windows")


def uses() -> set[tuple[str, str]]:
    """File and name of each query that the engine's Python asks for."""
    found: set[tuple[str, str]] = set()
    for module in SOURCE.glob("*.py"):
        tree = ast.parse(module.read_text())
        files = dict(binding for node in ast.walk(tree) if (binding := _binding(node)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in files:
                found |= {(files[node.value.id], name) for name in _names(node.slice)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compose":
                found |= {(_file_of(name), name) for name in _names(node.args[0])}
    return found | {("windows", name) for name in _looped("window_tables.py") if name.startswith("create_")}


def _file_of(template: str) -> str:
    """The file of a template, whose names are unique over all of them."""
    (found,) = [file for file in TEMPLATES if template in queries(file)] or ["none"]
    return found


def _binding(node: ast.AST) -> tuple[str, str] | None:
    """`_LEDGER: Final = queries("ledger")` binds `_LEDGER` to `ledger`."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call)):
        return None
    called = node.value.func
    if not (isinstance(called, ast.Name) and called.id == "queries" and isinstance(node.value.args[0], ast.Constant)):
        return None
    return node.target.id, str(node.value.args[0].value)


def _names(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def _looped(module: str) -> set[str]:
    """Templates that a loop over a tuple of names composes."""
    tree = ast.parse((SOURCE / module).read_text())
    loops = [node.iter for node in ast.walk(tree) if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple)]
    return {name for loop in loops for element in loop.elts for name in _names(element)}


def test_every_named_query_is_used_and_every_used_name_exists() -> None:
    there = {(file, name) for file in FILES for name in queries(file)}

    assert there - uses() == set(), "nothing uses these"
    assert uses() - there == set(), "these do not exist"


@pytest.mark.parametrize("file", FILES)
def test_a_name_is_given_once(file: str) -> None:
    text = (SOURCE / "sql" / f"{file}.sql").read_text()

    assert re.findall(r"^-- name: (\w+)$", text, re.MULTILINE) == list(queries(file))


@pytest.mark.parametrize("file", FILES)
def test_parameters_are_named(file: str) -> None:
    for name, query in queries(file).items():
        left = re.sub(r"%\(\w+\)[sb]|%%", "", query)
        assert "%" not in left, name


@pytest.mark.parametrize("file", FILES)
def test_no_query_selects_whatever_there_is(file: str) -> None:
    """`t.*` of a query's own `with` is what that says."""
    assert not [name for name, query in queries(file).items() if re.search(r"select\s+\*|\bselect r\.\*", query)]


def test_only_queries_over_declared_tables_have_templates() -> None:
    for file in FILES:
        has_braces = {name for name, query in queries(file).items() if re.search(r"\{[a-z_]+\}", query)}
        assert (has_braces != set()) == (file in (*TEMPLATES, "explaining", "folding", "pruning", "watching"))


def test_migrations_are_numbered_without_a_hole() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_migration_is_known_by_its_text() -> None:
    first = migrations()[0]
    file = SOURCE / "sql" / "migrations" / first.name

    assert first.name == "0001_ledger.sql"
    assert first.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
