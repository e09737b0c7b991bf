"""Where a published number comes from: its revisions, their batches, and what Kafka still has of their messages."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, status
from psycopg import IsolationLevel

from microbatch.airflow_connections import kafka_settings
from microbatch.errors import ResultUnknownError
from microbatch.explaining import Explainer, Explanation
from microbatch.kafka import Broker
from microbatch.postgres import Connection
from microbatch.settings import Connections, deployment
from microbatch_ui.access import TopicReaderDep, ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.database import reading
from microbatch_ui.numbers import check, kept, published, ranges_of, summed
from microbatch_ui.pipelines import pipeline_of
from microbatch_ui.window_outputs import WindowOutput, window_output

router: Final = APIRouter(prefix="/api")

Key = Annotated[tuple[str, ...], Query(description="the values of the output's `by`, as text")]
Window = Annotated[datetime, Query(description="a moment in the window; UTC if it says no zone")]


@router.get("/pipelines/{name}/numbers/{table}")
def number(viewer: ViewerDep, name: str, table: str, window: Window, key: Key = ()) -> Answer:
    """What `microbatch explain` prints; 404 with what there is, if there is no such number."""
    with reading() as connection:
        # A merge in the middle of it shall not make sum and number differ.
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            pipeline = pipeline_of(connection, viewer, name)
            output = window_output(connection, pipeline, table)
            found = _explained(connection, output, key, window)
            ranges = ranges_of(connection, found.batches)
            checked = check(connection, output, found)
    return Answer(
        {
            "pipeline": name,
            "source_topic": pipeline.source_topic,
            "table": output.table,
            "schema": output.schema,
            "window": found.window,
            "by": output.by,
            "key": found.key,
            "measures": list(output.measures),
            "revisions": list(published(found.revisions)),
            "batches": list(summed(found, ranges)),
            "check": checked,
            "lost_offsets": found.lost_offsets,
        }
    )


@router.get("/pipelines/{name}/numbers/{table}/messages")
def messages(viewer: TopicReaderDep, name: str, table: str, window: Window, key: Key = ()) -> Answer:
    """The ranges of the batches, and from where on Kafka has each still.

    Which of their messages count towards the number only the pipeline's own code can tell, which Airflow's api-server
    does not run: `microbatch explain … --messages` does.
    """
    with reading() as connection:
        pipeline = pipeline_of(connection, viewer, name)
        found = _explained(connection, window_output(connection, pipeline, table), key, window)
        ranges = ranges_of(connection, found.batches)
    topic = pipeline.source_topic
    broker = Broker(Connections(kafka_settings(), "", deployment()))
    return Answer({"topic": topic, "ranges": kept(broker, topic, ranges)})


def _explained(connection: Connection, output: WindowOutput, key: tuple[str, ...], window: datetime) -> Explanation:
    moment = window.replace(tzinfo=UTC) if window.tzinfo is None else window
    try:
        return Explainer(connection, deployment()).explain(output.ledger_name, list(key), moment)
    except ResultUnknownError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
