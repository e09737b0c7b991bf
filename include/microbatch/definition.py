"""The definition of a pipeline as plain values, and its hash: what changes numbers or columns, nothing else."""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from microbatch import measures
from microbatch.errors import DefinitionChangedError
from microbatch.fields import fields
from microbatch.outputs import Pairs, Stream, Transform, TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.view import View, view

Plain = dict[str, Any]
# Of an output, by kind: what may grow on a live pipeline. Each element names itself first, or is named by its key.
_GROWING: Final = {"tumbling_window": "measures", "stream": "columns"}


def definition(pipeline: Pipeline) -> Plain:
    """What the ledger keeps of a declaration, as values that JSON can say.

    Not in it is what only says how work is cut, where it begins and when it is shown (shards, max_records, run_budget,
    grace, max_rejected, start, emit).
    """
    seen = view(pipeline)
    lateness, values = pipeline.allowed_lateness, pipeline.source.values
    return {
        "name": pipeline.name,
        "source": {
            "topic": pipeline.source.name,
            "event": _event(pipeline.event),
            "event_time": pipeline.source.event_time,
            **({"values": values.plain} if values else {}),
        },
        "max_future_s": pipeline.max_future.total_seconds(),
        "allowed_lateness_s": lateness.total_seconds() if lateness is not None else None,
        "dead_letters": pipeline.dead_letter_topic.name,
        "transform": _transform(pipeline.transform) if pipeline.transform else None,
        "outputs": [_output(pipeline, output, seen) for output in pipeline.outputs],
    }


def definition_hash(plain: Plain) -> str:
    """SHA-256 of the definition, in hexadecimal. The name does not count: a pipeline can be renamed."""
    canonical = msgspec.json.encode({**plain, "name": ""}, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def difference(old: Plain, new: Plain) -> list[str]:
    """Where two definitions differ, as `path: old -> new`, for people."""
    return list(_difference(old, new, ""))


def only_adds(old: Plain, new: Plain) -> bool:
    """Whether the new definition differs from the old one only by what may be added to a live pipeline.

    That is measures of a window, columns of a stream, and optional fields of the event. What was there stays as it was.
    """
    return old != new and _without_additions(old, new) == old


def beyond_rebuild(old: Plain, new: Plain) -> list[str]:
    """Where two definitions differ in what not even a rebuild can change, as `path: old -> new`; empty: nowhere.

    A rebuild reads the same source and writes into tables and topics that keep their shape; beside that, whatever may
    be added may change too. Pairs stay as they were paired: of a pipeline that has some, nothing can change.
    """
    if only_adds(old, new):
        return []
    if any(output["kind"] == "pairs" for output in old["outputs"]):
        return difference(old, new)
    return difference(_shape(old), _shape(_without_additions(old, new)))


def changed_error(pipeline: Pipeline, registered: Plain) -> DefinitionChangedError:
    """What to say of a declaration that is not the registered definition; it names the way out that there is."""
    declared = definition(pipeline)
    remedy = (
        "give the changed pipeline another name and sinks of its own"
        if beyond_rebuild(registered, declared)
        else f"count by it what was counted before: `microbatch rebuild {pipeline.name}`"
    )
    return DefinitionChangedError(
        pipeline=pipeline.name,
        registered=definition_hash(registered)[:12],
        declared=definition_hash(declared)[:12],
        difference="; ".join(difference(registered, declared)),
        remedy=remedy,
    )


# -- parts -----------------------------------------------------------------------------------------------------


def _event(event: type) -> Plain:
    return {name: field.plain for name, field in fields(event).items()}


def _transform(transform: Transform) -> Plain:
    source = inspect.getsource(transform.function)
    return {
        "function": transform.function.__name__,
        "version": transform.version,
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "event": _event(transform.event),
    }


def _output(pipeline: Pipeline, output: Stream | TumblingWindow | Pairs, seen: View) -> Plain:
    schema, table = pipeline.state(output)
    where = {"schema": schema, "table": table, "topic": output.topic.name if output.topic else None}
    if isinstance(output, Stream):
        return {**_stream(output, seen), **where}
    if isinstance(output, TumblingWindow):
        return {**_window(output, seen), **where}
    return {"kind": "pairs", "field": output.field, "sum": output.sum, **where}


def _stream(output: Stream, seen: View) -> Plain:
    return {
        "kind": "stream",
        "columns": [[name, column.sql, column.type.postgres] for name, column in seen.stream.items()],
        "where": output.where,
        "reject": [[reason, sql] for reason, sql in output.reject.items()],
        "unique": [[name, seen.seen[name].postgres] for name in output.unique],
    }


def _window(output: TumblingWindow, seen: View) -> Plain:
    return {
        "kind": "tumbling_window",
        "size_s": output.size_s,
        "timezone": output.timezone,
        "by": [[name, seen.seen[name].postgres] for name in output.by],
        "measures": {name: _measure(measure, seen) for name, measure in output.measures.items()},
    }


def _measure(measure: measures.AnyMeasure, seen: View) -> Plain:
    of = {"of": seen.seen[measure.needs].postgres} if measure.needs is not None else {}
    return {**measures.facts(measure), **of}


# -- differences -----------------------------------------------------------------------------------------------


def _difference(was: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from _difference(was.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, pair in enumerate(zip(was, now, strict=True)):
            yield from _difference(*pair, f"{path}.{index}")
    elif was != now:
        yield f"{path}: {was} -> {now}"


def _without_additions(old: Plain, new: Plain) -> Plain:
    """The new definition less what it may add; if the rest is not the old one, something else differs."""
    source = {**new["source"], "event": _known_fields(old["source"]["event"], new["source"]["event"])}
    outputs = new["outputs"]
    if len(outputs) == len(old["outputs"]):
        outputs = [_known_parts(*pair) for pair in zip(old["outputs"], outputs, strict=True)]
    return {**new, "source": source, "outputs": outputs}


def _known_fields(old: Plain, new: Plain) -> Plain:
    return {name: field for name, field in new.items() if name in old or not field.get("missing")}


def _known_parts(old: Plain, new: Plain) -> Plain:
    part = _GROWING.get(new["kind"])
    if part is None or old["kind"] != new["kind"]:
        return new
    there = {item if isinstance(item, str) else item[0] for item in old[part]}
    if isinstance(new[part], dict):
        return {**new, part: {name: item for name, item in new[part].items() if name in there}}
    return {**new, part: [item for item in new[part] if item[0] in there]}


# -- what a rebuild leaves as it is ----------------------------------------------------------------------------


def _shape(plain: Plain) -> Plain:
    """What a definition says of its source, its sinks and their columns."""
    return {
        "source": {"topic": plain["source"]["topic"]},
        "dead_letters": plain["dead_letters"],
        "outputs": [_shape_of_output(output) for output in plain["outputs"]],
    }


def _shape_of_output(output: Plain) -> Plain:
    if output["kind"] == "tumbling_window":
        of_measures = {name: _without(measure, "field") for name, measure in output["measures"].items()}
        return {**output, "measures": of_measures}
    if output["kind"] == "stream":
        return {**_without(output, "where", "reject"), "columns": {name: kind for name, _, kind in output["columns"]}}
    return output


def _without(plain: Plain, *names: str) -> Plain:
    return {name: value for name, value in plain.items() if name not in names}
