"""The list of faults in the docs names tests that exist, and some for each."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ITEMS = re.split(r"^(?=\d+\. )", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_the_list_has_all_faults() -> None:
    assert [int(item.partition(".")[0]) for item in ITEMS] == list(range(1, 36))


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.partition(".**")[0].replace("**", ""))
def test_a_fault_has_tests_that_exist(item: str) -> None:
    named = re.findall(r"^ +- (\S+)::(\S+)$", item, flags=re.MULTILINE)

    assert named
    assert [f"{file}::{test}" for file, test in named if test not in names_in(file)] == []
