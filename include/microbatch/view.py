"""What the parts of a flow see of an event: an event goes decode -> transform -> stream -> windows and pairs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from microbatch.columntypes import ColumnType, quoted
from microbatch.fields import Field, fields

if TYPE_CHECKING:
    from microbatch.outputs import Stream
    from microbatch.pipeline import Pipeline


class Computed(msgspec.Struct, frozen=True):
    """A column of a stream."""

    sql: str
    type: ColumnType


class View(msgspec.Struct, frozen=True):
    """The columns of a pipeline's flow.

    Attributes:
        event: what the stream's expressions see: the fields of the event, or of what the transform makes of it.
        stream: the stream's columns; none if there is no stream.
        seen: what windows and pairs see: the event's fields, and the stream's columns in their place or beside them.
    """

    event: dict[str, Field]
    stream: dict[str, Computed]
    seen: dict[str, ColumnType]


def view(pipeline: "Pipeline") -> View:
    """The columns of a pipeline's flow.

    Raises:
        ValueError, TypeError: an expression or a field cannot work.
    """
    event = fields(pipeline.transform.event if pipeline.transform else pipeline.event)
    stream = stream_columns(pipeline.stream, event) if pipeline.stream else {}
    plain = {name: ColumnType(field.type.sql, field.optional) for name, field in event.items()}
    return View(event, stream, {**plain, **{name: column.type for name, column in stream.items()}})


def stream_columns(stream: "Stream", event: Mapping[str, Field]) -> dict[str, Computed]:
    """The columns of a stream: those it declares, else all fields that a column can hold."""
    if stream.columns is None:
        return {
            name: Computed(quoted(name), ColumnType(field.type.sql, field.optional))
            for name, field in event.items()
            if field.type.is_plain
        }
    # DuckDB is imported where there is SQL to look at: a DAG file without any is parsed sooner.
    from microbatch.expressions import Expressions  # noqa: PLC0415

    expressions = Expressions(event)
    return {name: Computed(sql, expressions.type_of(sql)) for name, sql in stream.columns.items()}
