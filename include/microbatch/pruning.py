"""Prune: revisions, rows and records that are older than they are kept go, a part at a time.

Each part is a transaction of its own, so a kill loses nothing and the next call goes on. The times since which
everything is there are raised before anything goes: a reader who asks them is never told of what is half gone.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import sql

from microbatch.deciding import Known
from microbatch.postgres import Connection, one_row
from microbatch.sql import queries
from microbatch.tables import names_of

_PRUNING: Final = queries("pruning")
_ROWS_A_PART: Final = 50_000
_WINDOWS_A_PART: Final = timedelta(days=1)


def prune_history(connection: Connection, pipeline: Known, before: datetime) -> int:
    """Delete revisions that had been superseded before a time, never the newest of a key; returns how many."""
    connection.execute(_PRUNING["raise_history_from"], {"pipeline_id": pipeline.pipeline_id, "before": before})
    return sum(_prune_revisions(connection, output, before) for output in _windows(pipeline))


def prune_rows(connection: Connection, pipeline: Known, before: datetime) -> int:
    """Delete the rows of a stream whose batches were archived and read on days (UTC) before a time; returns how many.

    Keys of `unique` stay: a repeat is one however late it comes.
    """
    midnight = before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    facts = {"pipeline_id": pipeline.pipeline_id, "before": midnight}
    tables = [
        sql.Identifier(output["schema"], output["table"])
        for output in pipeline.definition["outputs"]
        if output["kind"] == "stream" and output["schema"] == "public"
    ]
    if not tables:
        return 0
    connection.execute(_PRUNING["raise_rows_from"], facts)
    ranges = connection.execute(_PRUNING["archived_ranges"], facts).fetchall()
    pruned = 0
    for partition, start, end in ranges:
        offsets = {"partition": partition, "start_offset": start, "end_offset": end}
        for table in tables:
            pruned += _in_parts(connection, sql.SQL(_PRUNING["prune_rows"]).format(rows=table), offsets)
    return pruned


def prune_records(connection: Connection, pipeline: Known, before: datetime) -> int:
    """Delete runs, failures and merges from before a time, but for merges that revisions name; returns how many."""
    facts = {"pipeline_id": pipeline.pipeline_id, "before": before}
    runs = _in_parts(connection, sql.SQL(_PRUNING["prune_runs"]), facts)
    failures = _in_parts(connection, sql.SQL(_PRUNING["prune_failures"]), facts)
    return runs + failures + _prune_merges(connection, pipeline, facts)


def _prune_revisions(connection: Connection, output: dict[str, Any], before: datetime) -> int:
    key = ["window_start", *(name for name, _ in output["by"])]
    parts = {
        "history": _history(output),
        "h_key": names_of(key, "h"),
        "newer_key": names_of(key, "newer"),
    }
    next_window = sql.SQL(_PRUNING["next_window"]).format(**parts)
    prune = sql.SQL(_PRUNING["prune_revisions"]).format(**parts)
    pruned, after = 0, None
    while (first := one_row(connection, next_window, {"after": after})[0]) is not None:
        after = first + _WINDOWS_A_PART
        pruned += connection.execute(prune, {"first": first, "last": after, "before": before}).rowcount
    return pruned


def _prune_merges(connection: Connection, pipeline: Known, facts: dict[str, Any]) -> int:
    """Merges are looked at in the order of their numbers, with the histories of all windows."""
    histories = [_history(output) for output in _windows(pipeline)]
    pruned, after = 0, 0
    while merges := _merges(connection, {**facts, "after": after}):
        named = {
            merge_id
            for history in histories
            for (merge_id,) in connection.execute(
                sql.SQL(_PRUNING["named_merges"]).format(history=history), {"merges": merges}
            )
        }
        unnamed = [merge_id for merge_id in merges if merge_id not in named]
        pruned += connection.execute(_PRUNING["prune_merges"], {"merges": unnamed}).rowcount
        after = merges[-1]
    return pruned


def _windows(pipeline: Known) -> list[dict[str, Any]]:
    return [output for output in pipeline.definition["outputs"] if output["kind"] == "tumbling_window"]


def _history(output: dict[str, Any]) -> sql.Identifier:
    return sql.Identifier(output["schema"], f"{output['table']}_history")


def _merges(connection: Connection, facts: dict[str, Any]) -> list[int]:
    rows = connection.execute(_PRUNING["old_merges"], {**facts, "limit": _ROWS_A_PART}).fetchall()
    return [merge_id for (merge_id,) in rows]


def _in_parts(connection: Connection, query: sql.SQL | sql.Composed, facts: dict[str, Any]) -> int:
    """Delete part after part until nothing is left; returns how many rows."""
    pruned = 0
    while gone := connection.execute(query, {**facts, "limit": _ROWS_A_PART}).rowcount:
        pruned += gone
    return pruned
