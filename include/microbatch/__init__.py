"""Windowed aggregates from Kafka to Postgres, exactly once, with Airflow as the only engine to run."""

from microbatch.event import EpochMillis, EpochSeconds, Event, Scale
from microbatch.keeping import Keep
from microbatch.measures import Count, Max, Mean, Min, Sum
from microbatch.outputs import KafkaTopic, Pairs, PostgresTable, Stream, Transform, TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.settings import setting

__all__ = [
    "Count",
    "EpochMillis",
    "EpochSeconds",
    "Event",
    "KafkaTopic",
    "Keep",
    "Max",
    "Mean",
    "Min",
    "Pairs",
    "Pipeline",
    "PostgresTable",
    "Scale",
    "Stream",
    "Sum",
    "Transform",
    "TumblingWindow",
    "setting",
]
