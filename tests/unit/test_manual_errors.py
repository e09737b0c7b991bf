"""The page of errors has all of them, as they are."""

import re

from local.home import REPOSITORY
from manual.errors import PAGE, reference

SOURCES = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "include").rglob("*.py"))]
UNSEEN = {
    *("MicrobatchError", "TerminalError", "TransientError", "StackError", "RecountError"),
    # A reject that the independent check expects; what it says is compared with nothing.
    "InvalidError",
    # Its text is PostgreSQL's, or a `Refusal`.
    "QueryRefusedError",
}


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(), "make it anew: python -m manual.errors"


def test_no_error_is_left_out() -> None:
    kinds = {name for text in SOURCES for name in re.findall(r"^class (\w+Error)\(", text, re.MULTILINE)} - UNSEEN
    shown = set(re.findall(r"^\*\*(\w+)\*\*: \S", PAGE.read_text(), re.MULTILINE))

    assert len(kinds) > 80
    assert kinds == shown


def test_no_text_that_is_raised_is_left_out() -> None:
    """Looked for in the sources as they are written, not as they are parsed: up to the first name in braces."""
    begun = r"\b(\w*Error|HTTPException|Refusal|typer\.BadParameter|SystemExit|sys\.exit)\(\s*(?:status\.\w+,\s*)?f?\""
    given = [found for text in SOURCES for found in re.findall(begun + r"([^\"{\\]{12,})", text)]
    texts = [text for kind, text in given if kind not in UNSEEN]
    page = PAGE.read_text()

    assert len(texts) > 40
    assert [text for text in texts if text not in page] == []
