"""A measure over time, for some keys of a window output: what a chart shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg
from fastapi import HTTPException, status

from microbatch.postgres import Connection
from microbatch_ui.database import queries, rows
from microbatch_ui.window_outputs import WindowOutput
from microbatch_ui.windows import Span, windows_in

MOST_KEYS: Final = 20
_KEYS: Final = 8
_CORRECTIONS: Final = 200
_RESULTS: Final = queries("results")


class Line(msgspec.Struct, frozen=True):
    """The numbers of one key; None: the window has no result for it."""

    key: list[str]
    label: str
    values: list[float | None]


class Correction(msgspec.Struct, frozen=True):
    """A revision of a result that was final, and when it was published."""

    window_start: datetime
    key: list[str]
    revision: int
    at: datetime


class Series(msgspec.Struct, frozen=True):
    """What a chart shows.

    Attributes:
        measure: which one.
        times: the start of each window, in seconds since 1970.
        series: a line for each key.
        corrections: of these keys in these windows, the newest windows first; of each key no more than 200.
        windows: how many there are in `times`.
        is_cut: the span has older windows.
        keys_total: how many keys the newest window has.
    """

    measure: str
    times: list[float]
    series: list[Line]
    corrections: list[Correction]
    windows: int
    is_cut: bool
    keys_total: int


def series(
    connection: Connection, output: WindowOutput, span: Span, measure: str | None, keys: Sequence[str]
) -> Series:
    """The newest windows of a span.

    Args:
        connection: to the ledger.
        output: whose results they are.
        span: of time.
        measure: None: the first one.
        keys: as `key_of` reads them; none: the largest ones of the newest window.

    Raises:
        HTTPException: 400, the output has no such measure or key.
    """
    shown = _measure(output, measure)
    wanted = [key_of(output, key) for key in keys]
    windows = windows_in(connection, output, span)
    if not windows.starts:
        return Series(shown, [], [], [], 0, is_cut=False, keys_total=0)
    largest, total = _largest(connection, output, shown, windows.starts[-1])
    asked = [_Asked(connection, output, key, windows.starts) for key in wanted or largest]
    return Series(
        measure=shown,
        times=[start.timestamp() for start in windows.starts],
        series=[each.line(shown) for each in asked],
        corrections=sorted(
            (correction for each in asked for correction in each.corrections()),
            key=lambda correction: (correction.window_start, correction.at),
            reverse=True,
        ),
        windows=len(windows.starts),
        is_cut=windows.is_cut,
        keys_total=total,
    )


def key_of(output: WindowOutput, text: str) -> list[str]:
    """A key of an output, from a JSON array of its values as texts.

    Raises:
        HTTPException: 400, it is none.
    """
    try:
        key = msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        key = None
    if key is None or len(key) != len(output.by):
        raise refused_key(output, text, "it is none")
    return key


def refused_key(output: WindowOutput, key: object, reason: str) -> HTTPException:
    """What to say of a key that cannot be one."""
    columns = ", ".join(f"{name} ({kind})" for name, kind in output.by) or "nothing but the window"
    return HTTPException(
        status.HTTP_400_BAD_REQUEST,
        f"{key} is no key of {output.table}: {reason}; give a JSON array of texts, one for each of: {columns}",
    )


class _Asked:
    """What is asked about one key."""

    def __init__(self, connection: Connection, output: WindowOutput, key: list[str], starts: list[datetime]) -> None:
        self._connection = connection
        self._output = output
        self._key = key
        self._starts = starts
        self._values, self._facts = output.key_parts(key)

    def line(self, measure: str) -> Line:
        query = self._output.compose(
            _RESULTS["values_of_key"], measure=self._output.number(measure), values=self._values
        )
        values: list[float | None] = [None] * len(self._starts)
        for row in self._rows(query, {}):
            values[row["place"] - 1] = row["value"]
        return Line(self._key, ", ".join(self._key) or self._output.table, values)

    def corrections(self) -> list[Correction]:
        query = self._output.compose(_RESULTS["corrections_of_key"], values=self._values)
        return [Correction(key=self._key, **row) for row in self._rows(query, {"limit": _CORRECTIONS})]

    def _rows(self, query: Any, facts: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            return rows(self._connection, query, {**self._facts, "windows": self._starts, **facts})
        except psycopg.DataError as error:
            raise refused_key(self._output, self._key, str(error).splitlines()[0]) from error


def _measure(output: WindowOutput, measure: str | None) -> str:
    shown = measure or next(iter(output.measures))
    if shown not in output.measures:
        raise HTTPException(
            status.HTTP_400_BAD_REQUEST,
            f"{output.table} has no measure {shown!r}; take one that it has: {', '.join(output.measures)}",
        )
    return shown


def _largest(
    connection: Connection, output: WindowOutput, measure: str, window: datetime
) -> tuple[list[list[str]], int]:
    """The keys of one window that have the largest numbers, and how many keys it has."""
    query = output.compose(_RESULTS["largest_keys"], measure=output.number(measure))
    found = rows(connection, query, {"window": window, "limit": _KEYS})
    return [row["key"] for row in found], found[0]["keys"] if found else 0
