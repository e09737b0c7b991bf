"""Measures: what a window computes. Each is mergeable, so a total is the merge of what batches contribute.

A batch stores partial values. The number of values that a partial is made of stands beside it: 0 says that there was
none (they were null), null that the batch did not compute it, because the measure was added later. A total over
such a batch is null too, never a number that lacks something.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from microbatch.columntypes import ColumnType

Merge = Literal["sum", "min", "max"]

# A sum of a batch's decimals fits into DuckDB's widest type: 10^11 of the widest values that an event may have.
SUMMED_DIGITS: Final = 27
MAX_SCALE: Final = 12
_COUNT: Final = "__count"
_SUM: Final = "__sum"


class Partial(msgspec.Struct, frozen=True):
    """A column of the contributions.

    Attributes:
        suffix: to the measure's name.
        sql: DuckDB's expression over the events of a chunk.
        kind: PostgreSQL's type.
        merge: the aggregate that makes one partial value of several.
    """

    suffix: str
    sql: str
    kind: str
    merge: Merge

    def merged(self, column: str) -> str:
        """DuckDB's expression for the partial value of a batch, over those of its chunks."""
        # The sum of counts and of sums is wider than they are: it goes back to what the column holds.
        return f"{self.merge}({column})" if self.merge != "sum" else f"sum({column})::{_summed(self.kind)}"

    def folded(self, column: str) -> str:
        """PostgreSQL's expression for the partial value of several batches; what one did not compute stays null."""
        merged = f"{self.merge}({column})"
        # Only numbers of values are bigint; sums of values are wider, and null where there was no value.
        return _if_computed(merged, column) if (self.merge, self.kind) == ("sum", "bigint") else merged


class Measure(msgspec.Struct, frozen=True, tag_field="measure"):
    """One number per window and key."""

    @property
    def needs(self) -> str | None:
        """The column that it is computed from, if any."""
        return None

    def refused(self, column: ColumnType | None) -> str | None:
        """Why the measure cannot be computed from this column, and what would help; None if it can."""
        raise NotImplementedError

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        """The columns of its partial values.

        Args:
            expression: what DuckDB calls the column that it needs.
            column: the type of that.
        """
        raise NotImplementedError

    @property
    def partial_count(self) -> int:
        """How many columns its partial values have."""
        return 2

    def kind(self, column: ColumnType | None) -> str:
        """The PostgreSQL type of its column."""
        raise NotImplementedError

    def total(self, partials: Sequence[str], column: ColumnType | None) -> str:
        """PostgreSQL's expression for the total, over the columns of its partial values, ready for SQL."""
        raise NotImplementedError

    def total_of(self, partials: Sequence[Any]) -> Any:
        """The same over the merged partial values, in Python."""
        return partials[0]

    def describe(self) -> str:
        """For people: comments on columns, docs of DAGs."""
        raise NotImplementedError


class _OfColumn(Measure, frozen=True):
    """A measure over the values of one column; nulls are left out.

    Attributes:
        field: the column that it is computed from.
    """

    field: str

    @property
    def needs(self) -> str | None:
        return self.field

    def total(self, partials: Sequence[str], column: ColumnType | None) -> str:
        value, count = partials
        return _if_computed(f"{self.merge}({value})", count)

    @property
    def merge(self) -> Merge:
        """What makes one of several."""
        return "sum"


class Sum(_OfColumn, frozen=True, tag="sum"):
    """The exact sum of integers or decimals; null over no value at all."""

    def refused(self, column: ColumnType | None) -> str | None:
        return _unless_summable("Sum", column)

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        return [Partial("", *_sum(expression, column), "sum"), _count(expression)]

    def kind(self, column: ColumnType | None) -> str:
        return _sum("", column)[1]

    def describe(self) -> str:
        return f"sum of {self.field}"


class Min(_OfColumn, frozen=True, tag="min"):
    """The least value."""

    def refused(self, column: ColumnType | None) -> str | None:
        return _unless_ordered("Min", column)

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        return [Partial("", f"min({expression})", _kind(column), "min"), _count(expression)]

    def kind(self, column: ColumnType | None) -> str:
        return _kind(column)

    @property
    def merge(self) -> Merge:
        return "min"

    def describe(self) -> str:
        return f"least {self.field}"


