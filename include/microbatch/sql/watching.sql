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

-- name: standing
-- How pipelines fare: what their states are judged by (states.py), and no more rows of a pipeline than its newest ones.
select
    p.name,
    coalesce(latest.dag_id, p.name) as dag_id,
    now() as now,
    p.registered_at,
    f.complete_until,
    extract(epoch from f.behind_by)::float as delay_s,
    f.behind as lag,
    looks.looked_at,
    waiting.unsent_since,
    f.last_batch_at,
    failed.error,
    usual.period_s
from microbatch.pipeline as p
join microbatch.freshness as f
    on
        f.deployment = p.deployment
        and f.pipeline = p.name
left join lateral (
    select b.dag_id
    from microbatch.batch as b
    where
        b.pipeline_id = p.pipeline_id
        and b.dag_id is not null
    order by b.batch_id desc
    limit 1
) as latest on true
cross join lateral (
    select min(g.looked_at) as looked_at
    from microbatch.partition_progress as g
    where
        g.pipeline_id = p.pipeline_id
        and g.retired_by is null
) as looks
left join lateral (
    -- A look is written with the batch: one that is younger than a failure says that a later attempt has succeeded.
    select x.error
    from microbatch.failure as x
    where
        x.pipeline_id = p.pipeline_id
        and x.failed_at > coalesce(looks.looked_at, '-infinity')
        and not exists (
            select
            from microbatch.run as r
            where
                r.pipeline_id = x.pipeline_id
                and r.dag_id = x.dag_id
                and r.run_id = x.run_id
                and r.shard = x.shard
                and r.completed_at > x.failed_at
        )
    order by x.failed_at desc
    limit 1
) as failed on true
cross join lateral (
    -- Of scheduled runs: others have no interval, or are of another kind.
    select percentile_cont(0.5) within group (order by extract(epoch from b.interval_end - b.interval_start)) as period_s
    from (
        select
            batch.kind,
            batch.interval_start,
            batch.interval_end
        from microbatch.batch
        where batch.pipeline_id = p.pipeline_id
        order by batch.batch_id desc
        limit 20
    ) as b
    where
        b.kind = 'catch up'
        and b.interval_end > b.interval_start
) as usual
left join lateral (
    -- The oldest message that has its place in the order of sending, and is not marked as sent.
    select coalesce(m.merged_at, b.committed_at, d.decided_at) as unsent_since
    from microbatch.publisher as u
    join microbatch.outbox_segment as s
        on
            s.pipeline_id = u.pipeline_id
            and s.number > u.cursor
    left join microbatch.merge as m on m.merge_id = s.merge_id
    left join microbatch.batch as b on b.batch_id = s.batch_id
    left join microbatch.decision as d on d.decision_id = s.decision_id
    where u.pipeline_id = p.pipeline_id
    order by s.number
    limit 1
) as waiting on true
where
    p.deployment = %(deployment)s
    and p.name = any(%(names)s)
order by p.name;

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
