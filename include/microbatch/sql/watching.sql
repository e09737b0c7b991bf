-- Named queries for people who watch: they only read. What stands in braces is composed in watching.py.

-- name: ledger_exists
select to_regclass('microbatch.pipeline') is not null as is_there;

-- name: registered
select
    name,
    source_topic,
    definition -> 'outputs' as outputs
from microbatch.pipeline
where deployment = %(deployment)s
order by name;

-- name: lag
select
    pipeline,
    topic,
    partition,
    covered_until,
    looked_at_end,
    looked_at
from microbatch.lag
where
    deployment = %(deployment)s
    and pipeline = any(%(pipelines)s)
order by
    pipeline,
    partition;

-- name: gaps
select
    pipeline,
    topic,
    partition,
    start_offset,
    end_offset
from microbatch.gap
where
    deployment = %(deployment)s
    and pipeline = any(%(pipelines)s)
order by
    pipeline,
    partition,
    start_offset;

-- name: freshness
select
    pipeline,
    -- Clients cannot say infinite times.
    nullif(complete_from, '-infinity') as complete_from,
    complete_until,
    extract(epoch from behind_by)::float as behind_by_s,
    behind,
    looked_at,
    last_batch_at,
    last_failure_at,
    last_error,
    failures
from microbatch.freshness
where
    deployment = %(deployment)s
    and pipeline = any(%(pipelines)s)
order by pipeline;

-- name: last_batches
select
    batch_id,
    committed_at,
    messages,
    rejected,
    repeated,
    filtered,
    ranges
from microbatch.batch_history
where
    deployment = %(deployment)s
    and pipeline = %(pipeline)s
order by batch_id desc
limit %(limit)s;

-- name: table_readable
select to_regclass(%(table)s) is not null as is_there;

-- name: newest_results
select t.*
from {table} as t
order by {order}
limit %(limit)s;

-- name: newest_rows
-- By way of the primary key, partition by partition: the table may be large.
select t.*
from microbatch.lag as g
cross join lateral (
    select o.*
    from {table} as o
    where {partition} = g.partition
    order by {offset} desc
    limit %(limit)s
) as t
where
    g.deployment = %(deployment)s
    and g.pipeline = %(pipeline)s
order by
    t.batch_id desc,
    {newest} desc
limit %(limit)s;
