"""The definition of a pipeline as plain values, and its hash: what changes numbers or columns, nothing else."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from microbatch import measures
from microbatch.event import Event
from microbatch.pipeline import Pipeline, TumblingWindow

Plain = dict[str, Any]


def definition(pipeline: Pipeline) -> Plain:
    """What the ledger keeps of a declaration, as values that JSON can say.

    Not in it is what only says how work is cut (shards, max_records, run_budget, grace).
    """
    return {
        "name": pipeline.name,
        "source": {
            "topic": pipeline.source.name,
            "event": {name: field.kind for name, field in pipeline.fields.items()},
            "event_schema": _schema(pipeline.event),
            "event_time": pipeline.source.event_time,
        },
        "max_future_s": pipeline.max_future.total_seconds(),
        "dead_letters": pipeline.dead_letter_topic.name,
        "outputs": [_window(output) for output in pipeline.outputs],
    }


def definition_hash(plain: Plain) -> str:
    """SHA-256 of the definition, in hexadecimal. Descriptions do not count: they change no number."""
    canonical = msgspec.json.encode(_without_descriptions(plain), order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def difference(old: Plain, new: Plain) -> list[str]:
    """Where two definitions differ, as `path: old -> new`, for people; descriptions left out."""
    return list(_difference(_without_descriptions(old), _without_descriptions(new), ""))


def _difference(was: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from _difference(was.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, pair in enumerate(zip(was, now, strict=True)):
            yield from _difference(*pair, f"{path}.{index}")
    elif was != now:
        yield f"{path}: {was} -> {now}"


def _schema(event: type[Event]) -> Plain:
    """The JSON schema of the event, less its name: that changes no number."""
    _, components = msgspec.json.schema_components([event])
    return {key: value for key, value in components[event.__name__].items() if key != "title"}


def _window(output: TumblingWindow) -> Plain:
    return {
        "kind": "tumbling_window",
        "size_s": output.size_s,
        "by": list(output.by),
        "measures": {name: measures.facts(measure) for name, measure in output.measures.items()},
        "table": output.table,
        "topic": output.topic.name if output.topic else None,
    }


def _without_descriptions(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not (k == "description" and isinstance(v, str))}
        return {key: _without_descriptions(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_descriptions(item) for item in value]
    return value
