"""Which windows a page shows: the newest ones of a span, found without reading the results in between."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from microbatch.postgres import Connection
from microbatch_ui.database import queries, rows
from microbatch_ui.window_outputs import WindowOutput

MOST_WINDOWS: Final = 1440
"""A day of minutes."""
_RESULTS: Final = queries("results")


class Span(msgspec.Struct, frozen=True):
    """From when, included, until when, excluded; None: all."""

    since: datetime | None
    until: datetime | None

    @property
    def facts(self) -> dict[str, datetime | None]:
        """For a query; a time without an offset is UTC."""
        return {"since": _utc(self.since), "until": _utc(self.until)}


class Windows(msgspec.Struct, frozen=True):
    """Windows that follow each other.

    Attributes:
        starts: of each, the oldest first; between them those that have no result, if windows have a fixed length.
        is_cut: the span has older ones.
    """

    starts: list[datetime]
    is_cut: bool


def windows_in(connection: Connection, output: WindowOutput, span: Span, limit: int = MOST_WINDOWS) -> Windows:
    """The newest windows of a span that has results, at most so many."""
    newest = _window(connection, output, "newest_window", span)
    oldest = _window(connection, output, "oldest_window", span)
    if newest is None or oldest is None:
        return Windows([], is_cut=False)
    if output.timezone == "UTC":
        size = timedelta(seconds=output.size_s)
        count = min(limit, (newest - oldest) // size + 1)
        starts = [newest - number * size for number in reversed(range(count))]
    else:
        facts = {"newest": newest, "oldest": oldest, "limit": limit}
        found = rows(connection, output.compose(_RESULTS["windows_that_are"]), facts)
        starts = [row["window_start"] for row in found]
    return Windows(starts, is_cut=starts[0] > oldest)


def newest_closed(connection: Connection, output: WindowOutput, closed_until: datetime | None) -> datetime | None:
    """The newest closed window that has results."""
    facts = {"closed_until": closed_until}
    return _one(rows(connection, output.compose(_RESULTS["newest_closed"]), facts))


def _window(connection: Connection, output: WindowOutput, query: str, span: Span) -> datetime | None:
    return _one(rows(connection, output.compose(_RESULTS[query]), span.facts))


def _one(found: list[dict[str, Any]]) -> datetime | None:
    return found[0]["window_start"] if found else None


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
