"""A demo producer becomes a DAG that sends events live, in the minute in which its run works."""

import inspect
import logging
from datetime import timedelta
from typing import Final

from airflow.sdk import DAG, Param, get_current_context, task

from microbatch.airflow import START_DATE, TAG, every_minute, task_manners, topic_asset
from microbatch.airflow_connections import kafka_settings
from microbatch.clock import Clock
from producers.pacing import live
from producers.registry import Producer

log: Final = logging.getLogger("producers")

POOL: Final = "producers"
_PARAMS: Final = {
    "rate_per_second": Param(
        10, type="number", minimum=0.1, maximum=5000, title="Rate", description="Events a second."
    ),
    "bad_share": Param(
        0.02,
        type="number",
        minimum=0,
        maximum=1,
        title="Share of bad events",
        description="From 0 to 1: malformed JSON, a missing or mistyped field, a time in the far future.",
    ),
}


def producer_dag(producer: Producer, doc: str | None) -> DAG:
    """The DAG of a producer; `doc` is its page in Airflow's UI."""
    with DAG(
        f"produce_{producer.name}",
        description=f"Demo events, sent live to topic {producer.topic}.",
        doc_md=inspect.cleandoc(doc) if doc else None,
        tags=[TAG, "producer"],
        schedule=every_minute,
        start_date=START_DATE,
        # Live events belong to the present; there is nothing to make up for.
        catchup=False,
        max_active_runs=1,
        params=_PARAMS,
        # A run takes at most two minutes; this ends one that was stopped.
        dagrun_timeout=timedelta(minutes=3),
        # No retry: it would send other events, not the lost ones again. The next minute's run goes on.
        default_args={"retries": 0, "pool": POOL},
    ) as dag:
        _send(producer)
    return dag


def _send(producer: Producer) -> None:
    @task(task_id="send", outlets=[topic_asset(producer.topic)], show_return_value_in_logs=False)
    def send_live() -> int:
        from producers.sending import send  # noqa: PLC0415

        context = get_current_context()
        rate, bad_share = context["params"]["rate_per_second"], context["params"]["bad_share"]
        pace = live(rate, Clock().now())
        log.info("sending %s events to topic %s at %g a second", f"{pace.total:,}", producer.topic, rate)
        with task_manners():
            sent = send(producer, kafka_settings(), pace, bad_share=bad_share, seed=context["dag_run"].run_id)
        log.info("%s events sent", f"{sent:,}")
        return sent

    send_live()
