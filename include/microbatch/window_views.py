"""The views, the function and the indexes over a window's tables, for people and programs that ask in SQL."""

from collections.abc import Iterator
from typing import Any, Final

from psycopg import sql

from microbatch.postgres import Connection, one_row
from microbatch.sql import queries
from microbatch.tables import Name, Templates, names_of

VIEWS: Final = 1
"""The edition of them: one more whenever a later engine has other ones."""
_TEMPLATES: Final = queries("views")
_VIEWS: Final = ("batch", "late", "mixed")
VIEW_SUFFIXES: Final = ("_as_of", *(f"_{view}" for view in _VIEWS))


class WindowViews(Templates):
    """The views over the tables of one window.

    Attributes:
        names: of the function, which PostgreSQL has in a place of its own, and of the views.
    """

    def __init__(self, schema: str, table: str, by: list[str]) -> None:
        key = ["window_start", *by]
        self.names: list[Name] = [(schema, table + suffix) for suffix in VIEW_SUFFIXES]
        result, as_of = sql.Identifier(schema, table), sql.Identifier(schema, f"{table}_as_of")
        super().__init__(
            _TEMPLATES,
            {
                "output": sql.Literal(f"{schema}.{table}"),
                "result": result,
                "result_name": sql.Literal(result.as_string()),
                "contribution": sql.Identifier(schema, f"{table}_contribution"),
                "history": sql.Identifier(schema, f"{table}_history"),
                "as_of": as_of,
                "as_of_name": sql.Literal(f"{as_of.as_string()}(timestamptz)"),
                **{view: sql.Identifier(schema, f"{table}_{view}") for view in _VIEWS},
                "key": names_of(key),
                "c_key": names_of(key, "c"),
                "h_key": names_of(key, "h"),
                "k_key": names_of(key, "k"),
                "r_key": names_of(key, "r"),
            },
        )

    def create(self, connection: Connection) -> None:
        """Create them over the columns that the tables have now, and the indexes that questions need."""
        connection.execute(self.compose("create_indexes"))
        self._create_as_of(connection)
        connection.execute(self.compose("create_batch_view"))
        connection.execute(self.compose("create_late_view"))
        connection.execute(self.compose("create_mixed_view"))

    def add_columns(self, connection: Connection) -> None:
        """Let results as of a time have the columns that the table has now; a pipeline may have no views yet."""
        if one_row(connection, self.compose("has_as_of"), {}) == (True,):
            self._create_as_of(connection)

    def _create_as_of(self, connection: Connection) -> None:
        columns = sql.SQL(", ").join(self._columns_then(connection))
        connection.execute(self.compose("create_as_of", columns=columns))

    def _columns_then(self, connection: Connection) -> Iterator[sql.Composable]:
        """The columns of a result as the history has them, in the order of the table: added ones come last."""
        rows: Any = connection.execute(self.compose("columns_of_result")).fetchall()
        for (name,) in rows:
            yield sql.Identifier("h", "valid_from" if name == "updated_at" else name)
