"""What a pipeline does, as a graph: from its topic to its sinks, as the registered definition has it."""

from typing import Any, Literal

import msgspec

from microbatch.pipeline import TOPIC_SCHEMA

Kind = Literal["topic", "event", "transform", "stream", "window", "pairs", "table", "dead_letters"]
Plain = dict[str, Any]


class Node(msgspec.Struct, frozen=True):
    """A step, or a place where messages or rows are; `detail` is text for people."""

    id: str
    kind: Kind
    name: str
    detail: str


class Flow(msgspec.Struct, frozen=True):
    """Nodes, from the source on, and edges: from which node to which one, and what goes that way."""

    nodes: list[Node]
    edges: list[tuple[str, str, str]]


def flow(definition: Plain) -> Flow:
    """The graph of a definition; see `microbatch.definition`."""
    made = Flow([], [])
    last = _source(made, definition)
    if definition["transform"] is not None:
        last = _transform(made, definition["transform"], last)
    outputs = list(enumerate(definition["outputs"]))
    for number, output in outputs:
        if output["kind"] == "stream":
            last = _stream(made, output, number, last)
    for number, output in outputs:
        if output["kind"] != "stream":
            _grouped(made, output, number, last)
    made.nodes.append(_dead_letters(definition))
    return made


def size_of(seconds: int) -> str:
    """The length of a window as a declaration says it, such as `5 minutes`."""
    for unit, size in (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return _counted(seconds // size, unit)
    return _counted(seconds, "second")


# -- what comes in -----------------------------------------------------------------------------------------


def _source(made: Flow, definition: Plain) -> str:
    source = definition["source"]
    time = source["event_time"] or "Kafka's timestamp"
    made.nodes.append(Node("source", "topic", source["topic"], "what it reads"))
    made.nodes.append(Node("event", "event", "event", f"{_fields(source['event'])}; time: {time}"))
    made.edges.append(("source", "event", ""))
    made.edges.append(("event", "dead letters", "not valid"))
    if definition["allowed_lateness_s"] is not None:
        made.edges.append(("event", "dead letters", f"later than {definition['allowed_lateness_s']:g} s"))
    return "event"


def _transform(made: Flow, transform: Plain, last: str) -> str:
    detail = f"version {transform['version']}; {_fields(transform['event'])}"
    made.nodes.append(Node("transform", "transform", transform["function"], detail))
    made.edges.append((last, "transform", ""))
    return "transform"


def _fields(fields: Plain) -> str:
    return ", ".join(f"{name} {field['kind'].replace('_', ' ')}" for name, field in fields.items())


def _dead_letters(definition: Plain) -> Node:
    return Node("dead letters", "dead_letters", definition["dead_letters"], "whole messages, each with its reason")


# -- what goes out -----------------------------------------------------------------------------------------


def _stream(made: Flow, output: Plain, number: int, last: str) -> str:
    said = [
        f"where {output['where']}" if output["where"] else "",
        f"the first of each {_names(output['unique'])}" if output["unique"] else "",
        f"columns {_names(output['columns'])}",
    ]
    node = Node(f"output {number}", "stream", "stream", "; ".join(filter(None, said)))
    made.nodes.append(node)
    made.edges.append((last, node.id, ""))
    made.edges.extend((node.id, "dead letters", reason) for reason, _ in output["reject"])
    _sinks(made, output, node)
    return node.id


def _grouped(made: Flow, output: Plain, number: int, last: str) -> None:
    if output["kind"] == "pairs":
        node = Node(f"output {number}", "pairs", "pairs", f"{output['field']}: two that sum to {output['sum']}")
    else:
        zone = "" if output["timezone"] == "UTC" else f", {output['timezone']}"
        by = f" by {_names(output['by'])}" if output["by"] else ""
        measures = ", ".join(_measure(name, facts) for name, facts in output["measures"].items())
        node = Node(f"output {number}", "window", f"{size_of(output['size_s'])}{zone}{by}", measures)
    made.nodes.append(node)
    made.edges.append((last, node.id, ""))
    _sinks(made, output, node)


def _sinks(made: Flow, output: Plain, node: Node) -> None:
    """The table that it declares, if it does, and its topic."""
    rows = "rows" if output["kind"] == "stream" else "results" if output["kind"] == "tumbling_window" else "pairs"
    if output["schema"] != TOPIC_SCHEMA:
        table = Node(f"table {output['table']}", "table", output["table"], "in PostgreSQL")
        made.nodes.append(table)
        made.edges.append((node.id, table.id, rows))
    if output["topic"]:
        topic = Node(f"topic {output['topic']}", "topic", output["topic"], "in Kafka")
        made.nodes.append(topic)
        made.edges.append((node.id, topic.id, rows))


def _measure(name: str, facts: Plain) -> str:
    return f"{name}: {facts['measure']}" + (f" of {facts['field']}" if "field" in facts else "")


def _names(columns: list[list[str]]) -> str:
    return ", ".join(name for name, *_ in columns)


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"
