"""Window outputs of a registered pipeline, and their tables as parts of queries."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import msgspec
from fastapi import HTTPException, status
from psycopg import sql

from microbatch.postgres import Connection
from microbatch_ui.database import queries, rows
from microbatch_ui.pipelines import Registered

_RESULTS: Final = queries("results")
_COMMA: Final = sql.SQL(", ")


class WindowOutput(msgspec.Struct, frozen=True):
    """A window output, as the definition has it.

    Attributes:
        schema: of its table.
        table: its name.
        by: name and type of each column of the key.
        measures: what the definition says of each, by its name.
        size_s: the length of a window; days and weeks of a time zone may be longer or shorter.
        timezone: of days and weeks.
    """

    schema: str
    table: str
    by: list[tuple[str, str]]
    measures: dict[str, dict[str, Any]]
    size_s: int
    timezone: str

    @property
    def ledger_name(self) -> str:
        """What the ledger calls the output."""
        return f"{self.schema}.{self.table}"

    @property
    def columns(self) -> list[str]:
        """Of the table of its results, the important ones first."""
        key = ["window_start", "window_end", *(name for name, _ in self.by)]
        return [*key, *self.measures, "is_final", "revision", "updated_at"]

    @property
    def summed(self) -> str | None:
        """The first measure whose total over all keys means something: a sum or a count."""
        return next((name for name, facts in self.measures.items() if facts["measure"] in ("sum", "count")), None)

    def compose(self, query: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """A template of results.sql with the tables and the columns of the key in it, and these parts."""
        names = [name for name, _ in self.by]
        texts = [sql.SQL("{}::text").format(sql.Identifier("r", name)) for name in ["window_start", *names]]
        return sql.SQL(query).format(
            result=sql.Identifier(self.schema, self.table),
            history=sql.Identifier(self.schema, f"{self.table}_history"),
            r_key=_row(sql.Identifier("r", name) for name in names),
            h_key=_row(sql.Identifier("h", name) for name in names),
            b_key=_row(sql.Identifier("b", name) for name in names),
            texts=_COMMA.join(texts[1:]),
            cursor=_COMMA.join(texts),
            **parts,
        )

    def key_parts(self, key: Sequence[str]) -> tuple[sql.Composable, dict[str, str]]:
        """The values of a key in a query, and its parameters: PostgreSQL reads texts as what the column is."""
        facts = {f"key{number}": value for number, value in enumerate(key)}
        return _row(sql.Placeholder(name) for name in facts), facts

    def number(self, measure: str) -> sql.Composed:
        """A measure as a number for charts, of the table `r`; a time as seconds since 1970."""
        column = sql.Identifier("r", measure)
        is_time = self.measures[measure].get("of") == "timestamptz"
        return sql.SQL("extract(epoch from {})::float8" if is_time else "{}::float8").format(column)


def window_outputs(connection: Connection, pipeline: Registered) -> list[WindowOutput]:
    """Those of a pipeline, in the order of its outputs; their measures in the order of the table's columns.

    The ledger keeps definitions as jsonb, which has an order of its own.
    """
    windows = [output for output in pipeline.outputs if output["kind"] == "tumbling_window"]
    return [_in_order(connection, output) for output in msgspec.convert(windows, list[WindowOutput])]


def window_output(connection: Connection, pipeline: Registered, table: str) -> WindowOutput:
    """The one with that table, with or without its schema; 404 if there is none."""
    found = window_outputs(connection, pipeline)
    for output in found:
        if table in (output.table, output.ledger_name):
            return output
    there = ", ".join(output.table for output in found) or "none"
    raise HTTPException(
        status.HTTP_404_NOT_FOUND,
        f"Pipeline {pipeline.name!r} has no table {table!r} of windows; take one that it has: {there}",
    )


def _in_order(connection: Connection, output: WindowOutput) -> WindowOutput:
    table = sql.Identifier(output.schema, output.table).as_string()
    columns = [row["name"] for row in rows(connection, _RESULTS["columns_of_result"], {"result": table})]
    ordered = {name: output.measures[name] for name in columns if name in output.measures}
    return msgspec.structs.replace(output, measures=ordered) if ordered else output


def _row(columns: Any) -> sql.Composed:
    """Columns or values to be compared; of a window without a key a row of one, which is always the same."""
    parts = list(columns) or [sql.SQL("1")]
    return sql.SQL("({})").format(_COMMA.join(parts))
