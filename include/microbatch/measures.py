"""Measures: what a window computes. Each is mergeable, so a total is the merge of what batches contribute."""

from typing import Any

import msgspec

from microbatch.event import Field


class Measure(msgspec.Struct, frozen=True, tag_field="measure"):
    """One number per window and key.

    A batch stores a partial value of it; partial values merge in any order to the same total.
    """

    @property
    def needs(self) -> str | None:
        """The event's field that it is computed from, if any."""
        return None

    def refused(self, field: Field | None) -> str | None:
        """Why the measure cannot be computed from this field; None if it can."""
        raise NotImplementedError

    @property
    def column_type(self) -> str:
        """The PostgreSQL type of its column."""
        raise NotImplementedError

    def over_events(self, column: str) -> str:
        """DuckDB's expression for the partial value, over the events of a chunk."""
        raise NotImplementedError

    def over_partials(self, column: str) -> str:
        """The expression that merges partial values, in DuckDB and PostgreSQL; `column` is ready for SQL."""
        raise NotImplementedError

    def describe(self) -> str:
        """For people: comments on columns, docs of DAGs."""
        raise NotImplementedError


class Sum(Measure, frozen=True, tag="sum"):
    """The exact sum of an integer field; numeric, for a sum of 64-bit integers needs more than 64 bits."""

    field: str

    @property
    def needs(self) -> str | None:
        return self.field

    def refused(self, field: Field | None) -> str | None:
        if field is None or field.kind != "int":
            return "Sum takes an integer field, whose sums are exact"
        return None

    @property
    def column_type(self) -> str:
        return "numeric"

    def over_events(self, column: str) -> str:
        # A DECIMAL as wide as DuckDB has: 10^19 additions of 64-bit integers before it could overflow.
        return f"sum({column})::decimal(38, 0)"

    def over_partials(self, column: str) -> str:
        return f"sum({column})"

    def describe(self) -> str:
        return f"sum of {self.field}"


class Count(Measure, frozen=True, tag="count"):
    """The number of events."""

    def refused(self, field: Field | None) -> str | None:
        return None

    @property
    def column_type(self) -> str:
        return "bigint"

    def over_events(self, column: str) -> str:
        return "count(*)"

    def over_partials(self, column: str) -> str:
        return f"sum({column})::bigint"

    def describe(self) -> str:
        return "number of events"


AnyMeasure = Sum | Count


def facts(measure: Measure) -> dict[str, Any]:
    """The measure as plain values, for the definition."""
    plain: dict[str, Any] = msgspec.to_builtins(measure)
    return plain
