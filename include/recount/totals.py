"""Measures over windows, exactly: what a batch contributes, and what contributions make together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from recount.arrow import Row
from recount.columns import Value
from recount.definition import Measure, Window
from recount.times import SECOND_US, moment
from recount.values import EXACT
from recount.windows import of

Key = tuple[Value, ...]
Number = int | Decimal

Partial = tuple[Any, int | None]
"""A sum, or the least or greatest value, and over how many values; None: it was not computed.

A count has no value, only the number; over no values, there is no value either."""

Partials = tuple[Partial, ...]
Numbers = tuple[Value, ...]
"""The totals of the measures; None: over no value, or not computed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One window and key: its start in seconds since 1970 UTC, and the values of the `by` columns."""

    window_start: Number
    key: Key

    def __str__(self) -> str:
        """For people: the start in UTC, where it is in the calendar."""
        start = moment(int(self.window_start * SECOND_US))
        return f"{f'{start:%Y-%m-%dT%H:%M:%SZ}' if start else self.window_start} {self.key!a}"


PerBatch = dict[tuple[int, Cell], Partials]


def cell(window: Window, row: Row, seen: Mapping[str, Any]) -> Cell:
    """Where an event counts."""
    return Cell(of(window, row.event_us).start_s, tuple(seen[name] for name in window.key_names))


def count(window: Window, totals: PerBatch, batch_id: int, row: Row) -> None:
    """Add an event to what its batch contributes."""
    seen = row.seen
    at = (batch_id, cell(window, row, seen))
    before = totals.get(at)
    partials = tuple(_of_one(measure, seen) for measure in window.measures)
    totals[at] = partials if before is None else merge(window.measures, before, partials)


def over_batches(window: Window, totals: Mapping[tuple[int, Cell], Partials]) -> dict[Cell, Partials]:
    """What all batches together give for each window and key."""
    merged: dict[Cell, Partials] = {}
    for (_, at), partials in totals.items():
        merged[at] = merge(window.measures, merged[at], partials) if at in merged else partials
    return merged


def numbers(measures: tuple[Measure, ...], partials: Partials) -> Numbers:
    """The totals that partials make."""
    return tuple(_total(measure, *partial) for measure, partial in zip(measures, partials, strict=True))


def batches(totals: Iterable[tuple[int, Cell]]) -> dict[Cell, frozenset[int]]:
    """The batches that contribute to each window and key."""
    found: dict[Cell, set[int]] = defaultdict(set)
    for batch_id, at in totals:
        found[at].add(batch_id)
    return {at: frozenset(ids) for at, ids in found.items()}


def show(window: Window, found: Iterable[object] | None) -> str:
    """Totals or partials with the names of their columns, for people."""
    if found is None:
        return "nothing"
    named = sorted(zip(window.columns, found, strict=True))
    return ", ".join(f"{column}={_shown(number)}" for column, number in named)


def merge(measures: tuple[Measure, ...], left: Partials, right: Partials) -> Partials:
    """Partials of the same window and key as one; if either was not computed, the whole is not."""
    return tuple(_merged(measure, a, b) for measure, a, b in zip(measures, left, right, strict=True))


def mean(total: Number, count: int, scale: int) -> Decimal:
    """The mean with `scale` digits after the point, rounded half away from zero.

    It is computed with whole numbers: a quotient with any bounded number of digits could round to a half that is none.
    """
    sign, digits, exponent = Decimal(total).as_tuple()
    shift = scale + int(exponent)
    units = int("".join(map(str, digits))) * 10 ** max(shift, 0)
    divisor = count * 10 ** max(-shift, 0)
    rounded = (2 * units + divisor) // (2 * divisor)
    return Decimal(-rounded if sign else rounded).scaleb(-scale, context=EXACT)


def _of_one(measure: Measure, seen: Mapping[str, Any]) -> Partial:
    """The measure over this event alone."""
    if measure.field is None:
        return None, 1
    value = seen[measure.field]
    return value, 0 if value is None else 1


def _merged(measure: Measure, left: Partial, right: Partial) -> Partial:
    if left[1] is None or right[1] is None:
        return None, None
    values = [value for value in (left[0], right[0]) if value is not None]
    if len(values) < 2:
        return (values or [None])[0], left[1] + right[1]
    return _joined(measure.kind, *values), left[1] + right[1]


def _joined(kind: str, left: Any, right: Any) -> Any:
    if kind == "min":
        return min(left, right)
    if kind == "max":
        return max(left, right)
    return left + right if type(left) is type(right) is int else EXACT.add(left, right)


def _total(measure: Measure, value: Any, count: int | None) -> Value:
    if measure.kind == "count":
        return count
    if not count:
        return None
    return mean(value, count, measure.scale) if measure.kind == "mean" else value


def _shown(number: object) -> str:
    """A partial as `5 of 2`, a total as it is."""
    if isinstance(number, tuple):
        value, count = number
        return "not computed" if count is None else f"{value} of {count}" if value is not None else f"{count}"
    return str(number)
