"""The definition of a pipeline, as the ledger keeps it in JSON. The one place that knows its shape.

What is not known here is refused, never skipped: a check that ignores an output would pass in vain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recount.errors import UncountableError

KINDS: Final = ("str", "int", "epoch_seconds")
MEASURES: Final = ("sum", "count")


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field of the event; an optional one may be missing or null."""

    name: str
    kind: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of a result; `field` is None for a count."""

    column: str
    kind: str
    field: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """A tumbling window of `size_s` seconds, by the columns `by`, and where its results go."""

    size_s: int
    by: tuple[str, ...]
    measures: tuple[Measure, ...]
    table: str | None
    topic: str | None

    @property
    def name(self) -> str:
        """For reports."""
        return self.table or self.topic or f"window of {self.size_s} s"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its measures."""
        return tuple(measure.column for measure in self.measures)


@dataclass(frozen=True, slots=True)
class Definition:
    """A pipeline as it was registered; `event_time` is None where Kafka's timestamp is the event time."""

    topic: str
    fields: tuple[Field, ...]
    event_time: str | None
    max_future_us: int
    dead_letters: str
    windows: tuple[Window, ...]


def parse(plain: Mapping[str, Any]) -> Definition:
    """The definition from its JSON.

    Raises:
        UncountableError: a kind of field, measure or output that this check cannot count.
        KeyError: a part is missing.
    """
    source = plain["source"]
    return Definition(
        topic=source["topic"],
        fields=tuple(_field(name, kind) for name, kind in source["event"].items()),
        event_time=source["event_time"],
        max_future_us=round(plain["max_future_s"] * 1_000_000),
        dead_letters=plain["dead_letters"],
        windows=tuple(_window(output) for output in plain["outputs"]),
    )


def _field(name: str, kind: str) -> Field:
    bare = kind.removesuffix("?")
    return Field(name, _known(bare, KINDS, f"field {name!r}"), optional=bare != kind)


def _window(output: Mapping[str, Any]) -> Window:
    _known(output["kind"], ("tumbling_window",), "output")
    return Window(
        size_s=output["size_s"],
        by=tuple(output["by"]),
        measures=tuple(_measure(column, facts) for column, facts in output["measures"].items()),
        table=output["table"],
        topic=output["topic"],
    )


def _measure(column: str, facts: Mapping[str, Any]) -> Measure:
    return Measure(column, _known(facts["measure"], MEASURES, f"measure {column!r}"), facts.get("field"))


def _known(found: str, known: tuple[str, ...], what: str) -> str:
    if found not in known:
        raise UncountableError("{} is of kind {!r}; this check can count {}", what, found, ", ".join(known))
    return found
