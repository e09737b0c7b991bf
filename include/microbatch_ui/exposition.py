"""What the ledger says now, in the text form of Prometheus. Asked anew at each scrape: nothing is kept between two."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from microbatch import metrics
from microbatch.metrics import Metric
from microbatch.postgres import Connection
from microbatch.states import Facts, State, judge
from microbatch_ui.database import queries, rows
from microbatch_ui.pipelines import Registered
from microbatch_ui.standing import standings

REASONS: Final = 20
"""Of each pipeline: a label must not have any number of values."""
REASON_CHARACTERS: Final = 200
REJECTS: Final = 10_000
OTHER: Final = "other"
STATES: Final = get_args(State)
_METRICS: Final = queries("metrics")

Values = dict[tuple[str, ...], float]
"""The values of a metric by those of its labels."""


def measure(connection: Connection, pipelines: list[Registered]) -> dict[Metric, Values]:
    """All pulled metrics of some pipelines; what the ledger does not know yet is left out."""
    facts = {"pipelines": [pipeline.pipeline_id for pipeline in pipelines]}

    def ask(name: str) -> list[dict[str, Any]]:
        return rows(connection, _METRICS[name], facts)

    totals, last_hour = ask("totals"), ask("last_hour")
    return {
        **_of_states({name: found.facts for name, found in standings(connection, pipelines).items()}),
        metrics.LAST_BATCH_SECONDS: _by_pipeline(ask("last_batch"), "seconds"),
        metrics.LAG_OFFSETS: {
            (row["pipeline"], row["topic"], str(row["partition"])): row["behind"] for row in ask("lag")
        },
        metrics.GAP_OFFSETS: _by_pipeline(ask("gaps"), "offsets"),
        metrics.OUTBOX_SEGMENTS: _by_pipeline(totals, "outbox_segments"),
        metrics.COVERED_OFFSETS: _by_pipeline(totals, "covered_offsets"),
        metrics.PUBLICATIONS: _by_pipeline(totals, "publications"),
        metrics.MESSAGES_LAST_HOUR: _by_pipeline(last_hour, "messages"),
        metrics.REJECTED_LAST_HOUR: _by_pipeline(last_hour, "rejected"),
        metrics.LATE_LAST_HOUR: _by_pipeline(last_hour, "late"),
        metrics.REJECTS_LAST_HOUR: {
            (row["pipeline"], reason): count
            for row in last_hour
            for reason, count in _reasons(connection, row["rejecting"]).items()
        },
    }


def _of_states(found: dict[str, Facts]) -> dict[Metric, Values]:
    states = {name: judge(facts).state for name, facts in found.items()}
    return {
        metrics.STATE: {(name, each): float(each == state) for name, state in states.items() for each in STATES},
        metrics.COMPLETE_UNTIL: _times((name, facts.complete_until) for name, facts in found.items()),
        metrics.LOOKED_AT: _times((name, facts.looked_at) for name, facts in found.items()),
        metrics.LAST_BATCH_AT: _times((name, facts.last_batch_at) for name, facts in found.items()),
    }


def _times(found: Iterable[tuple[str, datetime | None]]) -> Values:
    return {(name,): moment.timestamp() for name, moment in found if moment is not None}


def _by_pipeline(found: list[dict[str, Any]], column: str) -> Values:
    return {(row["pipeline"],): row[column] for row in found if row[column] is not None}


def _reasons(connection: Connection, batches: list[int]) -> Counter[str]:
    """How many messages these batches have rejected for each reason."""
    if not batches:
        return Counter()
    found = rows(connection, _METRICS["reasons"], {"batches": batches, "rejects": REJECTS})
    counted: Counter[str] = Counter()
    for place, row in enumerate(found):
        counted[row["reason"][:REASON_CHARACTERS] if place < REASONS else OTHER] += row["messages"]
    return counted


# -- as text -----------------------------------------------------------------------------------------------


def exposed(values: Mapping[Metric, Values]) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry()
    registry.register(_Measured(values))
    return generate_latest(registry)


class _Measured(Collector):
    def __init__(self, values: Mapping[Metric, Values]) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        for metric, values in self._values.items():
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family
