"""What other DAGs can wait for: topics, tables and final days as assets, with events only when there is news."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from airflow.sdk import Asset, get_current_context

from microbatch.outputs import TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.runs import PublishSummary
from microbatch.settings import Connections

_TELLING: Final = "telling"


class News(msgspec.Struct, frozen=True):
    """What an asset's event tells; with days, there is an event for each of them, whose partition key it is."""

    asset: Asset
    extra: dict[str, Any]
    days: list[str] = []


def topic_asset(name: str) -> Asset:
    """A topic as an asset; its uri names the connection, for addresses are not known when a DAG is parsed."""
    # A scheme of our own (x-…), for those of the providers have to name hosts and databases.
    return Asset(name=f"topic {name}", uri=f"x-kafka://kafka_default/{name}")


def table_asset(name: str) -> Asset:
    """A table as an asset: an event says that something in it has changed."""
    return Asset(name=f"table {name}", uri=f"x-postgres://postgres_default/public/{name}")


def day_asset(name: str) -> Asset:
    """The final days of a window's results, by the name of its table (of its topic, if it has none).

    An event says that a day has become final, or that a final day was corrected. Its partition key is the day, such as
    `2026-11-21`, in the window's time zone; of windows of a week, it is the Monday. A DAG that has it as
    `PartitionedAssetTimetable(assets=day_asset("aggregated_sales"))` runs once for each.
    """
    return Asset(name=f"day of {name}", uri=f"x-postgres-day://postgres_default/public/{name}")


def published_assets(pipeline: Pipeline) -> list[Asset]:
    """All assets that a pipeline may have news of."""
    tables = [table_asset(output.table) for output in pipeline.outputs if output.table]
    topics = [topic_asset(output.topic.name) for output in pipeline.outputs if output.topic]
    return [*tables, *_days_of(pipeline).values(), *topics]


def announce(pipeline: Pipeline, summary: PublishSummary, connections: Connections) -> None:
    """Say with which events Airflow is to record this task's success.

    A day is told until Airflow has its event, so none is lost if the task is killed before that; it may be told twice.
    """
    news = [*published(pipeline, summary), *(_final_days(pipeline, connections) if summary.untold else [])]
    context: Any = get_current_context()
    for item in news:
        events = context["outlet_events"][item.asset]
        events.extra = item.extra
        events.add_partitions(item.days)
    # Airflow records an event for each outlet, also where nothing was said of it. Of the task's own copy:
    context["ti"].task.outlets = [item.asset for item in news]


def published(pipeline: Pipeline, summary: PublishSummary) -> Iterator[News]:
    """The news of tables and topics."""
    revised = {item.output: item for item in summary.revised}
    for output in pipeline.outputs:
        change = revised.get(".".join(pipeline.state(output)))
        if output.table and change:
            facts = msgspec.to_builtins(change) | {"closed_until": summary.closed_until}
            yield News(table_asset(output.table), msgspec.to_builtins(facts))
        elif output.table and summary.stored and not isinstance(output, TumblingWindow):
            yield News(table_asset(output.table), {"messages": summary.stored})
        if output.topic and (sent := summary.sent_to.get(output.topic.name)):
            yield News(topic_asset(output.topic.name), {"messages": sent})


def _final_days(pipeline: Pipeline, connections: Connections) -> list[News]:
    from microbatch.final_days import tell, told_before  # noqa: PLC0415 - it takes long, and a day comes once a day

    assets, heard = _days_of(pipeline), set()
    for before in told_before(pipeline.name, connections):
        if before.output in assets:
            heard |= _tellings(assets[before.output], before.since.isoformat())
    telling = uuid4()
    days = tell(pipeline.name, connections, heard, telling)
    return [
        News(assets[output], {_TELLING: str(telling)}, [day.isoformat() for day in told])
        for output, told in days.items()
        if output in assets
    ]


def _tellings(asset: Asset, since: str) -> set[UUID]:
    """The tellings whose events Airflow has."""
    # The context has those of inlets only, and as an inlet the asset would look like an input.
    from airflow.sdk.execution_time.context import InletEventsAccessor  # noqa: PLC0415

    events = InletEventsAccessor(asset_name=asset.name, asset_uri=asset.uri).after(since)
    return {UUID(str(event.extra[_TELLING])) for event in events if event.extra and _TELLING in event.extra}


def _days_of(pipeline: Pipeline) -> dict[str, Asset]:
    """By the table of results."""
    found = {}
    for window in pipeline.windows:
        schema, table = pipeline.state(window)
        found[f"{schema}.{table}"] = day_asset(table)
    return found
