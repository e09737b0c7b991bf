"""Four shards: visits of pages on eight partitions, counted every 15 seconds by tasks that any worker may get."""

from datetime import timedelta

from airflow.sdk import DeltaDataIntervalTimetable

from microbatch import Count, EpochMillis, Event, KafkaTopic, Pipeline, PostgresTable, Sum, TumblingWindow
from microbatch.airflow import as_dag


class Visit(Event):
    """A visit of a page, as it is published on `visits`."""

    page: str
    seconds: int
    at: EpochMillis


four_shards = Pipeline(
    name="four_shards",
    source=KafkaTopic("visits", Visit, event_time="at", partitions=8),
    outputs=[
        TumblingWindow(
            "15 seconds",
            by=["page"],
            measures={"visits": Count(), "seconds": Sum("seconds")},
            to=[PostgresTable("visits_per_page"), KafkaTopic("visits-per-page")],
        ),
    ],
    shards=4,
)

dag = as_dag(four_shards, schedule=DeltaDataIntervalTimetable(timedelta(seconds=15)))
