"""A stream's SQL, evaluated again: a block of rows at a time, and single rows where a block raises."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import duckdb

from recount import arrow
from recount.arrow import Row
from recount.columns import ColumnType, Value
from recount.definition import Stream, StreamColumn
from recount.errors import InvalidError, UncountableError
from recount.fields import Field
from recount.times import DATES_S, EPOCH, moment

Answer = tuple[Any, ...] | InvalidError
"""What a row gives for some expressions, or why it is a reject."""

_RAISES: Final = InvalidError("DuckDB raises on it")
_DAY_S: Final = 86_400
_PYTHON: Final[dict[str, type | tuple[type, ...]]] = {
    "text": str,
    "bigint": int,
    "boolean": bool,
    "numeric": (int, Decimal),
    "timestamptz": int,
    "date": int,
    "uuid": UUID,
}


@dataclass(frozen=True, slots=True)
class _Query:
    """What is selected from a block, and from another: whether each expression raises (null), row by row."""

    select: str
    guarded: str


class Expressions:
    """The expressions of one stream over events with these fields.

    Raises:
        UncountableError: DuckDB does not know what an expression says.
    """

    def __init__(self, stream: Stream, fields: Sequence[Field]) -> None:
        self._stream = stream
        self._fields = fields
        if len({each.name.lower() for each in fields}) < len(fields):
            raise UncountableError("fields differ only by case, which SQL expressions do not tell apart")
        self._duckdb = duckdb.connect(config={"threads": 1})
        self._duckdb.execute("set TimeZone = 'UTC'")
        self._rules = [(reason, _predicate(sql)) for reason, sql in stream.reject]
        self._where = None if stream.where is None else _predicate(stream.where)
        self._columns = _columns(stream.columns)
        for query in (*(query for _, query in self._rules), *([self._where] if self._where else []), self._columns):
            self._check(query)

    def reasons(self, rows: Sequence[Row]) -> list[str | InvalidError | None]:
        """Of each row the reason by which a rule rejects it, or the error of one, or None."""
        found: list[str | InvalidError | None] = [None] * len(rows)
        for reason, query in self._rules:
            open_ = [at for at, each in enumerate(found) if each is None]
            for at, answer in zip(open_, self._answers([rows[at] for at in open_], query), strict=True):
                if isinstance(answer, InvalidError):
                    found[at] = answer
                elif answer[0]:
                    found[at] = reason
        return found

    def passes(self, rows: Sequence[Row]) -> list[bool | InvalidError]:
        """Of each row whether `where` lets it pass, or its error."""
        if self._where is None:
            return [True] * len(rows)
        answers = self._answers(rows, self._where)
        return [answer if isinstance(answer, InvalidError) else bool(answer[0]) for answer in answers]

    def columns(self, rows: Sequence[Row]) -> list[dict[str, Value] | InvalidError]:
        """Of each row the stream's columns, or why it cannot have them."""
        return [self._values(answer) for answer in self._answers(rows, self._columns)]

    def _values(self, answer: Answer) -> dict[str, Value] | InvalidError:
        if isinstance(answer, InvalidError):
            return answer
        try:
            columns = self._stream.columns
            return {column.name: _value(column, found) for column, found in zip(columns, answer, strict=True)}
        except InvalidError as error:
            return error

    def _answers(self, rows: Sequence[Row], query: _Query) -> list[Answer]:
        """What a query gives for each row; of those rows that raise when they are alone, their errors."""
        return self._of_block(arrow.table(self._fields, rows), query) if rows else []

    def _of_block(self, block: Any, query: _Query) -> list[Answer]:
        try:
            return list(self._run(block, query.select))
        except duckdb.Error as error:
            if block.num_rows == 1:
                return [InvalidError("{}", error)]
        return self._apart(block, query)

    def _apart(self, block: Any, query: _Query) -> list[Answer]:
        """Those that raise are left out of what is asked again; where that cannot be told, all are asked alone."""
        raising = self._raising(block, query)
        if not raising:
            return [self._of_block(block.slice(at, 1), query)[0] for at in range(block.num_rows)]
        others = [at for at in range(block.num_rows) if at not in raising]
        found = dict(zip(others, self._of_block(block.take(others), query) if others else (), strict=True))
        return [found.get(at, _RAISES) for at in range(block.num_rows)]

    def _raising(self, block: Any, query: _Query) -> set[int]:
        try:
            return {at for at, found in enumerate(self._run(block, query.guarded)) if None in found}
        except duckdb.Error:
            return set()  # some functions cannot be tried

    def _run(self, block: Any, select: str) -> list[tuple[Any, ...]]:
        self._duckdb.register("block", block)
        return self._duckdb.execute(select).fetchall()

    def _check(self, query: _Query) -> None:
        """Over no row at all nothing can raise but what no row can change."""
        try:
            self._run(arrow.table(self._fields, []), query.select)
        except duckdb.Error as error:
            raise UncountableError("DuckDB does not take an expression: {}", error) from error


# The SQL that is run is the definition's own.


def _predicate(sql: str) -> _Query:
    is_true = f"(\n{sql}\n) is true"
    return _Query(f"select {is_true} from block as event", f"select try({is_true}) from block as event")  # noqa: S608


def _columns(columns: Sequence[StreamColumn]) -> _Query:
    inner = ", ".join(f"(\n{column.sql}\n) as c{at}" for at, column in enumerate(columns))
    outer = ", ".join(_shown(column, at) for at, column in enumerate(columns))
    guarded = ", ".join(f"try((\n{column.sql}\n) is null)" for column in columns)
    return _Query(f"select {outer} from (select {inner} from block as event)", f"select {guarded} from block as event")  # noqa: S608


def _shown(column: StreamColumn, at: int) -> str:
    """Times as whole numbers, for Python cannot show all that DuckDB can; infinite ones are far out of bounds."""
    if column.type.base == "timestamptz":
        return f"case when isfinite(c{at}) then epoch_us(c{at}) when c{at} is not null then {2**63 - 1} end"
    if column.type.base == "date":
        return f"case when isfinite(c{at}) then c{at} - date '1970-01-01' when c{at} is not null then {2**31} end"
    return f"c{at}"


def _value(column: StreamColumn, found: Any) -> Any:
    """The value of a computed column.

    Raises:
        InvalidError: PostgreSQL cannot hold it.
        UncountableError: it is not of the type that the definition says.
    """
    if found is None:
        return None
    fits = isinstance(found, _PYTHON[column.type.base])
    if not fits:
        raise UncountableError("column {!r} should be {}, DuckDB gives {!a}", column.name, column.type, found)
    if isinstance(found, str) and "\0" in found:
        raise InvalidError("{} has a NUL", column.name)
    if column.type.base in ("timestamptz", "date"):
        return _time(column.type, int(found), column.name)
    return found


def _time(kind: ColumnType, found: int, name: str) -> Value:
    value: Value = None
    if kind.base == "timestamptz":
        value = moment(found)
    elif found * _DAY_S in DATES_S:
        value = EPOCH.date() + timedelta(days=found)
    if value is None:
        raise InvalidError("{} is beyond the calendar", name)
    return value
