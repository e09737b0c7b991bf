"""What can be wrong with a declaration. Each mistake is refused with its object, its value and a remedy."""

import inspect
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from microbatch.columntypes import ColumnType
from microbatch.errors import DeclarationError, UnknownFieldError
from microbatch.event import Event
from microbatch.fields import Field, alike, fields
from microbatch.outputs import (
    DAY_S,
    MAX_REASON_CHARACTERS,
    WEEK_S,
    AnyOutput,
    KafkaTopic,
    Pairs,
    PostgresTable,
    Stream,
    TumblingWindow,
)
from microbatch.value_formats import Protobuf
from microbatch.view import View, view

if TYPE_CHECKING:
    from microbatch.pipeline import Pipeline

MAX_IDENTIFIER_BYTES: Final = 63  # PostgreSQL cuts longer names (NAMEDATALEN - 1)
MAX_KEY_COLUMNS: Final = 30
MAX_COLUMNS: Final = 1_500
SUFFIXES: Final[dict[type[AnyOutput], tuple[str, ...]]] = {
    Stream: ("", "_key"),
    TumblingWindow: ("", "_contribution", "_history", "_as_of", "_batch", "_late", "_mixed"),
    Pairs: ("", "_waiting"),
}
# What PostgreSQL keeps for itself.
_SYSTEM_COLUMNS: Final = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
# Columns that the tables and views have beside the declared ones, and aliases of the merge.
RESERVED_COLUMNS: Final = (
    *("window_start", "window_end", "is_final", "revision", "updated_at", "batch_id"),
    *("batches", "merge_id", "retracted", "valid_from", "valid_to", "was_final"),
    *("source_topic", "source_partition", "source_offsets", "generations"),
    *_SYSTEM_COLUMNS,
)
RESERVED_STREAM_COLUMNS: Final = ("source_partition", "source_offset", "batch_id", *_SYSTEM_COLUMNS)
LATE: Final = "late"
_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PIPELINE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")


def check(pipeline: "Pipeline") -> None:
    """Refuse what cannot work.

    Raises:
        DeclarationError: the first mistake that was found.
    """
    _check_names(pipeline)
    _check_numbers(pipeline)
    _check_keep(pipeline)
    _check_start(pipeline)
    _check_source(pipeline)
    _check_transform(pipeline)
    _check_outputs(pipeline)
    seen = _view(pipeline)
    for output in pipeline.outputs:
        if isinstance(output, Stream):
            _check_stream(pipeline, output, seen)
        elif isinstance(output, TumblingWindow):
            _check_window(pipeline, output, seen)
        else:
            _check_pairs(pipeline, output, seen)
    _check_sinks(pipeline)


def _refuse(pipeline: "Pipeline", what: str, remedy: str) -> DeclarationError:
    return DeclarationError(pipeline=pipeline.name, what=what, remedy=remedy)


# -- the pipeline ----------------------------------------------------------------------------------------------


def _check_names(pipeline: "Pipeline") -> None:
    if not _PIPELINE_NAME.fullmatch(pipeline.name):
        raise _refuse(pipeline, f"the name {pipeline.name!r} is not usable", "use lower-case letters, digits, _ and -")
    for topic in _topics(pipeline):
        if not _TOPIC_NAME.fullmatch(topic.name) or topic.name in (".", ".."):
            raise _refuse(
                pipeline,
                f"Kafka refuses the topic name {topic.name!r}",
                "use up to 249 letters, digits, '.', '_' and '-'",
            )
        if topic.name.startswith("__"):
            raise _refuse(pipeline, f"the topic {topic.name!r} has the name of one of Kafka's own", "use another name")
        if topic.partitions < 1:
            raise _refuse(pipeline, f"topic {topic.name!r} has partitions={topic.partitions}", "give it at least 1")
        for name, value in topic.config.items():
            if not isinstance(value, str):
                raise _refuse(pipeline, f"topic {topic.name!r} has config {name}={value!r}", "write it as a string")
        if topic is not pipeline.source and (topic.event is not None or topic.event_time is not None):
            what = f"the sink {topic.name!r} has an event type or an event time"
            raise _refuse(pipeline, what, "leave it out: only a source has one")
        if topic is not pipeline.source and topic.values is not None:
            raise _refuse(
                pipeline,
                f"the sink {topic.name!r} has values={topic.values!r}",
                "leave it out: sinks are written in JSON",
            )


