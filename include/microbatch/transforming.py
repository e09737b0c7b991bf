"""The pandas hook: a function of the declaration over the events of a chunk."""

from typing import Any

import pandas as pd
import pyarrow as pa

from microbatch.columns import arrow_type
from microbatch.errors import TransformFailedError
from microbatch.expressions import OFFSET, PARTITION
from microbatch.fields import Field, fields
from microbatch.pipeline import Pipeline


def transformed(pipeline: Pipeline, events: pa.Table, origin: list[str]) -> pa.Table:
    """What the pipeline's transform makes of a chunk.

    Args:
        pipeline: has a transform.
        events: columns of origin, and the event's fields under their names.
        origin: the columns that stay what they are, `_partition` and `_offset` among them.

    Returns:
        The rows that it kept, in their order: the columns of origin, and the fields that the transform declares.

    Raises:
        TransformFailedError: it raised, or gave what it may not.
    """
    transform = pipeline.transform
    assert transform is not None  # noqa: S101 - the caller has looked
    shown = [PARTITION, OFFSET, *(name for name in events.column_names if name not in origin)]
    # Arrow's own types: integers that may be null stay integers, decimals stay exact.
    frame = events.select(shown).to_pandas(types_mapper=pd.ArrowDtype)
    try:
        after = transform.function(frame)
    except Exception as error:
        raise _failed(pipeline, f"raised {type(error).__name__}: {error}", "correct it") from error
    if not isinstance(after, pd.DataFrame) or not {PARTITION, OFFSET} <= set(after.columns):
        raise _failed(pipeline, "gave no DataFrame with _partition and _offset", "keep both columns")
    if not after.columns.is_unique:
        raise _failed(pipeline, f"gave columns of one name: {list(after.columns)}", "give each a name of its own")
    rows = pa.array(_rows(pipeline, events, after), pa.int64())
    kept = events.select(origin).take(rows)
    columns = {name: _column(pipeline, after, field) for name, field in fields(transform.event).items()}
    order = rows.to_numpy().argsort(kind="stable")
    return pa.table({**{name: kept[name].combine_chunks() for name in origin}, **columns}).take(
        pa.array(order, pa.int64())
    )


def _rows(pipeline: Pipeline, events: pa.Table, after: pd.DataFrame) -> list[int]:
    """The place of each row of the frame among the events that went in."""
    places = {
        at: row for row, at in enumerate(zip(events[PARTITION].to_pylist(), events[OFFSET].to_pylist(), strict=True))
    }
    origins = list(zip(after[PARTITION].tolist(), after[OFFSET].tolist(), strict=True))
    if len(set(origins)) < len(origins):
        raise _failed(pipeline, "gave an event twice", "keep at most one row of each _partition and _offset")
    unknown = [at for at in origins if at not in places]
    if unknown:
        raise _failed(
            pipeline, f"gave a row of {unknown[0]}, which did not go in", "leave _partition and _offset as they are"
        )
    return [places[at] for at in origins]


def _column(pipeline: Pipeline, after: pd.DataFrame, field: Field) -> "pa.Array[Any]":
    assert pipeline.transform is not None  # noqa: S101 - the caller has looked
    name = field.name
    if name not in after.columns:
        raise _failed(pipeline, f"gave no column {name!r}", f"{pipeline.transform.event.__name__} declares it")
    try:
        column = pa.Array.from_pandas(after[name], type=arrow_type(field.plain))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _failed(pipeline, f"gave a column {name!r} that is no {field.type.sql}: {error}", "cast it") from error
    if column.null_count and not field.optional:
        raise _failed(pipeline, f"gave a null in {name!r}", "declare it as optional, or fill it")
    return column


def _failed(pipeline: Pipeline, what: str, remedy: str) -> TransformFailedError:
    assert pipeline.transform is not None  # noqa: S101 - the caller has looked
    return TransformFailedError(
        pipeline=pipeline.name, function=pipeline.transform.function.__name__, what=what, remedy=remedy
    )
