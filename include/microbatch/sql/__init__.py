"""The SQL of the engine: named queries in `.sql` files, and migrations that are applied in the order of their names."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, LiteralString

import msgspec

_NAME: Final = "-- name: "


class Migration(msgspec.Struct, frozen=True):
    """A step of the ledger's schema."""

    version: int
    name: str
    text: LiteralString

    @property
    def sha256(self) -> str:
        """Of its text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def queries(file: str) -> dict[str, LiteralString]:
    """The queries of one of the engine's files by name."""
    return queries_of(__name__, file)


@cache
def queries_of(package: str, file: str) -> dict[str, LiteralString]:
    """The queries of one file of a package by name; each begins with a line `-- name: the_name`.

    The texts ship with the package and nothing is ever pasted into them, so they count as literals.
    """
    text = files(package).joinpath(f"{file}.sql").read_text()
    found = {}
    for block in text.split(_NAME)[1:]:
        name, _, query = block.partition("\n")
        found[name.strip()] = query.strip()
    return found


@cache
def migrations() -> list[Migration]:
    """All migrations, oldest first."""
    folder = files(__name__).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(int(name.split("_")[0]), name, folder.joinpath(name).read_text()) for name in names]
