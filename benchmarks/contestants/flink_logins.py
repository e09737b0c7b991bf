"""Flink SQL doing what the stream of `dags/logins.py` does, in a mini cluster within one JVM.

Valid logins go to a table by the JDBC connector and to a topic by the Kafka connector, the others with a reason to
another topic. The topics are exactly once, by Kafka transactions that are committed at checkpoints. The table is
written at least once and by its key, so that rows which come again after a failure change nothing.

What favours it: one slot, objects reused, checkpoints no oftener than every 10 seconds, statements of many rows, large
batches to Kafka, a simpler rule for old versions (enough for 2.0.0), dead letters written anew from their fields.
"""

import json
import os
from typing import Final

from pyflink.table import EnvironmentSettings, TableEnvironment

SETTINGS: Final = {
    "parallelism.default": "1",
    "pipeline.object-reuse": "true",
    "pipeline.jars": os.environ["BENCH_JARS"],
    "table.local-time-zone": "UTC",
    "rest.bind-port": "0",
    "execution.checkpointing.interval": "10 s",
    # Partition and offset are a key, which the planner cannot know; it would keep all rows in its state to make sure.
    "table.exec.sink.require-on-conflict": "false",
    "table.exec.sink.upsert-materialize": "none",
}
KAFKA: Final = f"""
    'connector' = 'kafka',
    'properties.bootstrap.servers' = '{os.environ["KAFKA_BOOTSTRAP_SERVERS"]}',
    'key.format' = 'raw',
    'key.fields' = 'message_key',
    'value.format' = 'json',
    'value.json.timestamp-format.standard' = 'ISO-8601',
    'value.fields-include' = 'EXCEPT_KEY'
"""
EXACTLY_ONCE: Final = f"""
    {KAFKA},
    'sink.delivery-guarantee' = 'exactly-once',
    'properties.batch.size' = '262144',
    'properties.linger.ms' = '20',
    'properties.transaction.timeout.ms' = '600000'
"""
FIELDS: Final = "user_id string, app_version string, device_type string, ip string, locale string, device_id string"
ROW: Final = f"{FIELDS}, `timestamp` bigint, timestamp_in_utc {{time}}, processed_time {{time}}"
STATEMENTS: Final = (
    f"""
    create table login (
        message_key bytes, {FIELDS}, `timestamp` string,
        sent_at timestamp_ltz(3) metadata from 'timestamp' virtual,
        source_partition int metadata from 'partition' virtual,
        source_offset bigint metadata from 'offset' virtual
    ) with (
        {KAFKA},
        'topic' = '{os.environ["BENCH_TOPIC"]}',
        'scan.startup.mode' = 'earliest-offset',
        'scan.bounded.mode' = 'latest-offset'
    )
    """,
    r"""
    create view checked as select *, case
        when user_id is null or ip is null or locale is null or device_id is null or not is_version or not is_time
            then 'a field is missing or malformed'
        when device_type not in ('android', 'iOS') then 'unsupported device type'
        when cast(split_index(app_version, '.', 0) as int) < 2 then 'app version is too old'
    end as reason
    from (
        select *,
            coalesce(regexp(app_version, '^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$'), false) as is_version,
            coalesce(regexp(`timestamp`, '^[0-9]{1,12}$'), false) as is_time
        from login
    )
    """,
    """
    create view valid as
    select *, cast(`timestamp` as bigint) as seconds, to_timestamp_ltz(cast(`timestamp` as bigint), 0) as at_utc
    from checked where reason is null
    """,
    f"""
    create table stored (
        source_partition int, source_offset bigint, {ROW.format(time="timestamp(3)")},
        primary key (source_partition, source_offset) not enforced
    ) with (
        'connector' = 'jdbc',
        'url' = '{os.environ["BENCH_JDBC_URL"]}',
        'table-name' = '{os.environ["BENCH_OUTPUT"]}',
        'username' = '{os.environ["BENCH_JDBC_USER"]}',
        'password' = '{os.environ["BENCH_JDBC_PASSWORD"]}',
        'sink.buffer-flush.max-rows' = '5000'
    )
    """,
    f"""
    create table sent (
        message_key bytes, {ROW.format(time="timestamp_ltz(3)")}, sent_at timestamp_ltz(3) metadata from 'timestamp'
    ) with (
        {EXACTLY_ONCE},
        'topic' = '{os.environ["BENCH_OUTPUT"]}',
        'sink.transactional-id-prefix' = '{os.environ["BENCH_OUTPUT"]}'
    )
    """,
    f"""
    create table dead_letter (
        message_key bytes, {FIELDS}, `timestamp` string, reason string,
        sent_at timestamp_ltz(3) metadata from 'timestamp'
    ) with (
        {EXACTLY_ONCE},
        'topic' = '{os.environ["BENCH_OUTPUT"]}_dlq',
        'sink.transactional-id-prefix' = '{os.environ["BENCH_OUTPUT"]}_dlq'
    )
    """,
)
INSERTS: Final = (
    """
    insert into stored select source_partition, source_offset, user_id, app_version, device_type, ip, locale, device_id,
        seconds, cast(at_utc as timestamp(3)), cast(current_timestamp as timestamp(3))
    from valid
    """,
    """
    insert into sent select message_key, user_id, app_version, device_type, ip, locale, device_id,
        seconds, at_utc, current_timestamp, sent_at
    from valid
    """,
    """
    insert into dead_letter select message_key, user_id, app_version, device_type, ip, locale, device_id,
        `timestamp`, reason, sent_at
    from checked where reason is not null
    """,
)


def main() -> None:
    """Do it to its end."""
    flink = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in SETTINGS.items():
        flink.get_config().set(name, value)
    for statement in STATEMENTS:
        flink.execute_sql(statement)
    job = flink.create_statement_set()
    for insert in INSERTS:
        job.add_insert_sql(insert)
    job.execute().wait()
    print(json.dumps("done"))


if __name__ == "__main__":
    main()
