"""A pipeline's transform, called again: events to a pandas frame, and what comes back to events."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from recount import arrow
from recount.arrow import Row
from recount.definition import Transform
from recount.errors import InvalidError, UncountableError
from recount.fields import TIMES, Field, FieldType
from recount.times import moment, since_epoch_us

Function = Callable[[Any], Any]
"""A pandas DataFrame to a pandas DataFrame."""

_PLACE: Final = ("_partition", "_offset")


def transformed(
    transform: Transform, function: Function, fields: Sequence[Field], rows: Sequence[Row]
) -> list[Row | InvalidError | None]:
    """Of each row what the function makes of it, None where it drops it.

    Raises:
        UncountableError: what comes back is not what the definition says.
    """
    back = {}
    for values in _call(transform, function, arrow.table(fields, rows)):
        place = values.pop("_partition"), values.pop("_offset")
        if place in back:
            raise UncountableError("the transform gives {}@{} twice", *place)
        back[place] = values
    unknown = back.keys() - {(row.partition, row.offset) for row in rows}
    if unknown:
        raise UncountableError("the transform gives rows that it did not get: {}", sorted(unknown)[:3])
    return [_row(transform, row, back.get((row.partition, row.offset))) for row in rows]


def _call(transform: Transform, function: Function, table: Any) -> list[dict[str, Any]]:
    """The values that come back, by the types that the definition says."""
    hidden = [name for name in table.column_names if name.startswith("_") and name not in _PLACE]
    schema = arrow.schema(transform.fields)
    for name in _PLACE:
        schema = schema.append(pa.field(name, pa.int64()))
    frame = function(table.drop_columns(hidden).to_pandas())
    try:
        found = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (KeyError, pa.ArrowException) as error:
        raise UncountableError("the transform's frame is not what the definition says: {}", error) from error
    return found.to_pylist()


def _row(transform: Transform, row: Row, values: dict[str, Any] | None) -> Row | InvalidError | None:
    """The row with its values, which are described by the declared types; constraints are those of the source."""
    if values is None:
        return None
    try:
        return replace(row, values=_struct(transform.fields, values))
    except InvalidError as error:
        return error


def _struct(fields: Sequence[Field], values: dict[str, Any]) -> dict[str, Any]:
    return {each.name: _checked(each.type, values[each.name], each.name) for each in fields}


def _checked(kind: FieldType, value: Any, name: str) -> Any:
    """The value, if PostgreSQL can hold it.

    Raises:
        InvalidError: it cannot.
        UncountableError: it is null, and must not be.
    """
    if value is None:
        if kind.optional:
            return None
        raise UncountableError("the transform gives a null in {!r}", name)
    if kind.kind == "struct":
        return _struct(kind.fields, value)
    if kind.kind == "list" and kind.item is not None:
        item = kind.item
        return [_checked(item, each, name) for each in value]
    if isinstance(value, str) and "\0" in value:
        raise InvalidError("{} has a NUL", name)
    if kind.kind not in TIMES:
        return value
    if (found := moment(since_epoch_us(value))) is None:
        raise InvalidError("{} is beyond the calendar", name)
    return found
