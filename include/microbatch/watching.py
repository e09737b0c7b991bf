"""What people ask while pipelines run, and the answers as values: from the ledger, and from Kafka as it is now.

Everything here only reads, with the role that only reads, and needs no DAG file: the ledger knows the outputs.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from microbatch.errors import NotRegisteredError
from microbatch.kafka import Broker, Ends
from microbatch.sql import queries
from microbatch.states import Facts, Verdict, judge

_WATCHING: Final = queries("watching")
# Columns of a result table that say nothing new beside the others.
_LEFT_OUT: Final = ("window_end", "updated_at")


class Window(msgspec.Struct, frozen=True, tag="tumbling_window", tag_field="kind"):
    """A window output, as the definition in the ledger has it: columns are pairs of name and type."""

    by: list[tuple[str, str]]
    schema: str
    table: str
    topic: str | None


class Stream(msgspec.Struct, frozen=True, tag="stream", tag_field="kind"):
    """A stream output. Its rows are kept only in a table that it declares."""

    schema: str
    table: str
    topic: str | None


class Pairs(msgspec.Struct, frozen=True, tag="pairs", tag_field="kind"):
    """A pairs output."""

    schema: str
    table: str
    topic: str | None


class Registered(msgspec.Struct, frozen=True):
    """A pipeline that the ledger knows, with its outputs as plain values."""

    name: str
    source_topic: str
    outputs: list[dict[str, Any]]


class Lag(msgspec.Struct, frozen=True):
    """How far a source partition is covered, and what is there.

    Attributes:
        pipeline: its name.
        topic: the source.
        partition: of the source.
        covered_until: the end of what is covered without a gap; None: the partition is new, no run has seen it.
        looked_at_end: the high watermark that the last run saw.
        looked_at: when it did.
        now: what Kafka has now; None: it has no such partition.
    """

    pipeline: str
    topic: str
    partition: int
    covered_until: int | None
    looked_at_end: int | None
    looked_at: datetime | None
    now: Ends | None = None

    @property
    def behind(self) -> int | None:
        """Offsets that are there and not covered; negative: the log ends before what is covered."""
        return None if self.now is None else self.now.high_watermark - (self.covered_until or 0)


class Gap(msgspec.Struct, frozen=True):
    """Offsets `[start_offset, end_offset)` that were stepped over."""

    pipeline: str
    topic: str
    partition: int
    start_offset: int
    end_offset: int


class Freshness(msgspec.Struct, frozen=True):
    """From when and up to when a pipeline is complete, and what stops it. Times are aware.

    Attributes:
        pipeline: its name.
        complete_from: windows that start at or after it can be final; None: all.
        complete_until: windows that end at or before it are closed; None: none is.
        behind_by_s: seconds from `complete_until` to now.
        behind: offsets that the last look saw and that are not covered; None: no run has looked.
        looked_at: when a run looked last at the source.
        last_batch_at: when the last batch was committed.
        last_failure_at: when an attempt failed last.
        last_error: its error.
        failures: attempts that have failed since the last batch.
    """

    pipeline: str
    complete_from: datetime | None
    complete_until: datetime | None
    behind_by_s: float | None
    behind: int | None
    looked_at: datetime | None
    last_batch_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    failures: int


class Batch(msgspec.Struct, frozen=True):
    """A batch that is done; `ranges` is text for people."""

    batch_id: int
    committed_at: datetime | None
    messages: int
    rejected: int
    repeated: int
    filtered: int
    ranges: str | None


class Newest(msgspec.Struct, frozen=True):
    """The newest rows of an output's table, newest first; `columns` name the values of each row."""

    title: str
    columns: list[str]
    rows: list[tuple[Any, ...]]


