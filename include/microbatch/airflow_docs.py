"""The page that a pipeline's DAG has in Airflow's UI: what its file says, and what its declaration says."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Final

from microbatch.event import Event, FieldKind
from microbatch.pipeline import Pipeline, TumblingWindow

_TYPES: Final[dict[FieldKind, str]] = {
    "str": "text",
    "int": "integer",
    "epoch_seconds": "whole seconds since 1970-01-01 UTC",
}


def documentation(pipeline: Pipeline, docstring: str | None) -> str:
    """Markdown: what the docstring of the file (or the description) says, then what the declaration says."""
    told = inspect.cleandoc(docstring) if docstring else pipeline.description
    windows = map(_window, pipeline.outputs)
    return _joined([told, _source(pipeline), *windows, _rejects(pipeline), _running(pipeline)]) + "\n"


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts))


def _source(pipeline: Pipeline) -> str:
    event = pipeline.event
    fields = [
        (f"`{field.name}`", _TYPES[field.kind], "event time" if name == pipeline.source.event_time else "")
        for name, field in pipeline.fields.items()
    ]
    told = _own_docstring(event)
    return "\n\n".join(
        filter(None, [f"### Reads topic `{pipeline.source.name}`", told, _table(("field", "type", ""), fields)])
    )


def _own_docstring(event: type[Event]) -> str:
    # `event.__doc__`, not inspect.getdoc: an event without one would show its base's.
    return inspect.cleandoc(event.__doc__) if event.__doc__ else ""


def _window(window: TumblingWindow) -> str:
    keys = ", ".join(f"`{name}`" for name in window.by) or "no key"
    measures = [(f"`{name}`", measure.describe()) for name, measure in window.measures.items()]
    topic = f" and topic `{window.topic.name}`" if window.topic else ""
    return (
        f"### Computes windows of {window.size}\n\n"
        f"By {keys}, into table `{window.table}`{topic}.\n\n{_table(('measure', 'meaning'), measures)}"
    )


def _rejects(pipeline: Pipeline) -> str:
    return (
        f"### Rejects to topic `{pipeline.dead_letter_topic.name}`\n\n"
        "A message that is not a valid event goes there whole, with the reason in its headers. If more than "
        f"{pipeline.max_rejected:.0%} of a batch (of at least 100 messages) are rejected, it fails instead."
    )


def _running(pipeline: Pipeline) -> str:
    return (
        "### Runs\n\n"
        f"A scheduled run waits {pipeline.grace.total_seconds():g} s after its interval's end, reads all that "
        "no run has read yet, and publishes what changed. A run that fails loses nothing: the next one goes on."
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    return "\n".join(_lines([columns, ["---"] * len(columns), *rows]))


def _lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(row)} |"
