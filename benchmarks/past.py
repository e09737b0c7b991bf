"""A past for a pipeline: years of minutes in its ledger and its tables, written by SQL.

A batch a minute over all partitions, with its run and its merge; every key in every minute, and each thirtieth minute
corrected by the next batch (never the last one, which has no next).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Keep, Pipeline, PostgresTable, Sum, TumblingWindow

# Written row by row, or checked row by row, their indexes take most of the time of filling.
_TABLES: Final = ("microbatch.offset_range", "sales_contribution", "sales_history", "sales")
_READY: Final = "update pg_index set indisready = %s where indrelid = any(%s::regclass[])"

# Minute n of the past is batch n; its ranges are as many offsets of each partition.
_FILL: Final = (
    """
    insert into microbatch.batch (
        pipeline_id, shard, kind, dag_id, run_id, batch_time, definition_hash, messages, committed_at
    )
    select %(pipeline_id)s, 0, 'catch up', 'sales', 'scheduled__' || to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS+00:00'),
        at + interval '61 seconds', %(definition_hash)s, %(partitions)s::int * %(offsets)s::int,
        at + interval '62 seconds'
    from generate_series(0, %(minutes)s::int - 1) as n, lateral (select %(first)s + make_interval(mins => n) as at) as m
    """,
    """
    insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets, messages)
    select n, %(pipeline_id)s, %(topic)s, %(topic_id)s, p,
        int8range((n - 1) * %(offsets)s::int, n * %(offsets)s::int), %(offsets)s
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, %(partitions)s::int - 1) as p
    """,
    """
    update microbatch.partition_progress
    set covered_until = %(minutes)s::bigint * %(offsets)s::int,
        caught_up_to = %(first)s + make_interval(mins => %(minutes)s)
    where pipeline_id = %(pipeline_id)s
    """,
    """
    update microbatch.pipeline set closed_until = %(first)s + make_interval(mins => %(minutes)s)
    where pipeline_id = %(pipeline_id)s
    """,
    """
    insert into microbatch.run (pipeline_id, dag_id, run_id, shard, clear_number, behind, completed_at)
    select pipeline_id, dag_id, run_id, 0, 0, 0, committed_at from microbatch.batch
    """,
    """
    insert into microbatch.merge (pipeline_id, dag_id, run_id, closed_until, complete_from, merged_at)
    select pipeline_id, dag_id, run_id, batch_time, '-infinity', committed_at from microbatch.batch order by batch_id
    """,
    """
    insert into sales_contribution (batch_id, window_start, window_end, seller_id, amount_usd, amount_usd__count, sales)
    select n + late, at, at + interval '1 minute', 'seller ' || k, n %% 1000, 10, 10
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, (n %% 30 = 15)::int) as late,
        generate_series(1, %(keys)s::int) as k,
        lateral (select %(first)s + make_interval(mins => n - 1) as at) as m
    order by n + late, at, k
    """,
    """
    insert into sales_history (
        window_start, window_end, seller_id, amount_usd, sales, is_final, revision, retracted, batches, merge_id,
        valid_from, valid_to
    )
    select at, at + interval '1 minute', 'seller ' || k, (late + 1) * (n %% 1000), (late + 1) * 10, true, late + 1,
        false, case late when 0 then array[n] else array[n, n + 1] end, n + late, at + make_interval(mins => 1 + late),
        case when late = 0 and n %% 30 = 15 then at + interval '2 minutes' end
    from generate_series(1, %(minutes)s::int) as n, generate_series(0, (n %% 30 = 15)::int) as late,
        generate_series(1, %(keys)s::int) as k,
        lateral (select %(first)s + make_interval(mins => n - 1) as at) as m
    order by n + late, at, k
    """,
    """
    insert into sales (window_start, window_end, seller_id, amount_usd, sales, is_final, revision, updated_at)
    select window_start, window_end, seller_id, amount_usd, sales, is_final, revision, valid_from
    from sales_history where valid_to is null order by 1, 3
    """,
)


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    at: EpochSeconds


class Past(msgspec.Struct, frozen=True):
    """How much of it there is, and whose it is.

    Attributes:
        pipeline_id: of the pipeline `sales`, the only one of the ledger, which has no batch yet.
        topic: its source.
        topic_id: of its source.
        definition_hash: of the pipeline.
        first: the start of the first minute.
        minutes: how many, one after the other.
        keys: in each of them.
        partitions: of the source.
        offsets: that a batch has of each.
    """

    pipeline_id: int
    topic: str
    topic_id: UUID
    definition_hash: str
    first: datetime
    minutes: int
    keys: int
    partitions: int
    offsets: int


def sales_pipeline(
    source: str = "sales", partitions: int = 4, *, results: str | None = None, keep: Keep | None = None
) -> Pipeline:
    """The pipeline of which it is the past: sums per seller and minute, in a table and, if one is named, on a topic."""
    table: list[PostgresTable | KafkaTopic] = [PostgresTable("sales")]
    return Pipeline(
        name="sales",
        source=KafkaTopic(source, Sale, event_time="at", partitions=partitions),
        outputs=[
            TumblingWindow(
                "1 minute",
                by=["seller_id"],
                measures={"amount_usd": Sum("amount_usd"), "sales": Count()},
                to=[*table, KafkaTopic(results)] if results else table,
            )
        ],
        keep=keep or Keep(),
    )


def fill(superuser: psycopg.Connection, past: Past, say: Callable[[str], None]) -> None:
    """Write it; without statistics for the planner, which come with the next ANALYZE.

    Args:
        superuser: in autocommit mode, in the database of the ledger.
        past: what to write.
        say: is told what is being done.
    """
    superuser.execute("set synchronous_commit = off; set session_replication_role = replica")
    superuser.execute("set maintenance_work_mem = '512MB'; set timezone = 'UTC'")
    superuser.execute(_READY, [False, list(_TABLES)])
    for number, statement in enumerate(_FILL, 1):
        say(f"filling: statement {number} of {len(_FILL)}")
        superuser.execute(statement.encode(), msgspec.structs.asdict(past))
    superuser.execute(_READY, [True, list(_TABLES)])
    for table in _TABLES:
        say(f"filling: indexes of {table}")
        # Makes them anew without looking for overlaps, which ADD CONSTRAINT and REINDEX do row by row.
        superuser.execute(f"vacuum full {table}".encode())
