"""The tables of a window: its results, its contributions and its history."""

from collections.abc import Iterator
from typing import Any, Final

from psycopg import sql

from microbatch.columntypes import Column, ColumnType, quoted
from microbatch.measures import AnyMeasure
from microbatch.outputs import TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection
from microbatch.sql import queries
from microbatch.tables import Name, Templates, add_columns, comment, copy, definitions, names_of
from microbatch.view import View
from microbatch.window_views import WindowViews

_TEMPLATES: Final = queries("windows")
# Where clocks go back, a day and a week are longer, by two hours at the most.
LONGER_S: Final = 7_200


class WindowTables(Templates):
    """The tables of one window.

    Attributes:
        by: the columns of the key, less the window.
        measures: the columns of the result.
        partials: the columns of the contributions.
        views: over the tables.
    """

    def __init__(self, pipeline: Pipeline, output: TumblingWindow, view: View) -> None:
        self._schema, self.name = pipeline.state(output)
        self.views = WindowViews(self._schema, self.name, output.by)
        self.by = [_column(name, view.seen[name], f"column {name} of the event") for name in output.by]
        needed = {name: view.seen.get(m.needs or "") for name, m in output.measures.items()}
        self.measures = [Column(n, m.kind(needed[n]), m.describe()) for n, m in output.measures.items()]
        self.partials = [
            Column(
                name + partial.suffix, partial.kind, f"{measure.describe()}: {partial.suffix or 'value'} of the batch"
            )
            for name, measure in output.measures.items()
            for partial in measure.partials("", needed[name])
        ]
        super().__init__(_TEMPLATES, self._parts_of(output, needed))

    def _parts_of(self, output: TumblingWindow, needed: dict[str, ColumnType | None]) -> dict[str, sql.Composable]:
        key = ["window_start", *(column.name for column in self.by)]
        measures = [column.name for column in self.measures]
        totals = [_total(name, measure, needed[name]) for name, measure in output.measures.items()]
        result, contribution, history = (sql.Identifier(*name) for name in self._tables)
        return {
            "result": result,
            "contribution": contribution,
            "history": history,
            "key": names_of(key),
            "c_key": names_of(key, "c"),
            "h_key": names_of(key, "h"),
            "k_key": names_of(key, "k"),
            "r_key": names_of(key, "r"),
            "t_key": names_of(key, "t"),
            "measures": names_of(measures),
            "r_measures": names_of(measures, "r"),
            "t_measures": names_of(measures, "t"),
            "by_and_partials": names_of(column.name for column in [*self.by, *self.partials]),
            "set_measures": sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in measures
            ),
            "totals": sql.SQL(", ").join(totals),
            "columns": definitions(self.by, self.measures),
            "partial_columns": definitions(self.by, self.partials),
            "longest": sql.Literal(f"{output.size_s + (LONGER_S if output.timezone != 'UTC' else 0)} seconds"),
        }

    @property
    def names(self) -> list[Name]:
        """Results, contributions, history, and the views over them."""
        return [*self._tables, *self.views.names]

    @property
    def _tables(self) -> list[Name]:
        return [(self._schema, self.name + suffix) for suffix in ("", "_contribution", "_history")]

    def create(self, connection: Connection, pipeline: str) -> None:
        """Create the tables and views, with comments."""
        for template in ("create_result", "create_contribution", "create_history"):
            connection.execute(self.compose(template, pipeline=sql.Literal(pipeline)))
        for table, columns in self._columns():
            comment(connection, table, columns)
        self.views.create(connection)

    def add_columns(self, connection: Connection) -> None:
        """Add measures that are not there yet."""
        for table, columns in self._columns():
            add_columns(connection, table, columns)
        self.views.add_columns(connection)

    def _columns(self) -> list[tuple[Name, list[Column]]]:
        result, contribution, history = self._tables
        shown = [*self.by, *self.measures]
        return [(result, shown), (contribution, [*self.by, *self.partials]), (history, shown)]

    def copy_contributions(
        self, connection: Connection, batch_id: int, rows: Iterator[tuple[Any, ...]]
    ) -> Iterator[int]:
        """COPY contributions of a batch (window_start, window_end, by, partials); yields the rows so far after each."""
        types = ["int8", "timestamptz", "timestamptz", *(column.copied for column in [*self.by, *self.partials])]
        numbered = ((batch_id, *row) for row in rows)
        yield from copy(connection, self.compose("copy_contributions"), types, numbered)


def _column(name: str, column: ColumnType, text: str) -> Column:
    assert column.postgres is not None  # noqa: S101 - the declaration was checked
    return Column(name, column.postgres, text)


def _total(name: str, measure: AnyMeasure, column: ColumnType | None) -> sql.Composed:
    partials = [f"c.{quoted(name + partial.suffix)}" for partial in measure.partials("", column)]
    total: Any = measure.total(partials, column)
    return sql.SQL("{} as {}").format(sql.SQL(total), sql.Identifier(name))