class Questions:
    """Asks about the pipelines of one deployment."""

    def __init__(self, connection: psycopg.Connection, deployment: str) -> None:
        self._connection = connection
        self._deployment = deployment

    def registered(self, name: str | None = None) -> list[Registered]:
        """All pipelines by name, or the one of that name.

        Raises:
            NotRegisteredError: there is none of that name; the text says which there are.
        """
        found: list[Registered] = []
        if self._connection.execute(_WATCHING["ledger_exists"]).fetchone() == (True,):
            found = self._rows(Registered, _WATCHING["registered"])
        if name is None:
            return found
        named = [pipeline for pipeline in found if pipeline.name == name]
        if not named:
            known = ", ".join(pipeline.name for pipeline in found) or "none yet"
            raise NotRegisteredError(pipeline=name, deployment=self._deployment, registered=known)
        return named

    def lag(self, pipelines: list[Registered], broker: Broker) -> list[Lag]:
        """A value for each source partition, known to the ledger or to Kafka.

        Raises:
            KafkaUnreachableError: no broker answers.
        """
        known = self._rows(Lag, _WATCHING["lag"], pipelines=_names(pipelines))
        # After the ledger: what is covered meanwhile is then not ahead of Kafka.
        topics = broker.topics(sorted({pipeline.source_topic for pipeline in pipelines})) if pipelines else {}
        ends = {name: broker.ends(name, range(facts.partitions)) for name, facts in topics.items()}
        found = [msgspec.structs.replace(lag, now=ends.get(lag.topic, {}).get(lag.partition)) for lag in known]
        seen = {(lag.pipeline, lag.partition) for lag in found}
        found += [
            Lag(pipeline.name, pipeline.source_topic, partition, None, None, None, now)
            for pipeline in pipelines
            for partition, now in ends.get(pipeline.source_topic, {}).items()
            if (pipeline.name, partition) not in seen
        ]
        return sorted(found, key=lambda lag: (lag.pipeline, lag.partition))

    def gaps(self, pipelines: list[Registered]) -> list[Gap]:
        """Offsets below the highest covered one that no batch has read."""
        return self._rows(Gap, _WATCHING["gaps"], pipelines=_names(pipelines))

    def freshness(self, pipelines: list[Registered]) -> list[Freshness]:
        """A value for each pipeline."""
        return self._rows(Freshness, _WATCHING["freshness"], pipelines=_names(pipelines))

    def verdicts(self, pipelines: list[Registered]) -> dict[str, Verdict]:
        """How each pipeline fares, by its name, as far as the ledger knows: not whether its DAG is paused."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(
                _WATCHING["standing"], {"deployment": self._deployment, "names": _names(pipelines)}
            ).fetchall()
        return {row["name"]: judge(msgspec.convert({**row, "is_paused": None}, Facts)) for row in found}

    def last_batches(self, pipeline: Registered, limit: int) -> list[Batch]:
        """The last batches, newest first."""
        return self._rows(Batch, _WATCHING["last_batches"], pipeline=pipeline.name, limit=limit)

    def newest(self, pipeline: Registered, limit: int) -> list[Newest]:
        """The newest rows of each output that keeps rows in Postgres."""
        found = []
        for output in msgspec.convert(pipeline.outputs, list[Window | Stream | Pairs]):
            table = sql.Identifier(output.schema, output.table)
            there = self._connection.execute(_WATCHING["table_readable"], {"table": table.as_string()})
            if there.fetchone() != (True,):
                continue  # a stream without a table
            cursor = self._connection.execute(
                _newest(output, table),
                {"deployment": self._deployment, "pipeline": pipeline.name, "limit": limit},
            )
            columns = [column.name for column in cursor.description or []]
            shown = [columns.index(name) for name in _shown(output, columns)]
            rows = [tuple(row[at] for at in shown) for row in cursor]
            title = output.table if output.schema == "public" else f"topic {output.topic or output.table}"
            found.append(Newest(title, [columns[at] for at in shown], rows))
        return found

    def _rows(self, kind: type[Any], query: Any, **parameters: Any) -> list[Any]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(query, {"deployment": self._deployment, **parameters}).fetchall()


def _newest(output: Window | Stream | Pairs, table: sql.Identifier) -> sql.Composed:
    if isinstance(output, Window):
        newest_first = sql.SQL("{} desc").format(sql.Identifier("t", "window_start"))
        order = [newest_first, *(sql.Identifier("t", name) for name, _ in output.by)]
        return sql.SQL(_WATCHING["newest_results"]).format(table=table, order=sql.SQL(", ").join(order))
    place = "second" if isinstance(output, Pairs) else "source"
    return sql.SQL(_WATCHING["newest_rows"]).format(
        table=table,
        partition=sql.Identifier("o", f"{place}_partition"),
        offset=sql.Identifier("o", f"{place}_offset"),
        newest=sql.Identifier("t", f"{place}_offset"),
    )


def _shown(output: Window | Stream | Pairs, columns: list[str]) -> list[str]:
    """The columns for people, the important ones first: there may be many."""
    if not isinstance(output, Window):
        return columns
    first = ["window_start", *(name for name, _ in output.by), "revision", "is_final"]
    return [*first, *(name for name in columns if name not in (*first, *_LEFT_OUT))]


def _names(pipelines: list[Registered]) -> list[str]:
    return [pipeline.name for pipeline in pipelines]
