"""Rows as Arrow tables: what DuckDB's expressions and pandas' transforms look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from recount.fields import TIMES, Field, FieldType

_TIME: Final = pa.timestamp("us", tz="UTC")
_DIGITS: Final = 15
"""Before the point of a decimal."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event on its way: its values, and what else expressions may name. Times in µs since 1970 UTC."""

    values: dict[str, Any]
    event_us: int
    batch_us: int
    kafka_us: int
    partition: int
    offset: int
    overlay: dict[str, Any] = field(default_factory=dict)

    @property
    def seen(self) -> dict[str, Any]:
        """What windows and pairs see: the fields, overlaid by the stream's columns."""
        return self.values | self.overlay


def schema(fields: Iterable[Field]) -> "pa.Schema":
    """The columns of an event."""
    return pa.schema([pa.field(each.name, _type(each.type)) for each in fields])


def table(fields: Sequence[Field], rows: Sequence[Row]) -> "pa.Table":
    """The events, with the columns that begin with `_`."""
    columns = {each.name: pa.array([row.values[each.name] for row in rows], _type(each.type)) for each in fields}
    return pa.table(
        columns
        | {
            "_event_time": pa.array([row.event_us for row in rows], _TIME),
            "_batch_time": pa.array([row.batch_us for row in rows], _TIME),
            "_kafka_timestamp": pa.array([row.kafka_us for row in rows], _TIME),
            "_partition": pa.array([row.partition for row in rows], pa.int32()),
            "_offset": pa.array([row.offset for row in rows], pa.int64()),
        }
    )


def _type(kind: FieldType) -> Any:
    if kind.kind in TIMES:
        return _TIME
    if kind.kind == "decimal":
        return pa.decimal128(_DIGITS + kind.scale, kind.scale)
    if kind.kind == "enum":
        return pa.int64() if all(type(value) is int for value in kind.values) else pa.string()
    if kind.kind == "struct":
        return pa.struct([pa.field(each.name, _type(each.type)) for each in kind.fields])
    if kind.kind == "list" and kind.item is not None:
        return pa.list_(_type(kind.item))
    return {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_()}[kind.kind]
