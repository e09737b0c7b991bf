"""Weather poller: asks OpenWeatherMap for the weather of a list of cities and sends the answers to `weather`.

Each minute's run asks for the present weather of all `WEATHER_CITIES`, several at once, and sends each answer whole, as
it came. A city that gives none is a warning in the log and costs the others nothing; a run fails only if no city gave
any, if the key is refused, or if Kafka takes nothing. It asks again after a status 429 or 5xx, a lost connection and
broken JSON, for 45 seconds at most.

Settings, from the environment: `OPENWEATHERMAP_API_KEY` and `OPENWEATHERMAP_URL` (`make up` sets those of its mock
unless there is a key of one's own), `WEATHER_CITIES` (names or numbers, with commas between them) and `WEATHER_UNITS`
(standard, metric or imperial). Nobody can ask for the weather of the past: the runs of a backfill are skipped.
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.log import mask_secret

from microbatch.airflow import START_DATE, TAG, task_manners
from microbatch.airflow_assets import topic_asset
from microbatch.airflow_connections import kafka_settings
from producers.airflow import POOL, PRIORITY, half_past_the_minute

log = logging.getLogger("producers")

with DAG(
    "poll_weather",
    description="The present weather of a list of cities, sent to topic weather.",
    doc_md=__doc__,
    tags=[TAG, "producer"],
    schedule=half_past_the_minute,
    start_date=START_DATE,
    catchup=False,
    max_active_runs=1,
    # A run takes less than one minute; this ends one that was stopped.
    dagrun_timeout=timedelta(minutes=3),
    # No retry: the client tries again by itself, and the next minute's run goes on.
    default_args={"retries": 0, "pool": POOL, "priority_weight": PRIORITY},
) as dag:

    @task(task_id="poll", outlets=[topic_asset("weather")], multiple_outputs=False, show_return_value_in_logs=False)
    def poll_now() -> dict[str, Any]:
        """Ask for the weather of all cities, and send it."""
        if get_current_context()["dag_run"].run_type == "backfill":
            raise AirflowSkipException("the service tells the present weather only; a backfill of it sends nothing")
        from producers.openweathermap import cities, service  # noqa: PLC0415
        from producers.polling import poll  # noqa: PLC0415

        with task_manners():
            asked = service()
            mask_secret(asked.key)  # it is in nothing that is logged; should it ever be, this hides it
            polled = poll(asked, cities(), kafka_settings())
        log.info(polled.describe())
        return {"read": polled.read, "failed": polled.failed}

    poll_now()
