"""The graph of a pipeline: what its definition says, from the topic to the sinks."""

import json
from datetime import timedelta

from microbatch import (
    Count,
    EpochSeconds,
    Event,
    KafkaTopic,
    Pairs,
    Pipeline,
    PostgresTable,
    Stream,
    Sum,
    Transform,
    TumblingWindow,
)
from microbatch.definition import definition
from microbatch_ui.flow import Flow, flow, size_of


class Sale(Event):
    """A sale."""

    seller: str
    amount: int
    at: EpochSeconds


def same(frame: object) -> object:
    """A transform."""
    return frame


PER_DAY = TumblingWindow(
    "1 day", ["seller"], {"amount": Sum("amount")}, [PostgresTable("per_day")], timezone="Europe/Berlin"
)
PER_MINUTE = TumblingWindow("5 minutes", [], {"sales": Count()}, [KafkaTopic("per-minute")])


def flow_of(pipeline: Pipeline) -> Flow:
    """Of the definition as the ledger gives it back."""
    return flow(json.loads(json.dumps(definition(pipeline))))


def edges(pipeline: Pipeline) -> list[tuple[str, str, str]]:
    """Of the graph, with names in place of ids."""
    found = flow_of(pipeline)
    names = {node.id: f"{node.kind} {node.name}" for node in found.nodes}
    assert len(names) == len(found.nodes)
    return [(names[start], names[end], label) for start, end, label in found.edges]


def test_windows_lie_between_the_event_and_their_sinks() -> None:
    sales = Pipeline(
        name="sales",
        source=KafkaTopic("sales-usd", Sale, "at"),
        outputs=[PER_DAY, PER_MINUTE],
        allowed_lateness=timedelta(minutes=10),
    )

    assert edges(sales) == [
        ("topic sales-usd", "event event", ""),
        ("event event", "dead_letters sales-usd-dlq", "not valid"),
        ("event event", "dead_letters sales-usd-dlq", "later than 600 s"),
        ("event event", "window 1 day, Europe/Berlin by seller", ""),
        ("window 1 day, Europe/Berlin by seller", "table per_day", "results"),
        ("event event", "window 5 minutes", ""),
        ("window 5 minutes", "topic per-minute", "results"),
    ]
    details = {node.kind: node.detail for node in flow_of(sales).nodes}
    assert details["event"] == "seller str, amount int, at epoch seconds; time: at"
    assert details["window"] == "sales: count"


def test_events_pass_transform_and_stream_before_pairs() -> None:
    stream = Stream(
        columns={"seller": "seller", "number": "amount"},
        where="amount > 0",
        reject={"no amount": "amount is null"},
        unique=["seller"],
        to=[PostgresTable("rows")],
    )
    sales = Pipeline(
        name="sales",
        source=KafkaTopic("sales-usd", Sale, "at"),
        outputs=[Pairs("number", 12, [KafkaTopic("pairs")]), stream],
        transform=Transform(same, Sale, version=3),  # type: ignore[arg-type]
        dead_letters=KafkaTopic("bad"),
    )

    assert edges(sales) == [
        ("topic sales-usd", "event event", ""),
        ("event event", "dead_letters bad", "not valid"),
        ("event event", "transform same", ""),
        ("transform same", "stream stream", ""),
        ("stream stream", "dead_letters bad", "no amount"),
        ("stream stream", "table rows", "rows"),
        ("stream stream", "pairs pairs", ""),
        ("pairs pairs", "topic pairs", "pairs"),
    ]
    details = {node.kind: node.detail for node in flow_of(sales).nodes}
    assert details["stream"] == "where amount > 0; the first of each seller; columns seller, number"
    assert details["pairs"] == "number: two that sum to 12"


def test_a_length_is_said_as_it_is_declared() -> None:
    assert [size_of(seconds) for seconds in (30, 60, 7200, 86_400, 604_800)] == [
        "30 seconds",
        "1 minute",
        "2 hours",
        "1 day",
        "1 week",
    ]
