-- How pipelines fare. Each question reads no more rows of a pipeline than its newest ones.

-- name: standing
select
    p.name,
    now() as now,
    p.registered_at,
    f.complete_until,
    extract(epoch from f.behind_by)::float as delay_s,
    f.behind as lag,
    looks.looked_at,
    f.last_batch_at,
    f.last_failure_at,
    f.last_error,
    usual.period_s
from microbatch.pipeline as p
join microbatch.freshness as f
    on
        f.deployment = p.deployment
        and f.pipeline = p.name
cross join lateral (
    select min(g.looked_at) as looked_at
    from microbatch.partition_progress as g
    where
        g.pipeline_id = p.pipeline_id
        and g.retired_by is null
) as looks
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
where
    p.deployment = %(deployment)s
    and p.name = any(%(names)s);

-- name: activity
-- By the minute, of the last hour. No hour has more batches than are looked at.
select
    (extract(epoch from date_trunc('minute', now()) - date_trunc('minute', b.committed_at)) / 60)::int as minutes_ago,
    sum(b.messages)::bigint as messages,
    sum(b.rejected)::bigint as rejected
from (
    select
        batch.kind,
        batch.committed_at,
        batch.messages,
        batch.rejected
    from microbatch.batch
    where batch.pipeline_id = %(pipeline_id)s
    order by batch.batch_id desc
    limit 5000
) as b
where
    b.committed_at > now() - interval '1 hour'
    and b.kind <> 'archive'
group by minutes_ago;

-- name: partitions
select
    partition,
    covered_until,
    looked_at_end,
    behind
from microbatch.lag
where
    deployment = %(deployment)s
    and pipeline = %(pipeline)s
order by partition;

-- name: gaps
select
    partition,
    start_offset,
    end_offset
from microbatch.gap
where
    deployment = %(deployment)s
    and pipeline = %(pipeline)s
order by
    partition,
    start_offset
limit 100;

-- name: last_failures
select
    failed_at,
    error,
    shard as map_index,
    dag_id,
    run_id
from microbatch.failure
where pipeline_id = %(pipeline_id)s
order by failure_id desc
limit 5;
