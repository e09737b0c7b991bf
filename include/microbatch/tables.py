"""The tables of an output, and the SQL over them. The only place where declared identifiers become SQL.

Templates are in `sql/results.sql`; what stands there in braces is composed here, quoted by psycopg.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from psycopg import sql

from microbatch.event import Field, FieldKind
from microbatch.pipeline import SUFFIXES, TumblingWindow
from microbatch.postgres import Connection
from microbatch.sql import queries

SCHEMA: Final = "public"
_TEMPLATES: Final = queries("results")
_COLUMN_TYPES: Final[dict[FieldKind, str]] = {"str": "text", "int": "bigint", "epoch_seconds": "bigint"}


class Column(msgspec.Struct, frozen=True):
    """A column that the declaration names, its PostgreSQL type, and its comment."""

    name: str
    kind: str
    comment: str


class ResultTables:
    """The result table of an output, its contributions and its history."""

    def __init__(self, output: TumblingWindow, fields: dict[str, Field]) -> None:
        self.name = output.table
        self._size_s = output.size_s
        self.by = [Column(name, _COLUMN_TYPES[fields[name].kind], f"field {name}") for name in output.by]
        self.measures = [Column(n, m.column_type, m.describe()) for n, m in output.measures.items()]
        self._totals = [
            sql.SQL("{} as {}").format(sql.SQL(measure.over_partials(f"c.{_quoted(name)}")), sql.Identifier(name))
            for name, measure in output.measures.items()
        ]

    @property
    def names(self) -> list[str]:
        """Its three tables, in schema public."""
        return [self.name + suffix for suffix in SUFFIXES]

    @property
    def columns(self) -> list[Column]:
        """The declared columns."""
        return [*self.by, *self.measures]

    def create(self, connection: Connection, pipeline: str) -> None:
        """Create the tables, with comments."""
        for template in ("create_result", "create_contribution", "create_history"):
            connection.execute(self.compose(template, pipeline=sql.Literal(pipeline)))
        for table in self.names:
            for column in self.columns:
                connection.execute(
                    sql.SQL("comment on column {}.{} is {}").format(
                        sql.Identifier(SCHEMA, table),
                        sql.Identifier(column.name),
                        sql.Literal(column.comment),
                    )
                )

    def copy_contributions(
        self, connection: Connection, batch_id: int, rows: Iterator[tuple[Any, ...]]
    ) -> Iterator[int]:
        """COPY contributions of a batch; yields the number of rows so far after each, inside the COPY."""
        types = ["int8", "timestamptz", *(column.kind for column in self.columns)]
        with connection.cursor() as cursor, cursor.copy(self.compose("copy_contributions")) as copy:
            copy.set_types(types)
            for count, row in enumerate(rows, 1):
                copy.write_row((batch_id, *row))
                yield count

    def compose(self, template: str, **literals: sql.Composable) -> sql.Composed:
        """A query of `sql/results.sql` for these tables."""
        key = ["window_start", *(column.name for column in self.by)]
        measures = [column.name for column in self.measures]
        return sql.SQL(_TEMPLATES[template]).format(
            result=sql.Identifier(SCHEMA, self.name),
            contribution=sql.Identifier(SCHEMA, f"{self.name}_contribution"),
            history=sql.Identifier(SCHEMA, f"{self.name}_history"),
            key=_names(key),
            c_key=_names(key, "c"),
            h_key=_names(key, "h"),
            k_key=_names(key, "k"),
            r_key=_names(key, "r"),
            t_key=_names(key, "t"),
            measures=_names(measures),
            r_measures=_names(measures, "r"),
            t_measures=_names(measures, "t"),
            set_measures=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in measures
            ),
            totals=sql.SQL(", ").join(self._totals),
            columns=_definitions(self.columns),
            nullable_columns=_definitions(self.by, self.measures),
            size=sql.Literal(f"{self._size_s} seconds"),
            **literals,
        )


def _names(names: list[str], alias: str | None = None) -> sql.Composed:
    qualified = [sql.Identifier(alias, name) if alias else sql.Identifier(name) for name in names]
    return sql.SQL(", ").join(qualified)


def _definitions(needed: list[Column], nullable: list[Column] | None = None) -> sql.Composed:
    """Column definitions; the types are the engine's own words."""
    found = [_definition(column, " not null") for column in needed]
    return sql.SQL(",\n    ").join(found + [_definition(column, "") for column in nullable or []])


def _definition(column: Column, constraint: str) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.kind + constraint))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
