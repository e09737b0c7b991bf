"""Merge: contributions become results. One transaction, under the pipeline's publish lock.

Its statements stand in the order that the design has them in: what may close is read first, then touched windows
are taken, then totals are derived, so that a batch that commits meanwhile is simply the next merge's.
"""

import logging
from datetime import datetime
from typing import Any, Final

import msgspec

from microbatch.claiming import refuse_old_definition
from microbatch.columntypes import Column
from microbatch.crash import crash_point
from microbatch.final_days import note_final_days
from microbatch.outbox import SEGMENT_MESSAGES, encode_segment, result_message
from microbatch.outputs import TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.postgres import Connection, acquire, one_row
from microbatch.registration import Registration
from microbatch.runs import Revised, Run
from microbatch.sql import queries
from microbatch.view import view
from microbatch.window_tables import WindowTables

log: Final = logging.getLogger("microbatch")
_LEDGER: Final = queries("ledger")
_OUTBOX: Final = queries("outbox")
_OF_REVISIONS: Final = [
    Column("is_final", "boolean", ""),
    Column("revision", "bigint", ""),
    Column("retracted", "boolean", ""),
]


class Merged(msgspec.Struct, frozen=True):
    """What a merge did; `closed_until` None: no window is closed yet."""

    closed_until: datetime | None
    revised: list[Revised]


class Touched(msgspec.Struct, frozen=True):
    """A window that a batch has contributed to; without a batch, all of its keys may have changed."""

    output: str
    batch_id: int | None
    window_start: datetime


class Closing(msgspec.Struct, frozen=True):
    """How far windows are closed and complete, before this merge and from now on; None: no window is closed."""

    closed_before: datetime | None
    closed_until: datetime | None
    complete_before: datetime
    complete_from: datetime

    @property
    def has_moved(self) -> bool:
        """Whether windows have closed or become complete."""
        return self.closed_before != self.closed_until or self.complete_before != self.complete_from


class Merge:
    """One merge of a pipeline."""

    def __init__(self, connection: Connection, pipeline: Pipeline, registration: Registration, run: Run) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._registration = registration
        self._view = view(pipeline)
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
            closing = self._close()
            crash_point("publish.after_closing")
            touched = self._take_touched()
            crash_point("publish.after_take")
            revised = self._publish_changes(touched, closing)
            crash_point("publish.after_totals")
            self._connection.execute(_OUTBOX["number_segments"], self._facts)
            crash_point("publish.after_numbering")
        return Merged(closing.closed_until, revised)

    def _close(self) -> Closing:
        """Move closed_until as far as all partitions are caught up, and complete_from as far as history is read."""
        closed_before, closed_until = one_row(self._connection, _OUTBOX["closing"], self._facts)
        self._connection.execute(_OUTBOX["close_windows"], {**self._facts, "closed_until": closed_until})
        complete_before, complete_from = one_row(self._connection, _LEDGER["update_complete_from"], self._facts)
        return Closing(closed_before, closed_until, complete_before, complete_from)

    def _take_touched(self) -> list[Touched]:
        rows = self._connection.execute(_OUTBOX["take_touched"], self._facts).fetchall()
        return [Touched(*row) for row in rows]

    def _publish_changes(self, touched: list[Touched], closing: Closing) -> list[Revised]:
        """Write results, history and segments of all windows; returns what was revised."""
        if not self._pipeline.windows or not (touched or closing.has_moved):
            return []
        self._connection.execute(_OUTBOX["plan_by_index"])
        merge_id, merged_at = self._insert_merge()
        facts = {
            **self._facts,
            **msgspec.structs.asdict(closing),
            "merge_id": merge_id,
            "merged_at": merged_at,
        }
        ended_behind = self._ended_behind()
        revised = []
        for output in self._pipeline.windows:
            name = ".".join(self._pipeline.state(output))
            mine = [item for item in touched if item.output == name]
            open_windows = {"open_windows": ended_behind or output.emit == "early"}
            changed = self._publish_output(output, mine, {**facts, **open_windows})
            revised += [changed] if changed else []
            if changed or closing.has_moved:
                note_final_days(self._connection, self._pipeline, output, facts)
        if not revised:
            self._connection.execute(_OUTBOX["delete_merge"], facts)
        return revised

    def _insert_merge(self) -> tuple[int, datetime]:
        merge_id, merged_at = one_row(self._connection, _OUTBOX["insert_merge"], self._run_facts)
        return merge_id, merged_at

    def _ended_behind(self) -> bool:
        """Whether the run ended before it was caught up: then touched open windows are shown too."""
        return one_row(self._connection, _OUTBOX["run_ended_behind"], self._run_facts) == (True,)

    def _publish_output(self, output: TumblingWindow, touched: list[Touched], facts: dict[str, Any]) -> Revised | None:
        tables = WindowTables(self._pipeline, output, self._view)
        by_batch = [item for item in touched if item.batch_id is not None]
        mine = {
            "batches": [item.batch_id for item in by_batch],
            "windows": [item.window_start for item in by_batch],
            "whole_windows": [item.window_start for item in touched if item.batch_id is None],
        }
        changed = one_row(self._connection, tables.compose("publish_changes"), {**facts, **mine})
        revised = Revised(".".join(self._pipeline.state(output)), *changed)
        if not revised.revisions:
            return None
        if output.topic is not None:
            self._write_segments(output.topic.name, tables, facts["merge_id"])
        return revised

    def _write_segments(self, topic: str, tables: WindowTables, merge_id: int) -> None:
        """The rows that this merge wrote into the history, as many at a time as a segment holds."""
        key = [Column("window_start", "timestamptz", ""), *tables.by]
        columns = [*key, Column("window_end", "timestamptz", ""), *tables.measures, *_OF_REVISIONS]
        with self._connection.cursor(name="revisions") as cursor:
            cursor.execute(tables.compose("revisions_of_merge"), {"merge_id": merge_id})
            while rows := cursor.fetchmany(SEGMENT_MESSAGES):
                messages = [result_message(topic, self._pipeline.name, key, columns, row) for row in rows]
                facts = {"merge_id": merge_id, "messages": len(messages), "payload": encode_segment(messages)}
                self._connection.execute(_OUTBOX["insert_result_segment"], {**self._facts, **facts})
