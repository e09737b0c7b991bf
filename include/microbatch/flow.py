"""The flow of events through a pipeline: too late? -> transform -> stream (reject, where, columns).

A chunk of decoded events becomes a table of Arrow with the columns that the outputs need. What happens to an event
depends on it alone: an expression that fails fails for its own event, which is a reject.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from confluent_kafka import Message as RawMessage

from microbatch.checking import LATE
from microbatch.columns import column, integers
from microbatch.columntypes import quoted
from microbatch.decoding import Decoded, Reject, whole
from microbatch.event import EPOCH
from microbatch.expressions import BATCH_TIME, EVENT_TIME, KAFKA_TIMESTAMP, OFFSET, PARTITION, first_line
from microbatch.outputs import TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.view import view
from microbatch.windows import bounds

# PostgreSQL's B-tree takes rows of 2,704 bytes; what is left is for the window, the batch, integers and headers.
MAX_KEY_BYTES: Final = 2_000
POSITION: Final = "_position"
KAFKA_MS: Final = "_kafka_ms"
KEY: Final = "_key"
_US: Final = timedelta(microseconds=1)
# What the values of one row can do to an expression. Any other error is no message's fault.
_DATA_ERRORS: Final = (
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,  # such as an unknown time zone
)
# The "reason" of an event that `where` leaves out; a reject's reason is never empty.
_FILTERED: Final = ""


class Passed(msgspec.Struct, frozen=True):
    """What of a chunk came through, and what did not.

    Attributes:
        events: a row each, in the order of the messages; `_position` is the place in the chunk's messages, `_kafka_ms`
            their time; `_partition`, `_offset` and `_key` say where from, unless there are windows only; `_start0`,
            `_end0`, … are the windows of it; the pipeline's own columns have the names that `Flow.columns` gives them.
        rejects: those that were too late, broke a rule, or for which an expression failed.
        filtered: how many `where` or the transform left out.
        may_be_late: of each window, whether one of the events may be late (see lateness.py); else none is.
    """

    events: pa.Table
    rejects: list[Reject]
    filtered: int
    may_be_late: list[bool]


class _Judged(msgspec.Struct, frozen=True, order=True):
    """An event that does not pass: its position, why, and whether it is invalid."""

    position: int
    reason: str
    is_invalid: bool


_Step = Callable[[pa.Table], tuple[pa.Table, list[_Judged]]]


class Flow:
    """The flow of one batch.

    Attributes:
        columns: what DuckDB calls each column that windows, pairs and the stream's sinks see.
    """

    def __init__(self, pipeline: Pipeline, batch_time: datetime, database: duckdb.DuckDBPyConnection) -> None:
        self._pipeline = pipeline
        self._batch_time = batch_time
        self._database = database
        self._view = view(pipeline)
        # DuckDB's names know no case, and declared ones could be like ours: inside it, all columns have numbers.
        self._fields = {name: f"f{n}" for n, name in enumerate(self._view.event)}
        self._computed = {name: f"v{n}" for n, name in enumerate(self._view.stream)}
        self.columns = {**self._fields, **self._computed}
        self._lateness_us = None if pipeline.allowed_lateness is None else pipeline.allowed_lateness // _US
        # Once a batch, not once a chunk.
        found = pipeline.fields
        self._needed = {name: found[name] for name in self._needed_fields()}
        # A transform sees the names that were declared.
        self._given = {name: name if pipeline.transform else self._fields[name] for name in self._needed}
        # Windows alone ask nobody where an event is from.
        self._needs_places = pipeline.transform is not None or any(
            not isinstance(output, TumblingWindow) for output in pipeline.outputs
        )
        self._refusals = list(self._what_columns_refuse())

    def columns_of(self, decoded: Decoded) -> pa.RecordBatch:
        """Decoded events as columns: where they come from, their times, and the fields that are needed."""
        columns: dict[str, Any] = {KAFKA_MS: decoded.timestamps_ms, EVENT_TIME: decoded.event_times_us}
        if self._needs_places:
            columns[PARTITION] = np.array([message.partition() for message in decoded.messages], np.int32)
            columns[OFFSET] = np.array([message.offset() for message in decoded.messages], np.int64)
            columns[KEY] = self._keys(decoded.messages)
        columns |= {self._given[name]: column(field, decoded.events) for name, field in self._needed.items()}
        return pa.record_batch(columns)

    def may_reject(self, decoded: Decoded) -> bool:
        """Whether one of these events may be refused from here on; else their messages need not be kept."""
        return self._needs_places or self._lateness_us is not None or decoded.longest > MAX_KEY_BYTES

    def run(self, events: pa.Table, messages: Sequence[RawMessage | None], longest: int) -> Passed:
        """Let a chunk of events through.

        Args:
            events: their columns, as `columns_of` gives them.
            messages: of the events; None where `may_reject` was false.
            longest: bytes of the longest value of a message.

        Raises:
            TransformFailedError: the transform raised, or gave what it may not.
        """
        events = events.add_column(0, POSITION, pa.array(np.arange(events.num_rows)))
        events, late, may_be_late = self._with_windows(events)
        judged = [_Judged(int(at), LATE, is_invalid=False) for at in np.flatnonzero(late)]
        before = events.num_rows
        if judged:
            events = events.filter(pa.array(~late))
        if self._pipeline.transform is not None:
            events = self._transformed(events)
        transform_left_out = before - len(judged) - events.num_rows
        for step in self._steps(longest):
            events, left_out = step(events)
            judged += left_out
        rejects = [_reject(messages, item) for item in sorted(judged) if item.reason != _FILTERED]
        return Passed(events, rejects, transform_left_out + len(judged) - len(rejects), may_be_late)

    def _steps(self, longest: int) -> Iterator[_Step]:
        stream = self._pipeline.stream
        if stream is not None and (stream.reject or stream.where is not None):
            yield self._by_rules
        if stream is not None:
            yield self._with_columns
        # Of an event as it came, columns refuse only a long key; and no key is longer than its message.
        is_as_it_came = stream is None and self._pipeline.transform is None
        if self._refusals and (longest > MAX_KEY_BYTES or not is_as_it_came):
            yield self._by_columns

    # -- events as columns -----------------------------------------------------------------------------------------

    def _with_windows(self, events: pa.Table) -> tuple[pa.Table, npt.NDArray[np.bool_], list[bool]]:
        """The events with the windows that they fall into, which of them are too late, and `may_be_late`."""
        times_us, timestamps_us = (integers(events[name]) for name in (EVENT_TIME, KAFKA_MS))
        timestamps_us = timestamps_us * 1000
        late, may_be_late = np.zeros(events.num_rows, bool), []
        for position, window in enumerate(self._pipeline.windows):
            starts, ends = bounds(window, times_us)
            events = events.append_column(f"_start{position}", pa.array(starts))
            events = events.append_column(f"_end{position}", pa.array(ends))
            may_be_late.append(bool((timestamps_us >= ends).any()))
            if self._lateness_us is not None:
                late |= timestamps_us - ends > self._lateness_us
        return events, late, may_be_late

    def _keys(self, messages: list[RawMessage]) -> "pa.Array[Any]":
        """Messages of streams and pairs keep their source's key; results have keys of their own."""
        outputs = [output for output in self._pipeline.outputs if not isinstance(output, TumblingWindow)]
        if any(output.topic for output in outputs):
            return pa.array([message.key() for message in messages], pa.binary())
        return pa.nulls(len(messages), pa.binary())

    def _needed_fields(self) -> list[str]:
        """Fields that become columns: all that SQL or a transform may use, else those of the outputs."""
        if self._pipeline.stream is not None or self._pipeline.transform is not None:
            return list(self._pipeline.fields)
        windows, pairs = self._pipeline.windows, self._pipeline.pairs
        used = {name for w in windows for name in [*w.by, *(m.needs for m in w.measures.values())]}
        used |= {output.field for output in pairs}
        return [name for name in self._pipeline.fields if name in used]

    def _transformed(self, events: pa.Table) -> pa.Table:
        # pandas is imported for those who need it: it takes longer than all else together.
        from microbatch.transforming import transformed  # noqa: PLC0415

        origin = [name for name in events.column_names if name not in self._needed]
        after = transformed(self._pipeline, events, origin)
        return after.rename_columns([self._fields.get(name, name) for name in after.column_names])

    # -- steps: each gives what goes on, and what does not -----------------------------------------------------------

    def _by_rules(self, events: pa.Table) -> tuple[pa.Table, list[_Judged]]:
        """The stream's `reject` and `where`, in this order: what was rejected is not asked any more."""
        stream = self._pipeline.stream
        assert stream is not None  # noqa: S101 - a step of streams
        rules = [f"when (\n{sql}\n) then {_literal(reason)}" for reason, sql in stream.reject.items()]
        if stream.where is not None:
            rules.append(f"when not coalesce((\n{stream.where}\n), false) then {_literal(_FILTERED)}")
        found, failed = self._evaluate(f"case {' '.join(rules)} end as reason", "null::varchar as reason", events)
        judged = [
            _Judged(position, reason, is_invalid=False)
            for position, reason in zip(*(found[name].to_pylist() for name in (POSITION, "reason")), strict=True)
            if reason is not None
        ]
        return _without(events, [*judged, *failed]), [*judged, *failed]

    def _with_columns(self, events: pa.Table) -> tuple[pa.Table, list[_Judged]]:
        """The stream's columns beside the event's fields."""
        columns = [
            f"(\n{column.sql}\n){_exact(column.type.sql)} as {self._computed[name]}"
            for name, column in self._view.stream.items()
        ]
        none = [
            f"null::{column.type.sql}{_exact(column.type.sql)} as {self._computed[name]}"
            for name, column in self._view.stream.items()
        ]
        found, failed = self._evaluate(", ".join(columns), ", ".join(none), events)
        events = _without(events, failed)
        for name in self._computed.values():
            events = events.append_column(name, found[name])
        return events, failed

    def _by_columns(self, events: pa.Table) -> tuple[pa.Table, list[_Judged]]:
        """What a column or a key cannot hold."""
        rules = " ".join(f"when {condition} then {_literal(reason)}" for condition, reason in self._refusals)
        self._database.register("events", events)
        rows = self._database.execute(
            f"select {POSITION}, reason from (select {POSITION}, case {rules} end as reason from events)"  # noqa: S608
            " where reason is not null"
        ).fetchall()
        self._database.unregister("events")
        judged = [_Judged(position, reason, is_invalid=True) for position, reason in rows]
        return _without(events, judged), judged

    def _what_columns_refuse(self) -> Iterator[tuple[str, str]]:
        """Conditions in SQL, and what they mean."""
        transformed_fields = self._view.event if self._pipeline.transform else {}
        computed = [*self._view.stream, *(name for name in transformed_fields if name not in self._view.stream)]
        for name in computed:
            column, kind = self.columns[name], self._view.seen[name]
            if kind.is_text:
                yield f"contains({column}, chr(0))", f"column {name} has a NUL, which PostgreSQL's text cannot hold"
            elif kind.is_time or kind.sql == "DATE":
                years = f"{column} >= '0001-01-08' and {column} < '9999-12-24'"
                yield f"not ({years})", f"column {name} is not in the years 1 to 9999"
        unique = [self._pipeline.stream.unique] if self._pipeline.stream and self._pipeline.stream.unique else []
        for key in [*unique, *(window.by for window in self._pipeline.windows)]:
            for name in key:
                if name in computed:
                    yield f"{self.columns[name]} is null", f"column {name} is null, which a key cannot be"
            texts = [f"strlen({self.columns[name]})" for name in key if self._view.seen[name].is_text]
            if texts:
                yield f"{' + '.join(texts)} > {MAX_KEY_BYTES}", f"a key of more than {MAX_KEY_BYTES} bytes - at {key}"

    # -- SQL of the declaration --------------------------------------------------------------------------------------

    def _evaluate(self, select: str, none: str, events: pa.Table) -> tuple[pa.Table, list[_Judged]]:
        """Expressions over events; those for which they fail are left out and judged.

        `none` has the types of the expressions: some fail even over no rows.
        """
        try:
            return self._query(select, events), []
        except _DATA_ERRORS as error:
            if events.num_rows == 1:
                return self._query(none, events.slice(0, 0)), [
                    _Judged(events[POSITION][0].as_py(), first_line(error), is_invalid=True)
                ]
        half = events.num_rows // 2
        left, left_failed = self._evaluate(select, none, events.slice(0, half))
        right, right_failed = self._evaluate(select, none, events.slice(half))
        return pa.concat_tables([left, right]), [*left_failed, *right_failed]

    def _query(self, select: str, events: pa.Table) -> pa.Table:
        names = ", ".join(f"{column} as {quoted(name)}" for name, column in self._fields.items())
        batch_us = (self._batch_time - EPOCH) // _US
        self._database.register("events", events)
        try:
            found: pa.Table = self._database.sql(
                f"select {POSITION}, {select} from (select {POSITION}, {PARTITION}, {OFFSET}, "  # noqa: S608
                f"make_timestamptz({EVENT_TIME}) as {EVENT_TIME}, "
                f"make_timestamptz({KAFKA_MS} * 1000) as {KAFKA_TIMESTAMP}, "
                f"make_timestamptz({batch_us}) as {BATCH_TIME}, {names} from events) as event order by {POSITION}"
            ).to_arrow_table()
        finally:
            self._database.unregister("events")
        return found


def _reject(messages: Sequence[RawMessage | None], judged: _Judged) -> Reject:
    message = messages[judged.position]
    assert message is not None  # noqa: S101 - those that may be refused are kept
    return Reject(whole(message), judged.reason, judged.is_invalid)


def _without(events: pa.Table, judged: list[_Judged]) -> pa.Table:
    if not judged:
        return events
    left_out = [item.position for item in judged]
    return events.filter(pa.array(~np.isin(integers(events[POSITION]), left_out)))


def _exact(sql_type: str) -> str:
    """A cast for types that Arrow would give as floats."""
    return "::decimal(38, 0)" if sql_type in ("HUGEINT", "UBIGINT") else ""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
