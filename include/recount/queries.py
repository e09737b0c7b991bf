"""The queries of `ledger.sql`, by name."""

from importlib.resources import files
from typing import Final, LiteralString


def _queries() -> dict[str, LiteralString]:
    """Nothing is ever pasted into them."""
    text = files(__package__).joinpath("ledger.sql").read_text()
    blocks = [block.partition("\n") for block in text.split("-- name: ")[1:]]
    return {name.strip(): query.strip() for name, _, query in blocks}


SQL: Final = _queries()
