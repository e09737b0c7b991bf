"""The windows of a registered pipeline that have a topic, as the ledger knows them: no DAG file is asked."""

from collections.abc import Iterator
from typing import Any, Final

from psycopg import sql

from microbatch.columntypes import Column
from microbatch.deciding import Known
from microbatch.outbox import SEGMENT_MESSAGES, OutMessage, decode_segment, result_message
from microbatch.postgres import Connection, one_row
from microbatch.sql import queries
from microbatch.tables import Templates, names_of

_TEMPLATES: Final = queries("adopting")
_RECOVERING: Final = queries("recovering")


class KnownWindow(Templates):
    """A window output of a registered pipeline.

    Attributes:
        topic: that it goes to.
        state: its result table, as `touched` names it.
    """

    def __init__(self, connection: Connection, pipeline: str, output: dict[str, Any]) -> None:
        schema, table = output["schema"], output["table"]
        self._pipeline = pipeline
        self.topic: str = output["topic"]
        self.state = f"{schema}.{table}"
        by, measures = [name for name, _ in output["by"]], list(output["measures"])
        result = sql.Identifier(schema, table)
        rows = connection.execute(_RECOVERING["column_types"], {"table": result.as_string()}).fetchall()
        kinds: dict[str, str] = dict(rows)
        key = ["window_start", *by]
        self._key = [Column(name, kinds[name], "") for name in key]
        shown = [*key, "window_end", *measures, "is_final", "revision"]
        self._columns = [*(Column(name, kinds[name], "") for name in shown), Column("retracted", "boolean", "")]
        super().__init__(
            _TEMPLATES,
            {
                "result": result,
                "history": sql.Identifier(schema, f"{table}_history"),
                "contribution": sql.Identifier(schema, f"{table}_contribution"),
                "key": names_of(key),
                "measures": names_of(measures),
                "a_key": names_of(key, "a"),
                "c_key": names_of(key, "c"),
                "h_key": names_of(key, "h"),
                "k_key": names_of(key, "k"),
                "n_key": names_of(key, "n"),
                "r_key": names_of(key, "r"),
                "v_measures": names_of(measures, "v"),
            },
        )

    def has_results(self, connection: Connection) -> bool:
        """Whether there are any now."""
        return one_row(connection, self.compose("has_results"), {}) == (True,)

    def messages(self, connection: Connection) -> Iterator[OutMessage]:
        """A message for each result, as it is now."""
        with connection.cursor(name="results") as cursor:
            cursor.execute(self.compose("current_results"))
            while rows := cursor.fetchmany(SEGMENT_MESSAGES):
                for row in rows:
                    yield result_message(self.topic, self._pipeline, self._key, self._columns, row)


def waiting_messages(connection: Connection, segment_id: int) -> list[OutMessage]:
    """The messages of a segment of the outbox."""
    return decode_segment(one_row(connection, _RECOVERING["segment_payload"], {"segment_id": segment_id})[0])


def known_windows(connection: Connection, pipeline: Known) -> list[KnownWindow]:
    """Those windows of a registered pipeline that have a topic."""
    outputs = pipeline.definition["outputs"]
    return [
        KnownWindow(connection, pipeline.name, output)
        for output in outputs
        if output["kind"] == "tumbling_window" and output["topic"]
    ]
