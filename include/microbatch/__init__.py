"""Windowed aggregates from Kafka to Postgres, exactly once, with Airflow as the only engine to run."""

from microbatch.event import EpochMillis, EpochSeconds, Event, Scale
from microbatch.keeping import Keep
from microbatch.measures import Count, Max, Mean, Min, Sum
from microbatch.outputs import KafkaTopic, Pairs, PostgresTable, Stream, Transform, TumblingWindow
from microbatch.pipeline import Pipeline
from microbatch.settings import setting
from microbatch.value_formats import Avro, Protobuf

__all__ = [
    "Avro",
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
    "Protobuf",
    "Scale",
    "Stream",
    "Sum",
    "Transform",
    "TumblingWindow",
    "setting",
]
