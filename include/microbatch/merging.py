"""Merge: contributions become results. One transaction, under the pipeline's publish lock.

Its statements stand in the order that the design has them in: what may close is read first, then touched windows
are taken, then totals are derived, so that a batch that commits meanwhile is simply the next merge's.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from microbatch.claiming import refuse_old_definition
from microbatch.crash import crash_point
from microbatch.outbox import SEGMENT_MESSAGES, encode_segment, result_message
from microbatch.pipeline import Pipeline, TumblingWindow
from microbatch.postgres import Connection, acquire, one_row
from microbatch.registration import Registration
from microbatch.runs import Run
from microbatch.sql import queries
from microbatch.tables import ResultTables

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")


class Merged(msgspec.Struct, frozen=True):
    """What a merge did; `closed_until` None: no window is closed yet."""

    closed_until: datetime | None
    revisions: int
    corrections: int


class Touched(msgspec.Struct, frozen=True):
    """A window that a batch has contributed to."""

    output: str
    batch_id: int
    window_start: datetime


class Merge:
    """One merge of a pipeline."""

    def __init__(self, connection: Connection, pipeline: Pipeline, registration: Registration, run: Run) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._registration = registration
        self._facts: dict[str, Any] = {"pipeline_id": registration.pipeline_id}
        self._run_facts = {**self._facts, "dag_id": run.dag_id, "run_id": run.run_id}

    def merge(self) -> Merged:
        """Publish into Postgres what has changed, and number what goes to Kafka.

        Raises:
            OldDefinitionError: the definition changed; nothing was written.
        """
        with self._connection.transaction():
            acquire(
                self._connection,
                _LEDGER["lock_definition_shared"],
                self._facts,
                self._registration.pipeline_id,
            )
            refuse_old_definition(self._connection, self._pipeline, self._registration)
            closed_before, closed_until = self._close()
            crash_point("publish.after_closing")
            touched = self._take_touched()
            crash_point("publish.after_take")
            revisions, corrections = self._publish_changes(touched, closed_before, closed_until)
            crash_point("publish.after_totals")
            self._connection.execute(_OUTBOX["number_segments"], self._facts)
            crash_point("publish.after_numbering")
        return Merged(closed_until, revisions, corrections)

    def _close(self) -> tuple[datetime | None, datetime | None]:
        """Move closed_until as far as all partitions are caught up; returns what it was and what it is."""
        closed_before, closed_until = one_row(self._connection, _OUTBOX["closing"], self._facts)
        self._connection.execute(_OUTBOX["close_windows"], {**self._facts, "closed_until": closed_until})
        return closed_before, closed_until

    def _take_touched(self) -> list[Touched]:
        rows = self._connection.execute(_OUTBOX["take_touched"], self._facts).fetchall()
        return [Touched(*row) for row in rows]

    def _publish_changes(
        self, touched: list[Touched], closed_before: datetime | None, closed_until: datetime | None
    ) -> tuple[int, int]:
        """Write results, history and segments of all outputs; returns revisions and corrections."""
        if not touched and closed_before == closed_until:
            return 0, 0
        merge_id, merged_at = self._insert_merge()
        facts = {
            **self._facts,
            "closed_before": closed_before,
            "closed_until": closed_until,
            "open_windows": self._ended_behind(),
            "merge_id": merge_id,
            "merged_at": merged_at,
        }
        revisions = corrections = 0
        for output in self._pipeline.outputs:
            mine = [item for item in touched if item.output == output.table]
            changed = self._publish_output(output, mine, facts)
            revisions, corrections = revisions + changed[0], corrections + changed[1]
        if not revisions:
            self._connection.execute(_OUTBOX["delete_merge"], facts)
        return revisions, corrections

    def _insert_merge(self) -> tuple[int, datetime]:
        merge_id, merged_at = one_row(self._connection, _OUTBOX["insert_merge"], self._run_facts)
        return merge_id, merged_at

    def _ended_behind(self) -> bool:
        """Whether the run ended before it was caught up: then touched open windows are shown too."""
        return one_row(self._connection, _OUTBOX["run_ended_behind"], self._run_facts) == (True,)

    def _publish_output(self, output: TumblingWindow, touched: list[Touched], facts: dict[str, Any]) -> tuple[int, int]:
        tables = ResultTables(output, self._pipeline.fields)
        mine = {
            "batches": [item.batch_id for item in touched],
            "windows": [item.window_start for item in touched],
        }
        revisions, corrections = one_row(self._connection, tables.compose("publish_changes"), {**facts, **mine})
        if revisions and output.topic is not None:
            self._write_segments(output, output.topic.name, tables, facts["merge_id"])
        return revisions, corrections

    def _write_segments(self, output: TumblingWindow, topic: str, tables: ResultTables, merge_id: int) -> None:
        for rows in self._revisions(tables, merge_id):
            messages = [
                result_message(
                    topic=topic,
                    pipeline=self._pipeline.name,
                    key={name: row[name] for name in ("window_start", *output.by)},
                    value={name: value for name, value in row.items() if name != "retracted"},
                    revision=row["revision"],
                    retracted=row["retracted"],
                )
                for row in rows
            ]
            facts = {"merge_id": merge_id, "messages": len(messages), "payload": encode_segment(messages)}
            self._connection.execute(_OUTBOX["insert_result_segment"], {**self._facts, **facts})

    def _revisions(self, tables: ResultTables, merge_id: int) -> Iterator[list[dict[str, Any]]]:
        """The rows that this merge wrote into the history, as many at a time as a segment holds."""
        columns = [column.name for column in tables.by], [column.name for column in tables.measures]
        names = ["window_start", *columns[0], "window_end", *columns[1], "is_final", "revision", "retracted"]
        with self._connection.cursor(name="revisions") as cursor:
            cursor.execute(tables.compose("revisions_of_merge"), {"merge_id": merge_id})
            while rows := cursor.fetchmany(SEGMENT_MESSAGES):
                yield [dict(zip(names, row, strict=True)) for row in rows]
