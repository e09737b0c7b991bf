"""Pipelines whose definitions change, as files of a DAGs folder declare them, and the command that rebuilds them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import pytest
from msgspec import Meta
from typer.testing import Result

from fix_cli import Command
from fix_pipeline import T0, Message, Sale, World, sale, sales_pipeline
from microbatch import Count, EpochSeconds, Event, KafkaTopic, Max, Pipeline, PostgresTable, Stream, Sum, TumblingWindow
from microbatch.topics import create_topics
from outside import on_topic

WHY: Final = ("--yes", "--reason", "the rule was wrong")
DAG_FILE: Final = """
from fix_rebuild import declared

sales = declared({kind!r}, {prefix!r})
"""


class NewSale(Event):
    """A sale of a positive amount."""

    seller_id: str
    amount_usd: Annotated[int, Meta(gt=0)]
    sale_ts: EpochSeconds


def _sales(event: type[Event] = Sale, **changes: Any) -> Callable[[str], Pipeline]:
    """Sums of sales; `changes` are of the window."""

    def declare(prefix: str) -> Pipeline:
        made = sales_pipeline(prefix, 2)
        outputs = [msgspec.structs.replace(made.outputs[0], **changes)]
        return msgspec.structs.replace(made, outputs=outputs, source=_source(prefix, event))

    return declare


def _source(prefix: str, event: type[Event]) -> KafkaTopic:
    return KafkaTopic(f"{prefix}-sales-usd", event, event_time="sale_ts", partitions=2)


def _rows(*, has_table: bool, event: type[Event] = Sale, **stream: Any) -> Callable[[str], Pipeline]:
    """A stream of sales to a topic, perhaps with a table, and counts of them."""

    def declare(prefix: str) -> Pipeline:
        topic = KafkaTopic(f"{prefix}-rows", partitions=2)
        rows = Stream(**stream, to=[PostgresTable("sale_rows"), topic] if has_table else [topic])
        counts = TumblingWindow(
            "1 minute", by=["seller_id"], measures={"sales": Count()}, to=[PostgresTable("sale_counts")]
        )
        return Pipeline(name="sales", source=_source(prefix, event), outputs=[rows, counts])

    return declare


_MEASURES: Final = {"amount_usd": Sum("amount_usd"), "sales": Count()}
_DECLARED: Final[dict[str, Callable[[str], Pipeline]]] = {
    "sales": _sales(),
    "positive sales": _sales(NewSale),
    "sales with their largest": _sales(measures=_MEASURES | {"largest": Max("amount_usd")}),
    "sales of two minutes": _sales(size="2 minutes"),
    "rows": _rows(has_table=True),
    "positive rows": _rows(has_table=True, event=NewSale),
    "large rows": _rows(has_table=True, where="amount_usd > 10"),
    "sent rows": _rows(has_table=False),
    "positive sent rows": _rows(has_table=False, event=NewSale),
    "large sent rows": _rows(has_table=False, where="amount_usd > 10"),
    "first rows": _rows(has_table=True, unique=["seller_id"]),
    "first large rows": _rows(has_table=True, unique=["seller_id"], where="amount_usd > 10"),
    "first sent rows": _rows(has_table=False, unique=["seller_id"]),
    "first large sent rows": _rows(has_table=False, unique=["seller_id"], where="amount_usd > 10"),
}


def declared(kind: str, prefix: str) -> Pipeline:
    """The pipeline `sales` in one of its forms, with topics of its own."""
    return _DECLARED[kind](prefix)


def prefix_of(world: World) -> str:
    """What the names of a world's topics begin with."""
    return world.pipeline.source.name.removesuffix("-sales-usd")


def as_declared(world: World, kind: str) -> World:
    """The same world with the pipeline in another form."""
    changed = World(declared(kind, prefix_of(world)), world.connections)
    create_topics([changed.pipeline], world.connections)
    return changed


Rebuild = Callable[..., Result]


@pytest.fixture
def rebuild(command: Command, tmp_path: Path) -> Rebuild:
    """A function that lets the file declare a pipeline and runs `microbatch rebuild`: `rebuild(world, kind, …)`."""

    def run(world: World, kind: str, *words: str) -> Result:
        (tmp_path / "sales.py").write_text(DAG_FILE.format(kind=kind, prefix=prefix_of(world)))
        return command(world, "rebuild", "sales", "--dags", str(tmp_path), *words)

    return run


def send_and_run(world: World, *minutes: list[int]) -> World:
    """A batch a minute, each with these amounts of ada's."""
    for number, amounts in enumerate(minutes):
        at = T0 + 60 * number
        world.send(*(Message(sale("ada", amount, at), at_s=at) for amount in amounts))
        world.run(number, f"run {number}")
    return world


def amounts_sent(world: World) -> list[int]:
    """The amounts of the rows on the stream's topic, in their order there."""
    return [json.loads(message.value or b"")["amount_usd"] for message in on_topic(world, f"{prefix_of(world)}-rows")]
