"""Number pairs: numbers of `raw-topic`, two by two, so that each pair sums to 12.

Each number from 0 to 12 is used at most once, the oldest first, also across batches and restarts. A pair goes to the
table `number_pairs` and to `enriched-topic` with the partition and the offset of both its numbers; what has no partner
yet waits in `number_pairs_waiting`. Anything else goes whole to `raw-events-dlq`, with its reason.

Settings of the deployment: `NUMBER_PAIRS_SUM`, `NUMBER_PAIRS_RAW_TOPIC`, `NUMBER_PAIRS_ENRICHED_TOPIC`,
`NUMBER_PAIRS_DLQ`, and `NUMBER_PAIRS_GROUP_ID`, which names the pipeline and thereby its consumer group
(`microbatch.<deployment>.<name>`). Another sum is another pipeline, with sinks and state of its own. Kafka's bootstrap
servers are those of the connection `kafka_default`.
"""

from typing import Annotated

from msgspec import Meta

from microbatch import Event, KafkaTopic, Pairs, Pipeline, PostgresTable, setting
from microbatch.airflow import as_dag, every_minute

SUM = setting("NUMBER_PAIRS_SUM", 12)
OWN = "" if SUM == 12 else f"_{SUM}"


class Number(Event):
    """A number, as it arrives on `raw-topic`."""

    number: Annotated[int, Meta(ge=0, le=12)]


number_pairs = Pipeline(
    name=setting("NUMBER_PAIRS_GROUP_ID", f"number_pairs{OWN}"),
    description=f"Numbers of 0 to 12 in pairs that sum to {SUM}, each number in one pair.",
    source=KafkaTopic(setting("NUMBER_PAIRS_RAW_TOPIC", "raw-topic"), Number),
    outputs=[
        Pairs(
            "number",
            sum=SUM,
            to=[
                PostgresTable(f"number_pairs{OWN}"),
                KafkaTopic(setting("NUMBER_PAIRS_ENRICHED_TOPIC", f"enriched-topic{OWN}")),
            ],
        ),
    ],
    dead_letters=KafkaTopic(setting("NUMBER_PAIRS_DLQ", "raw-events-dlq")),
)

dag = as_dag(number_pairs, schedule=every_minute)