def _topics(pipeline: "Pipeline") -> list[KafkaTopic]:
    return [pipeline.source, pipeline.dead_letter_topic, *(output.topic for output in pipeline.outputs if output.topic)]


def _check_numbers(pipeline: "Pipeline") -> None:
    zero = timedelta(0)
    wrong = {
        "grace": pipeline.grace < zero,
        "max_future": pipeline.max_future < zero,
        "allowed_lateness": pipeline.allowed_lateness is not None and pipeline.allowed_lateness < zero,
        "max_records": pipeline.max_records < 1,
        "run_budget": pipeline.run_budget <= zero,
        "max_rejected": not 0 < pipeline.max_rejected <= 1,
        "shards": pipeline.shards < 1,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise _refuse(
                pipeline,
                f"{name}={getattr(pipeline, name)} is out of range",
                "durations and counts are positive, max_rejected is a share in (0, 1]",
            )
    if pipeline.allowed_lateness is not None and not pipeline.windows:
        raise _refuse(pipeline, "allowed_lateness is set, but there is no window to be late for", "leave it out")


def _check_keep(pipeline: "Pipeline") -> None:
    keep = pipeline.keep
    kept = {"contributions": keep.contributions, "history": keep.history, "rows": keep.rows}
    for name, age in kept.items():
        if age is not None and age < timedelta(days=1):
            what = f"keep has {name}={age}"
            raise _refuse(pipeline, what, "give it a day at least: batches are archived by the day; or None, for ever")
    for name in ("history", "rows"):
        if _is_shorter(kept[name], keep.contributions):
            what = f"keep has {name}={kept[name]}, and contributions={keep.contributions or 'None, for ever'}"
            raise _refuse(pipeline, what, f"keep {name} as long: a batch that is redone would bring it back")


def _is_shorter(age: timedelta | None, other: timedelta | None) -> bool:
    """Whether what is kept for one age goes before what is kept for the other; None: for ever."""
    return age is not None and (other is None or age < other)


def _check_start(pipeline: "Pipeline") -> None:
    start = pipeline.start
    is_known = start.tzinfo is not None if isinstance(start, datetime) else start in ("earliest", "latest")
    if not is_known:
        raise _refuse(
            pipeline,
            f"start={start!r} is no place in a topic",
            'use "earliest", "latest" or a datetime with a time zone',
        )


def _check_source(pipeline: "Pipeline") -> None:
    if pipeline.source.event is None:
        raise _refuse(
            pipeline, f"the source {pipeline.source.name!r} has no event type", "name it: KafkaTopic(name, Event)"
        )
    values = pipeline.source.values
    if isinstance(values, Protobuf) and not hasattr(values.message, "DESCRIPTOR"):
        raise _refuse(
            pipeline,
            f"the source {pipeline.source.name!r} has values={values!r}, which is no message type of Protobuf",
            "name the class that protoc has generated for it",
        )
    found = _fields(pipeline, pipeline.source.event)
    name = pipeline.source.event_time
    if name is None:
        return
    if name not in found:
        raise _unknown(pipeline, "event_time", name, list(found))
    if not found[name].type.is_time or found[name].optional:
        raise _refuse(
            pipeline,
            f"event_time {name!r} is {found[name].plain}, which is no time or may be null",
            "declare it as EpochSeconds, EpochMillis or datetime",
        )


def _fields(pipeline: "Pipeline", event: type[Event]) -> dict[str, Field]:
    try:
        found = fields(event)
    except TypeError as error:
        raise _refuse(pipeline, str(error), "change the field") from error
    except RecursionError as error:
        raise _refuse(pipeline, f"{event.__name__} contains itself", "declare as many levels as are needed") from error
    for name, field in found.items():
        try:
            # Only here msgspec looks at constraints and enumerations.
            msgspec.json.Decoder(field.type.annotation)
        except (TypeError, ValueError, OverflowError) as error:
            raise _refuse(pipeline, f"field {event.__name__}.{name}: {error}", "change the field") from error
    return found


def _check_transform(pipeline: "Pipeline") -> None:
    transform = pipeline.transform
    if transform is None:
        return
    name = getattr(transform.function, "__name__", repr(transform.function))
    try:
        inspect.getsource(transform.function)
    except (OSError, TypeError) as error:
        raise _refuse(
            pipeline, f"transform {name} has no source that could be read", "define it with def, in a file"
        ) from error


def _check_outputs(pipeline: "Pipeline") -> None:
    if not pipeline.outputs:
        raise _refuse(pipeline, "outputs=[] computes nothing", "give it a Stream, a TumblingWindow or Pairs")
    streams = [output for output in pipeline.outputs if isinstance(output, Stream)]
    if len(streams) > 1:
        raise _refuse(pipeline, f"it has {len(streams)} streams", "give it one, and another pipeline the other one")
    for output in pipeline.outputs:
        tables = [sink for sink in output.to if isinstance(sink, PostgresTable)]
        topics = [sink for sink in output.to if isinstance(sink, KafkaTopic)]
        is_needed = not isinstance(output, Stream) or len(pipeline.outputs) == 1
        is_other = len(tables) + len(topics) < len(output.to)
        if len(tables) > 1 or len(topics) > 1 or is_other or (is_needed and not output.to):
            raise _refuse(
                pipeline,
                f"{_called(output)} goes to {len(tables)} tables and {len(topics)} topics",
                "give it at least one sink, at most one PostgresTable and one KafkaTopic",
            )
    needs_order = [o for o in pipeline.outputs if isinstance(o, Pairs) or (isinstance(o, Stream) and o.unique)]
    if needs_order and pipeline.shards > 1:
        raise _refuse(
            pipeline,
            f"{_called(needs_order[0])} needs the order in which events were booked, but shards={pipeline.shards}",
            "give it shards=1",
        )


def _called(output: AnyOutput) -> str:
    if isinstance(output, TumblingWindow):
        return f"the window of {output.size!r}"
    return "the stream" if isinstance(output, Stream) else f"Pairs({output.field!r})"


def _view(pipeline: "Pipeline") -> View:
    after = _fields(pipeline, pipeline.transform.event if pipeline.transform else pipeline.event)
    try:
        seen = view(pipeline)
    except (TypeError, ValueError) as error:
        raise _refuse(pipeline, str(error), "correct it") from error
    if pipeline.stream is not None and (similar := alike(after)):
        what = f"the field {similar[0]!r} differs from another one only by case"
        raise _refuse(pipeline, what, "SQL ignores case: rename it, with msgspec.field(name=...) for the name in JSON")
    return seen


# -- outputs ---------------------------------------------------------------------------------------------------


def _check_stream(pipeline: "Pipeline", output: Stream, seen: View) -> None:
    if not seen.stream:
        raise _refuse(pipeline, "the stream has no columns", "give it columns={name: expression}")
    for name, column in seen.stream.items():
        if column.type.postgres is None:
            raise _refuse(
                pipeline,
                f"column {name!r} ({column.sql}) has type {column.type.sql}, which a column cannot have exactly",
                "cast it: to DECIMAL(p, s), BIGINT, VARCHAR or TIMESTAMPTZ, or take a part of a struct or a list",
            )
    _check_columns(pipeline, list(seen.stream), RESERVED_STREAM_COLUMNS)
    _check_predicates(pipeline, output, seen)
    for name in output.unique:
        _check_key(pipeline, "unique", name, seen)
    _check_many(pipeline, "unique", len(output.unique), len(seen.stream))
    if len(set(output.unique)) < len(output.unique):
        raise _refuse(pipeline, f"unique={output.unique} names a column twice", "name it once")
    _check_columns(pipeline, output.unique, RESERVED_STREAM_COLUMNS)


def _check_predicates(pipeline: "Pipeline", output: Stream, seen: View) -> None:
    from microbatch.expressions import Expressions  # noqa: PLC0415 - see view.py

    predicates = [*output.reject.items(), *([("where", output.where)] if output.where is not None else [])]
    expressions = Expressions(seen.event) if predicates else None
    for name, sql in predicates:
        if not 0 < len(name) <= MAX_REASON_CHARACTERS or not _is_text(name) or name == LATE:
            raise _refuse(
                pipeline,
                f"the reject reason {name!r} is not usable",
                f"use 1 to {MAX_REASON_CHARACTERS} characters; {LATE!r} is the engine's own",
            )
        try:
            kind = expressions.type_of(sql).sql if expressions else ""
        except ValueError as error:
            raise _refuse(pipeline, str(error), "correct it") from error
        if kind != "BOOLEAN":
            raise _refuse(pipeline, f"{name!r}: {sql!r} is of type {kind}", "write a predicate, which is true or false")


def _check_window(pipeline: "Pipeline", output: TumblingWindow, seen: View) -> None:
    _check_size(pipeline, output)
    for name in output.by:
        _check_key(pipeline, "by", name, seen)
    for name, measure in output.measures.items():
        needs = measure.needs
        column = _column(pipeline, seen, f"measure {name!r}", needs) if needs is not None else None
        refused = measure.refused(column)
        if refused is not None:
            kind = f" ({column.sql})" if column else ""
            raise _refuse(pipeline, f"measure {name!r} of {needs!r}{kind} cannot work", refused)
    if not output.measures:
        raise _refuse(pipeline, f"{_called(output)} has no measures", "give it one, such as Count()")
    if output.emit not in ("closed", "early"):
        raise _refuse(pipeline, f"{_called(output)} has emit={output.emit!r}", 'use "closed" or "early"')
    partials = [n + p.suffix for n, m in output.measures.items() for p in m.partials("", _needed(m.needs, seen))]
    _check_columns(pipeline, [*output.by, *output.measures], RESERVED_COLUMNS)
    _check_columns(pipeline, [*output.by, *partials], RESERVED_COLUMNS)
    _check_many(pipeline, "by", len(output.by), len(output.by) + len(partials))


def _check_many(pipeline: "Pipeline", where: str, keys: int, columns: int) -> None:
    """An index has 32 columns, two of them ours; a table has 1,600, some of them ours."""
    for count, most, what in ((keys, MAX_KEY_COLUMNS, where), (columns, MAX_COLUMNS, "the table")):
        if count > most:
            raise _refuse(
                pipeline, f"{what} has {count} columns", f"PostgreSQL has room for {most} here: declare fewer"
            )


def _needed(name: str | None, seen: View) -> ColumnType | None:
    return seen.seen[name] if name is not None else None


def _check_size(pipeline: "Pipeline", output: TumblingWindow) -> None:
    try:
        size_s = output.size_s
    except ValueError:
        size_s = 0
    if size_s not in (DAY_S, WEEK_S) and (not 0 < size_s < DAY_S or DAY_S % size_s):
        raise _refuse(
            pipeline,
            f"a window of {output.size!r} does not divide a day",
            'give a size such as "30 seconds", "1 minute", "2 hours", "1 day" or "1 week"',
        )
    try:
        zone = ZoneInfo(output.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _refuse(
            pipeline, f"there is no time zone {output.timezone!r}", "use an IANA name, such as Europe/Berlin"
        ) from error
    if zone.key != "UTC" and size_s < DAY_S:
        raise _refuse(
            pipeline,
            f"{_called(output)} has timezone={output.timezone!r}",
            "only days and weeks have one; leave it out",
        )


def _check_pairs(pipeline: "Pipeline", output: Pairs, seen: View) -> None:
    column = _column(pipeline, seen, "Pairs", output.field)
    if not column.is_integer or column.nullable:
        raise _refuse(
            pipeline,
            f"Pairs takes {output.field!r} ({column.sql}), which is no integer or may be null",
            "declare it as int, or let the stream cast and coalesce it",
        )
    if not -(2**62) <= output.sum < 2**62:
        raise _refuse(pipeline, f"Pairs has sum={output.sum}", "give it one of less than 63 bits")


def _check_key(pipeline: "Pipeline", where: str, name: str, seen: View) -> None:
    column = _column(pipeline, seen, where, name)
    if column.postgres is None or column.nullable:
        raise _refuse(
            pipeline,
            f"{where} has {name!r} ({column.sql}), which no key can have or may be null",
            "let a Stream make a column of it: take a part of a struct or a list, coalesce what may be null",
        )


def _column(pipeline: "Pipeline", seen: View, where: str, name: str) -> ColumnType:
    if name not in seen.seen:
        raise _unknown(pipeline, where, name, list(seen.seen))
    return seen.seen[name]


def _unknown(pipeline: "Pipeline", where: str, name: str, there: list[str]) -> UnknownFieldError:
    return UnknownFieldError(
        pipeline=pipeline.name, where=where, field=name, event=pipeline.event.__name__, fields=", ".join(there)
    )


# -- names in Postgres -----------------------------------------------------------------------------------------


def _check_columns(pipeline: "Pipeline", columns: list[str], reserved: tuple[str, ...]) -> None:
    for column in columns:
        if column in reserved or columns.count(column) > 1:
            raise _refuse(pipeline, f"the column {column!r} is there already", "give it another name")
        _check_identifier(pipeline, column, 0)


def _check_identifier(pipeline: "Pipeline", name: str, suffix: int) -> None:
    size, room = len(name.encode(errors="replace")), MAX_IDENTIFIER_BYTES - suffix
    if not name or not _is_text(name) or any(sign in name for sign in ".%") or size > room:
        raise _refuse(
            pipeline,
            f"PostgreSQL cannot have the name {name!r} here",
            f"use 1 to {room} bytes without '.' and '%'",
        )


def _is_text(name: str) -> bool:
    """Whether PostgreSQL has it as text: no half of a surrogate pair, no NUL."""
    return name.encode(errors="replace").decode() == name and "\0" not in name


def _check_sinks(pipeline: "Pipeline") -> None:
    for output in pipeline.outputs:
        if isinstance(output, Stream) and not output.to and not output.unique:
            continue  # it has no table
        schema, name = pipeline.state(output)
        # A topic may have dots, and its tables have its name.
        _check_identifier(
            pipeline, name if schema == "public" else name.replace(".", "_"), max(map(len, SUFFIXES[type(output)]))
        )
    tables = list(_tables(pipeline))
    topics = [topic.name for topic in _topics(pipeline)]
    for name in [*(f"{schema}.{table}" for schema, table in tables), *topics]:
        if topics.count(name) > 1 or tables.count(tuple(name.split(".", 1))) > 1:
            raise _refuse(pipeline, f"{name!r} is used twice", "give each source and sink a name of its own")


def _tables(pipeline: "Pipeline") -> Iterator[tuple[str, ...]]:
    for output in pipeline.outputs:
        schema, name = pipeline.state(output)
        for suffix in SUFFIXES[type(output)]:
            yield schema, name + suffix
