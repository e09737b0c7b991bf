"""Queries to start from, made from a pipeline's registered definition: each works as it stands."""

from collections.abc import Iterator
from typing import Final

import msgspec
from psycopg.sql import Literal

from microbatch.pipeline import TOPIC_SCHEMA
from microbatch.postgres import Connection
from microbatch.settings import deployment
from microbatch_ui.database import queries, rows
from microbatch_ui.pipelines import Registered
from microbatch_ui.window_outputs import WindowOutput, window_outputs

_EXAMPLES: Final = queries("examples")
_CATALOG: Final = queries("catalog")
_DAY_S: Final = 86_400


class Example(msgspec.Struct, frozen=True):
    """A query, and what it tells of a pipeline."""

    pipeline: str
    title: str
    query: str


def examples_of(connection: Connection, pipeline: Registered) -> list[Example]:
    """Examples of one pipeline: its first output of each kind, and its state in the ledger."""
    made = [*_of_outputs(connection, pipeline), *_of_ledger(connection, pipeline)]
    return [Example(pipeline.name, title, query) for title, query in made]


def _of_outputs(connection: Connection, pipeline: Registered) -> Iterator[tuple[str, str]]:
    kinds = {output["kind"]: output for output in reversed(pipeline.outputs)}
    for window in window_outputs(connection, pipeline)[:1]:
        yield from _of_window(connection, window)
    if (pairs := kinds.get("pairs")) is not None:
        parts = {
            "table": _name(connection, pairs["schema"], pairs["table"]),
            "waiting": _name(connection, pairs["schema"], f"{pairs['table']}_waiting"),
            **_ledger_parts(connection, pipeline),
        }
        yield f"The newest pairs: {pairs['table']}", _EXAMPLES["newest_pairs"].format(**parts)
        yield "What waits for a partner", _EXAMPLES["waiting"].format(**parts)
    # The rows of a stream that only goes to a topic are not kept.
    if (stream := kinds.get("stream")) is not None and stream["schema"] != TOPIC_SCHEMA:
        parts = {"table": _name(connection, stream["schema"], stream["table"]), **_ledger_parts(connection, pipeline)}
        yield f"The newest rows: {stream['table']}", _EXAMPLES["newest_rows"].format(**parts)


def _of_window(connection: Connection, output: WindowOutput) -> Iterator[tuple[str, str]]:
    by = _quoted(connection, [name for name, _ in output.by])
    names = list(output.measures)
    measures = dict(zip(names, _quoted(connection, names), strict=True))
    # The sum over all keys says nothing of means and extremes.
    added = [measures[name] for name, facts in output.measures.items() if facts["measure"] in ("sum", "count")]
    was, now = (_quoted(connection, [f"{name}_{word}" for name in names]) for word in ("was", "now"))
    both = zip(measures.values(), was, now, strict=True)
    pairs = [f"old.{column} as {old},\n    new.{column} as {new}" for column, old, new in both]
    parts = {
        "table": _name(connection, output.schema, output.table),
        **{part: _name(connection, output.schema, f"{output.table}_{part}") for part in ("history", "late", "as_of")},
        "by_and_measures": ",\n    ".join([*by, *measures.values()]),
        "sums": "".join(f",\n    sum({column}) as {column}" for column in added),
        "new_by": "".join(f"{column},\n    " for column in by),
        "was_and_now": ",\n    ".join(pairs),
        "comma_by": "".join(f", {column}" for column in by),
        "span": "1 day" if output.size_s < _DAY_S else "60 days",
    }
    titles = {
        "newest_results": f"The newest results: {output.table}",
        "sums_of_windows": f"All keys together, for a chart: {output.table}",
        "as_published": f"As it was published an hour ago: {output.table}",
        "corrections": f"Corrections since yesterday: {output.table}",
        "late_data": f"Late data by window: {output.table}",
    }
    for example, title in titles.items():
        yield title, _EXAMPLES[example].format(**parts)


def _of_ledger(connection: Connection, pipeline: Registered) -> Iterator[tuple[str, str]]:
    parts = _ledger_parts(connection, pipeline)
    yield "Up to when it is complete", _EXAMPLES["freshness"].format(**parts)
    yield "Rejects by reason", _EXAMPLES["rejects"].format(**parts)
    yield "The last batches and their runs", _EXAMPLES["batches"].format(**parts)


def _ledger_parts(connection: Connection, pipeline: Registered) -> dict[str, str]:
    facts = {"deployment": deployment(), "pipeline": pipeline.name}
    return {name: Literal(text).as_string(connection).strip() for name, text in facts.items()}


def _name(connection: Connection, schema: str, table: str) -> str:
    """A table as people write it: what is in `public` is found without its schema."""
    return ".".join(_quoted(connection, [table] if schema == "public" else [schema, table]))


def _quoted(connection: Connection, names: list[str]) -> list[str]:
    """Names, with quotes only if PostgreSQL needs them."""
    return [row["quoted"] for row in rows(connection, _CATALOG["quoted_names"], {"names": names})]
