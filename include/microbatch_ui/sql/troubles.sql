-- Late messages and rejects: what was not as it should be, the newest of it.

-- name: late_windows
select
    l.window_start,
    sum(l.messages)::bigint as messages,
    extract(epoch from max(l.lateness))::float as lateness_s
from microbatch.late as l
where l.output = %(output)s
group by l.window_start
order by l.window_start desc
limit 100;

-- name: late_days
-- Of the 30 days up to the newest one.
select
    (l.window_start at time zone 'UTC')::date as day,
    count(distinct l.window_start) as windows,
    sum(l.messages)::bigint as messages,
    extract(epoch from max(l.lateness))::float as lateness_s
from microbatch.late as l
where
    l.output = %(output)s
    and l.window_start > (
        select max(n.window_start) - interval '30 days'
        from microbatch.late as n
        where n.output = %(output)s
    )
group by day
order by day desc;

-- name: reasons
-- Of the newest rejects, batch by batch; what a redo has accepted since is none.
select
    r.reason,
    count(*) as count,
    max(r.at) as last_at
from (
    select
        found.reason,
        b.committed_at as at
    from microbatch.batch as b
    cross join lateral (
        select reject.reason
        from microbatch.reject
        where
            reject.batch_id = b.batch_id
            and not reject.resolved
        limit %(limit)s
    ) as found
    where
        b.pipeline_id = %(pipeline_id)s
        and b.rejected > 0
    order by b.batch_id desc
    limit %(limit)s
) as r
group by r.reason
order by
    count desc,
    r.reason
limit 50;

-- name: samples
select
    found.partition,
    found."offset",
    found.reason,
    b.batch_id,
    b.committed_at as at
from microbatch.batch as b
cross join lateral (
    select
        reject.partition,
        reject."offset",
        reject.reason
    from microbatch.reject
    where
        reject.batch_id = b.batch_id
        and not reject.resolved
    order by
        reject.partition,
        reject."offset"
    limit %(limit)s
) as found
where
    b.pipeline_id = %(pipeline_id)s
    and b.rejected > 0
order by
    b.batch_id desc,
    found.partition,
    found."offset"
limit %(limit)s;
