"""Windowed aggregates from Kafka to Postgres, exactly once, with Airflow as the only engine to run."""

from microbatch.event import EpochSeconds, Event
from microbatch.measures import Count, Sum
from microbatch.pipeline import KafkaTopic, Pipeline, PostgresTable, TumblingWindow

__all__ = [
    "Count",
    "EpochSeconds",
    "Event",
    "KafkaTopic",
    "Pipeline",
    "PostgresTable",
    "Sum",
    "TumblingWindow",
]
