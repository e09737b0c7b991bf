-- What Prometheus asks at each scrape: of some pipelines, and of the ledger's newest rows only.

-- name: totals
-- Neither counter ever goes back: folding and pruning leave these rows alone.
select
    p.name as pipeline,
    (
        select sum(g.covered_until - g.first_offset)::bigint
        from microbatch.partition_progress as g
        where g.pipeline_id = p.pipeline_id
    ) as covered_offsets,
    u.cursor as publications,
    (
        select count(*)
        from microbatch.outbox_segment as s
        where s.pipeline_id = p.pipeline_id
    ) as outbox_segments
from microbatch.pipeline as p
join microbatch.publisher as u using (pipeline_id)
where p.pipeline_id = any(%(pipelines)s)
order by p.name;

-- name: lag
select
    p.name as pipeline,
    p.source_topic as topic,
    g.partition,
    greatest(0, g.looked_at_end - g.covered_until) as behind
from microbatch.partition_progress as g
join microbatch.pipeline as p using (pipeline_id)
where
    g.pipeline_id = any(%(pipelines)s)
    and g.retired_by is null
    and g.looked_at_end is not null
order by
    p.name,
    g.partition;

-- name: gaps
select
    p.name as pipeline,
    coalesce(sum(g.end_offset - g.start_offset), 0)::bigint as offsets
from microbatch.pipeline as p
left join microbatch.gap as g
    on
        g.deployment = p.deployment
        and g.pipeline = p.name
where p.pipeline_id = any(%(pipelines)s)
group by p.name
order by p.name;

-- name: last_batch
select
    p.name as pipeline,
    extract(epoch from b.committed_at - b.batch_time)::float as seconds
from microbatch.pipeline as p
cross join lateral (
    select
        newest.batch_time,
        newest.committed_at
    from microbatch.batch as newest
    where newest.pipeline_id = p.pipeline_id
    order by newest.batch_id desc
    limit 1
) as b
where
    p.pipeline_id = any(%(pipelines)s)
    and b.committed_at is not null
order by p.name;

-- name: last_hour
-- Of a pipeline's newest batches, those of the last hour: more than these nobody makes in an hour.
select
    p.pipeline_id,
    p.name as pipeline,
    coalesce(sum(b.messages), 0)::bigint as messages,
    coalesce(sum(b.rejected), 0)::bigint as rejected,
    coalesce(sum(l.messages), 0)::bigint as late,
    coalesce(array_agg(b.batch_id order by b.batch_id desc) filter (where b.rejected > 0), '{}') as rejecting
from microbatch.pipeline as p
left join lateral (
    select newest.*
    from (
        select
            n.batch_id,
            n.messages,
            n.rejected,
            n.committed_at
        from microbatch.batch as n
        where n.pipeline_id = p.pipeline_id
        order by n.batch_id desc
        limit 2000
    ) as newest
    where newest.committed_at > now() - interval '1 hour'
) as b on true
left join lateral (
    select sum(late.messages) as messages
    from microbatch.late
    where late.batch_id = b.batch_id
) as l on true
where p.pipeline_id = any(%(pipelines)s)
group by p.pipeline_id
order by p.name;

-- name: reasons
-- The newest rejects of some batches, by reason: so many at the most, for a broken producer may have millions.
select
    r.reason,
    count(*) as messages
from (
    select found.reason
    from unnest(%(batches)s::bigint[]) with ordinality as b (batch_id, place)
    cross join lateral (
        select reject.reason
        from microbatch.reject
        where
            reject.batch_id = b.batch_id
            and not reject.resolved
        limit %(rejects)s
    ) as found
    order by b.place
    limit %(rejects)s
) as r
group by r.reason
order by
    messages desc,
    r.reason;
