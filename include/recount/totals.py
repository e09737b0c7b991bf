"""Sums and counts over tumbling windows, in plain Python."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from recount.definition import Measure, Window
from recount.errors import UncountableError
from recount.events import Event, Value

Key = tuple[Value, ...]
Number = int | Decimal
Numbers = tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One window and key: its start in seconds since 1970 UTC, and the values of the `by` columns."""

    window_start: Number
    key: Key

    def __str__(self) -> str:
        return f"{self.window_start} {self.key!a}"


PerBatch = dict[tuple[int, Cell], Numbers]


def cell(window: Window, event: Event) -> Cell:
    """Where an event counts: windows are half-open and aligned to the epoch, before 1970 too."""
    start = event.time_ms // (window.size_s * 1000) * window.size_s
    return Cell(start, tuple(event.values[name] for name in window.by))


def count(window: Window, totals: PerBatch, batch_id: int, event: Event) -> None:
    """Add an event to what its batch contributes."""
    at = (batch_id, cell(window, event))
    before = totals.get(at)
    partial = tuple(_of_one(measure, event) for measure in window.measures)
    totals[at] = partial if before is None else _merge(window.measures, before, partial)


def over_batches(window: Window, totals: Mapping[tuple[int, Cell], Numbers]) -> dict[Cell, Numbers]:
    """The totals of each window and key."""
    merged: dict[Cell, Numbers] = {}
    for (_, at), partial in totals.items():
        merged[at] = _merge(window.measures, merged[at], partial) if at in merged else partial
    return merged


def batches(totals: Iterable[tuple[int, Cell]]) -> dict[Cell, frozenset[int]]:
    """The batches that contribute to each window and key."""
    found: dict[Cell, set[int]] = defaultdict(set)
    for batch_id, at in totals:
        found[at].add(batch_id)
    return {at: frozenset(ids) for at, ids in found.items()}


def show(window: Window, numbers: Iterable[Number] | None) -> str:
    """Numbers with the names of their columns, for people."""
    if numbers is None:
        return "nothing"
    named = sorted(zip(window.columns, numbers, strict=True))
    return ", ".join(f"{column}={number}" for column, number in named)


def _of_one(measure: Measure, event: Event) -> Number:
    """The measure over this event alone."""
    if measure.kind == "count":
        return 1
    value = event.values[measure.field or ""]
    if not isinstance(value, int):
        raise UncountableError("measure {!r} needs a number, got {!a}", measure.column, value)
    return value


def _merge(measures: tuple[Measure, ...], left: Numbers, right: Numbers) -> Numbers:
    """Partial values of the same window and key as one; sums and counts both add."""
    return tuple(a + b for _, a, b in zip(measures, left, right, strict=True))
