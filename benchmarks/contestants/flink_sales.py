"""Flink SQL over the topic's present messages: a tumbling window, in a mini cluster within one JVM.

What favours it: one slot, objects reused, no checkpoints, no result to store. All work is the JVM's; Python only starts
it. Its watermark waits for an hour: of a topic with a backlog, Flink reads partition after partition, and would drop
most of it as late.
"""

import json
import os

from pyflink.table import EnvironmentSettings, TableEnvironment

SETTINGS = {
    "parallelism.default": "1",
    "pipeline.object-reuse": "true",
    "pipeline.jars": os.environ["BENCH_JARS"],
    "table.local-time-zone": "UTC",
    "rest.bind-port": "0",
}
SOURCE = f"""
    create table sale (
        seller_id string, amount_usd bigint, sale_ts bigint,
        sold_at as to_timestamp_ltz(sale_ts, 0),
        watermark for sold_at as sold_at - interval '1' hour
    ) with (
        'connector' = 'kafka',
        'topic' = '{os.environ["BENCH_TOPIC"]}',
        'properties.bootstrap.servers' = '{os.environ["KAFKA_BOOTSTRAP_SERVERS"]}',
        'scan.startup.mode' = 'earliest-offset',
        'scan.bounded.mode' = 'latest-offset',
        'format' = 'json'
    )
"""
SUMS = """
    select seller_id, unix_timestamp(cast(window_start as string)) as started_s, sum(amount_usd), count(*)
    from table(tumble(table sale, descriptor(sold_at), interval '1' minute))
    group by seller_id, window_start, window_end
"""


def main() -> None:
    """Sum the sales of each seller and minute."""
    flink = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in SETTINGS.items():
        flink.get_config().set(name, value)
    flink.execute_sql(SOURCE)
    with flink.execute_sql(SUMS).collect() as rows:
        print(json.dumps({f"{seller} {started_s}": [amount, sales] for seller, started_s, amount, sales in rows}))


if __name__ == "__main__":
    main()
