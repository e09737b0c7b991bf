"""The page of errors has all of them, as they are."""

from pathlib import Path

from local.home import REPOSITORY
from microbatch import errors
from microbatch.error_reference import reference
from microbatch.errors import MicrobatchError, TerminalError, TransientError

PAGE = Path(REPOSITORY / "docs" / "errors.md")


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(), "make it anew: python -m microbatch.error_reference > docs/errors.md"


def test_no_error_is_left_out() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MicrobatchError)]
    shown = {kind.__name__ for kind in kinds} - {
        base.__name__ for base in (MicrobatchError, TerminalError, TransientError)
    }

    assert len(shown) > 50
    assert {name for name in shown if f"**{name}**" not in PAGE.read_text()} == set()
