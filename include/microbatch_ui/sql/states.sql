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
    waiting.unsent_since,
    f.last_batch_at,
    failed.error,
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
