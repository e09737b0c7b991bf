"""The page that a pipeline's DAG has in Airflow's UI: what its file says, and what its declaration says."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from microbatch.fields import Field, fields
from microbatch.outputs import AnyOutput, Pairs, Stream, Transform, TumblingWindow
from microbatch.pipeline import Pipeline

Plain = Mapping[str, Any]

# By kind of the definition; each gets the type as it stands there.
_TYPES: Final[Mapping[str, Callable[[Plain], str]]] = {
    "str": lambda plain: "text" + _constraints(plain),
    "int": lambda plain: "integer" + _constraints(plain),
    "bool": lambda _: "true or false",
    "decimal": lambda plain: f"decimal with up to {plain['scale']} digits after the point",
    "epoch_seconds": lambda _: "whole seconds since 1970-01-01 UTC",
    "epoch_millis": lambda _: "whole milliseconds since 1970-01-01 UTC",
    "iso_time": lambda _: "time with an offset, such as `2026-11-21T10:00:00Z`",
    "enum": lambda plain: "one of " + ", ".join(_code(value) for value in plain["values"]),
    "struct": lambda _: "object",
    "list": lambda plain: "list of: " + _type(plain["item"]),
}
_UNITS: Final = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}


def documentation(pipeline: Pipeline, docstring: str | None, timeout: timedelta) -> str:
    """The page in Markdown.

    Args:
        pipeline: whose declaration it tells.
        docstring: of the pipeline's file; the page begins with it. None: with the pipeline's description.
        timeout: after which Airflow cuts a run off.
    """
    told = inspect.cleandoc(docstring) if docstring else pipeline.description
    parts = [
        told,
        _source(pipeline),
        _transform(pipeline.transform) if pipeline.transform else "",
        *(_output(pipeline, output) for output in pipeline.outputs),
        _rejects(pipeline),
        _runs(pipeline),
        _for_others(pipeline),
        _by_hand(timeout),
    ]
    return _paragraphs(*parts) + "\n"


# -- what comes in -----------------------------------------------------------------------------------------


def _source(pipeline: Pipeline) -> str:
    return _paragraphs(
        f"### Reads topic `{pipeline.source.name}`",
        _own_docstring(pipeline.event),
        _field_table(pipeline.fields, pipeline.source.event_time),
        _beginning(pipeline.start),
    )


def _beginning(start: str | datetime) -> str:
    if isinstance(start, datetime):
        return f"It begins with the messages of {start.isoformat()}; a run by hand can read older ones."
    if start == "latest":
        return "It begins with what came after its first run; a run by hand can read older messages."
    return "It begins with the oldest message."


def _transform(transform: Transform) -> str:
    return _paragraphs(
        f"### Transforms events by `{transform.function.__name__}`",
        _own_docstring(transform.function),
        f"Version {transform.version}. What comes out of it:",
        _field_table(fields(transform.event), None),
    )


def _own_docstring(thing: object) -> str:
    # `__doc__`, not inspect.getdoc: an event without one would show its base's.
    return inspect.cleandoc(thing.__doc__) if thing.__doc__ else ""


def _field_table(found: Mapping[str, Field], event_time: str | None) -> str:
    rows = [
        (_code(path), _type(plain), ", ".join([*(["event time"] if path == event_time else []), *_notes(plain)]))
        for path, plain in _flat({name: field.plain for name, field in found.items()}, "")
    ]
    return _table(("field", "type", ""), rows)


def _flat(found: Mapping[str, Plain], prefix: str) -> Iterator[tuple[str, Plain]]:
    """Fields, and those of their objects and lists of objects, by their path."""
    for name, plain in found.items():
        inner, path = plain, prefix + name
        yield path, plain
        while inner["kind"] == "list":
            inner, path = inner["item"], f"{path}[]"
        yield from _flat(inner.get("fields", {}), f"{path}.")


def _type(plain: Plain) -> str:
    return _TYPES[plain["kind"]](plain)


def _constraints(plain: Plain) -> str:
    found = plain.get("constraints", {})
    return f" ({', '.join(f'{name} {_code(value)}' for name, value in found.items())})" if found else ""


def _notes(plain: Plain) -> list[str]:
    names = [f"{_code(plain['name'])} in JSON"] if "name" in plain else []
    optional = ["may be null"] if plain.get("optional") else []
    return names + optional + (["may be missing"] if plain.get("missing") else [])


# -- what goes out -----------------------------------------------------------------------------------------


def _output(pipeline: Pipeline, output: AnyOutput) -> str:
    if isinstance(output, Stream):
        return _stream(output)
    if isinstance(output, TumblingWindow):
        return _window(output)
    return _pairs(output, ".".join(pipeline.state(output)))


def _stream(stream: Stream) -> str:
    sinks = f"Each event is a row {_into(stream)}." if stream.to else "Windows and pairs see what passes."
    columns = _table(("column", "SQL"), _codes(stream.columns)) if stream.columns else ""
    rejects = _table(("rejected as", "if"), _codes(stream.reject)) if stream.reject else ""
    where = f"Only events pass for which this is true: {_code(stream.where)}" if stream.where else ""
    unique = f"Of events with the same {_listed(stream.unique)} only the first one counts." if stream.unique else ""
    return _paragraphs("### Streams events", sinks, columns, rejects, where, unique)


def _window(window: TumblingWindow) -> str:
    zone = "" if window.timezone == "UTC" else f", by the clocks of {window.timezone}"
    shown = (
        "A result is published after every run that changed it, and is final once its window has closed."
        if window.emit == "early"
        else "A result is published once its window has closed."
    )
    measures = [(_code(name), measure.describe()) for name, measure in window.measures.items()]
    return _paragraphs(
        f"### Computes windows of {window.size}{zone}",
        f"By {_listed(window.by) or 'no key'}, {_into(window)}. {shown} What comes later corrects it.",
        _table(("measure", "meaning"), measures),
    )


def _pairs(pairs: Pairs, state: str) -> str:
    return _paragraphs(
        f"### Pairs events by `{pairs.field}`",
        f"Two events whose `{pairs.field}` sum to {pairs.sum} are a pair, the oldest first, {_into(pairs)}. What has "
        f"no partner yet waits in table `{state}_waiting`. When a batch is computed again, all later ones are too.",
    )


def _into(output: AnyOutput) -> str:
    tables = [f"table `{output.table}`"] if output.table else []
    topics = [f"topic `{output.topic.name}`"] if output.topic else []
    return f"into {' and '.join(tables + topics)}"


def _rejects(pipeline: Pipeline) -> str:
    lateness = pipeline.allowed_lateness
    late = (
        f" So does one that reaches Kafka more than {_duration(lateness)} after the end of its window, as `late`."
        if lateness is not None
        else ""
    )
    return _paragraphs(
        f"### Rejects to topic `{pipeline.dead_letter_topic.name}`",
        f"A message that is not a valid event goes there whole, with the reason in its headers.{late} If more than "
        f"{pipeline.max_rejected:.0%} of a batch (of at least 100 messages) are not valid, it fails instead.",
    )


# -- how it runs -------------------------------------------------------------------------------------------


def _runs(pipeline: Pipeline) -> str:
    return _paragraphs(
        "### Runs",
        f"A scheduled run waits {_duration(pipeline.grace)} after its interval's end, reads all that no run has read "
        f"yet, and publishes what changed. After {_duration(pipeline.run_budget)} it stops and the next one goes on. A "
        f"run that fails loses nothing: the next one goes on. {_kept(pipeline.keep.contributions)}",
    )


def _kept(age: timedelta | None) -> str:
    if age is None:
        return "What was read can be computed again at any time."
    return f"What was read can be computed again for {_duration(age)}; after that it counts as it is."


def _for_others(pipeline: Pipeline) -> str:
    """What other DAGs can wait for."""
    days = [f"day of {pipeline.state(window)[1]}" for window in pipeline.windows]
    told = (
        f"{_listed(days)} {'has' if len(days) == 1 else 'have'} an event for each day that has become final, and again "
        "for a final day that was corrected; its partition key is the day. A DAG with a `PartitionedAssetTimetable` "
        "over it runs once for each."
    )
    return _paragraphs(
        "### For other DAGs",
        "The assets of its tables and topics have an event for each run that changed them.",
        told if days else "",
    )


def _by_hand(timeout: timedelta) -> str:
    backfill = "*Backfill*, which has a run for each interval of the schedule, as many at a time as you say"
    ways = [
        ("read and publish now", "*Trigger*, mode `catch up`"),
        (
            "read messages from before the pipeline's beginning",
            f"{backfill}, beside the scheduled ones; or *Trigger*, mode `interval`, for what takes a few minutes",
        ),
        ("fill what intervals have left out", "nothing: `fill_gaps` does it at night; or *Trigger* that DAG"),
        (
            "compute again what is there, with the code of today",
            "*Trigger*, mode `reprocess`; or *Backfill*, reprocess behavior `All Runs`",
        ),
        ("let a run that failed go on", "*Clear* its failed tasks; or wait: the next scheduled run reads what it left"),
        ("compute again what one run has read", "*Clear* the whole run, once it has succeeded"),
    ]
    return _paragraphs(
        "### By hand",
        _table(("to", "do this"), ways),
        "No message counts twice, whatever is run how often. Intervals are those of Kafka's timestamps. A run by hand "
        f"and the scheduled ones wait for each other. A run that takes longer than {_duration(timeout)} is cut off and "
        "fails; what it has done stays done, and it goes on when it is cleared.",
    )


# -- Markdown ----------------------------------------------------------------------------------------------


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def _codes(rows: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(_code(name), _code(sql)) for name, sql in rows.items()]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_code, names))


def _code(value: object) -> str:
    """As code on one line, also inside a table, where a bar would begin the next cell."""
    text = " ".join(str(value).split()).replace("|", r"\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _duration(value: timedelta) -> str:
    for name, unit in _UNITS.items():
        if value and not value % unit:
            count = value // unit
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{value.total_seconds():g} s"