class Max(_OfColumn, frozen=True, tag="max"):
    """The greatest value."""

    def refused(self, column: ColumnType | None) -> str | None:
        return _unless_ordered("Max", column)

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        return [Partial("", f"max({expression})", _kind(column), "max"), _count(expression)]

    def kind(self, column: ColumnType | None) -> str:
        return _kind(column)

    @property
    def merge(self) -> Merge:
        return "max"

    def describe(self) -> str:
        return f"greatest {self.field}"


class Mean(_OfColumn, frozen=True, tag="mean"):
    """The mean: exact sum and count, divided at the end, rounded half away from zero.

    Attributes:
        field: what it is the mean of.
        scale: digits after the point, 0 to 12.
    """

    scale: int = 6

    def refused(self, column: ColumnType | None) -> str | None:
        if not 0 <= self.scale <= MAX_SCALE:
            return f"its scale is 0 to {MAX_SCALE}"
        return _unless_summable("Mean", column)

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        return [Partial(_SUM, *_sum(expression, column), "sum"), _count(expression)]

    def kind(self, column: ColumnType | None) -> str:
        return f"numeric(50,{self.scale})"

    def total(self, partials: Sequence[str], column: ColumnType | None) -> str:
        # PostgreSQL's division rounds before we do. floor(2|s|·10^scale + n, 2n) rounds once, and half away from zero.
        total, count = (f"sum({partial})" for partial in partials)
        magnitude = f"div(2 * abs({total}) * {10**self.scale} + {count}, nullif(2 * {count}, 0))"
        unit = format(Decimal(1).scaleb(-self.scale), "f")
        return _if_computed(f"(sign({total}) * {magnitude} * {unit})::{self.kind(column)}", partials[1])

    def total_of(self, partials: Sequence[Any]) -> Any:
        total, count = partials
        if not count:
            return None
        numerator, denominator = Decimal(total).as_integer_ratio()
        rounded = (2 * abs(numerator) * 10**self.scale + count * denominator) // (2 * count * denominator)
        # From a text: a context of decimals would round what has more than 28 digits.
        return Decimal(f"{rounded if total >= 0 else -rounded}e-{self.scale}")

    def describe(self) -> str:
        return f"mean of {self.field}, rounded to {self.scale} digits"


class Count(Measure, frozen=True, tag="count"):
    """The number of events."""

    def refused(self, column: ColumnType | None) -> str | None:
        return None

    def partials(self, expression: str, column: ColumnType | None) -> list[Partial]:
        return [Partial("", "count(*)", "bigint", "sum")]

    @property
    def partial_count(self) -> int:
        return 1

    def kind(self, column: ColumnType | None) -> str:
        return "bigint"

    def total(self, partials: Sequence[str], column: ColumnType | None) -> str:
        return _if_computed(f"sum({partials[0]})::bigint", partials[0])

    def describe(self) -> str:
        return "number of events"


AnyMeasure = Sum | Count | Min | Max | Mean


def facts(measure: Measure) -> dict[str, Any]:
    """The measure as plain values, for the definition."""
    plain: dict[str, Any] = msgspec.to_builtins(measure)
    return plain


def _if_computed(total: str, count: str) -> str:
    return f"case when bool_and({count} is not null) then {total} end"


def _count(expression: str) -> Partial:
    return Partial(_COUNT, f"count({expression})", "bigint", "sum")


def _sum(expression: str, column: ColumnType | None) -> tuple[str, str]:
    """DuckDB's expression, as wide as it has one, and PostgreSQL's type, wider than any sum."""
    if column is None or column.scale is None:
        # 10^19 additions of 64-bit integers before it could overflow.
        return f"sum({expression})::decimal(38, 0)", "numeric"
    return f"sum({expression})::decimal(38, {column.scale})", f"numeric(50,{column.scale})"


def _summed(kind: str) -> str:
    if kind == "bigint":
        return "bigint"
    scale = kind.partition(",")[2].rstrip(")") or "0"
    return f"decimal(38, {scale})"


def _kind(column: ColumnType | None) -> str:
    kind = column.postgres if column else None
    assert kind is not None  # noqa: S101 - `refused` was asked before
    return kind


def _unless_summable(name: str, column: ColumnType | None) -> str | None:
    if column is not None and (column.is_integer or 0 < column.precision <= SUMMED_DIGITS):
        return None
    return f"{name} takes integers or decimals of up to {SUMMED_DIGITS} digits, whose sums are exact"


def _unless_ordered(name: str, column: ColumnType | None) -> str | None:
    if column is not None and (column.is_integer or column.is_time or column.scale is not None):
        return None
    return f"{name} takes integers, decimals or times"
