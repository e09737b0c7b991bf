"""From events to contributions: what one batch adds to each window and key.

Columns of a chunk go to DuckDB, which groups them; partial values gather there until the batch is read, and
spill to disk when they outgrow the memory that they are given.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import pyarrow as pa

from microbatch.decoding import Decoded
from microbatch.event import Event, FieldKind
from microbatch.pipeline import Pipeline, TumblingWindow

MEMORY_LIMIT: Final = "200MB"
_ROWS_A_FETCH: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ARROW: Final[dict[FieldKind, pa.DataType]] = {
    "str": pa.string(),
    "int": pa.int64(),
    "epoch_seconds": pa.int64(),
}


class Contributions:
    """Gathers the contributions of one batch, for all windows that a pipeline declares."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._outputs = pipeline.outputs
        needed = {name for output in pipeline.outputs for name in _needed(output)}
        # DuckDB's names know no case, and declared ones could be like ours: inside it, all columns have numbers.
        self._columns = {name: f"f{number}" for number, name in enumerate(sorted(needed))}
        self._types = {name: _ARROW[pipeline.fields[name].kind] for name in self._columns}
        self._spill = TemporaryDirectory(prefix="microbatch-")
        self._database = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": self._spill.name,
                "threads": 1,
                "preserve_insertion_order": False,
            }
        )
        self._gathers = [False] * len(self._outputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._spill.cleanup()

    def add(self, decoded: Decoded) -> None:
        """Add the events of a chunk."""
        if not decoded.events:
            return
        self._database.register("events", self._table(decoded.events, decoded.event_times_us))
        for position, output in enumerate(self._outputs):
            query = _partials_of_events(output, self._columns)
            target = f"insert into partials_{position}"
            if not self._gathers[position]:
                target, self._gathers[position] = f"create table partials_{position} as", True
            self._database.execute(f"{target} {query}")
        self._database.unregister("events")

    def rows(self, output: TumblingWindow) -> Iterator[tuple[Any, ...]]:
        """The contributions to one output: window_start (aware, UTC), the columns of `by`, those of measures."""
        position = self._outputs.index(output)
        if not self._gathers[position]:
            return
        found = self._database.execute(_merged_partials(output, position))
        while rows := found.fetchmany(_ROWS_A_FETCH):
            for window_start_us, *columns in rows:
                yield (_EPOCH + timedelta(microseconds=window_start_us), *columns)

    def windows(self, output: TumblingWindow) -> list[datetime]:
        """The starts of the windows that it contributes to."""
        position = self._outputs.index(output)
        if not self._gathers[position]:
            return []
        found = self._database.execute(f"select distinct window_start_us from partials_{position} order by 1")  # noqa: S608
        return [_EPOCH + timedelta(microseconds=start_us) for (start_us,) in found.fetchall()]

    def _table(self, events: list[Event], event_times_us: list[int]) -> pa.Table:
        columns = {
            column: pa.array([getattr(event, name) for event in events], self._types[name])
            for name, column in self._columns.items()
        }
        return pa.table({**columns, "event_time_us": pa.array(event_times_us, pa.int64())})


def _needed(output: TumblingWindow) -> list[str]:
    return [*output.by, *(m.needs for m in output.measures.values() if m.needs is not None)]


def _partials_of_events(output: TumblingWindow, columns: dict[str, str]) -> str:
    """Partial values of one chunk. The window of t begins at t - t mod size, for negative t too."""
    size_us = output.size_s * 1_000_000
    start = f"event_time_us - ((event_time_us % {size_us}) + {size_us}) % {size_us}"
    keys = [f"{start} as window_start_us"] + [f"{columns[name]} as k{n}" for n, name in enumerate(output.by)]
    measures = [
        f"{measure.over_events(columns.get(measure.needs or '', ''))} as m{n}"
        for n, measure in enumerate(output.measures.values())
    ]
    by = ", ".join(str(position + 1) for position in range(len(keys)))
    return f"select {', '.join(keys + measures)} from events group by {by}"  # noqa: S608 - names are ours


def _merged_partials(output: TumblingWindow, position: int) -> str:
    keys = ", ".join(["window_start_us", *(f"k{n}" for n in range(len(output.by)))])
    measures = [measure.over_partials(f"m{n}") for n, measure in enumerate(output.measures.values())]
    return f"select {keys}, {', '.join(measures)} from partials_{position} group by {keys}"  # noqa: S608 - as above
