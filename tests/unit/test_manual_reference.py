"""docs/reference.md is what the code says, and has all that is public."""

import microbatch
from manual import reference


def test_the_page_is_what_the_code_says() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), "run `python -m manual.reference`"


def test_every_public_name_has_its_place() -> None:
    shown = {name.partition(":")[2] for names in reference.DECLARED.values() for name in names}

    assert set(microbatch.__all__) - shown == set()


def test_no_field_and_no_option_is_without_a_meaning() -> None:
    rows = [line for line in reference.reference().splitlines() if line.startswith("| `")]

    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []


def test_types_and_defaults_are_as_the_source_has_them() -> None:
    page = reference.reference()

    assert "| `contributions` | `timedelta \\| None` | `timedelta(days=90)` |" in page
    assert "| `scale` | `int` | `6` |" in page
    assert "| `at` | `datetime \\| None` | `None` |" in page


def test_every_command_is_there() -> None:
    page = reference.reference()

    assert "### microbatch audit\n\n`microbatch audit PIPELINE`\n" in page
    assert "| `--patience FLOAT` | `60.0` | Seconds to wait for the pipeline to be at rest. |" in page
