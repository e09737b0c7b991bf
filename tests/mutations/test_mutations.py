"""The list of protections is true: what is taken away is there, the tests exist, and the model's are all in it."""

import re
from pathlib import Path
from typing import Final

import pytest

from model.state import PROTECTIONS
from mutations.protections import MUTATIONS, NOT_ALONE, Mutation

ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_takes_away_is_in_the_code_once(mutation: Mutation) -> None:
    for edit in mutation.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1, f"{edit.file}:\n{edit.old}"
        assert edit.new != edit.old


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_tests_that_must_notice_exist(mutation: Mutation) -> None:
    for test in mutation.tests:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text()
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), test


def test_every_protection_of_the_model_is_taken_out_of_the_code_or_has_no_line_of_its_own() -> None:
    taken = {name for mutation in MUTATIONS for name in mutation.model}

    assert taken | NOT_ALONE.keys() == set(PROTECTIONS)
    assert not taken & NOT_ALONE.keys()
