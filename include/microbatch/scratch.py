"""A DuckDB to compute in: in bounded memory, what outgrows it spills to disk."""

from types import TracebackType
from typing import Final, Self

import duckdb

from microbatch.expressions import connect
from microbatch.spilling import SpillFolder

MEMORY_LIMIT: Final = "200MB"


class Scratch:
    """A database for one piece of work after the other; it is made when it is needed first, which takes long."""

    def __init__(self) -> None:
        self._made: tuple[SpillFolder, duckdb.DuckDBPyConnection] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made is not None:
            spill, database = self._made
            database.close()
            spill.close()

    @property
    def database(self) -> duckdb.DuckDBPyConnection:
        """The database, without tables unless whoever used it before has left some."""
        if self._made is None:
            spill = SpillFolder()
            database = connect(
                memory_limit=MEMORY_LIMIT, temp_directory=str(spill.path), preserve_insertion_order=False
            )
            self._made = spill, database
        return self._made[1]

    def clear(self) -> None:
        """Drop all tables."""
        names = self.database.execute("select table_name from duckdb_tables()").fetchall()
        for (name,) in names:
            self.database.execute(f"drop table {name}")
