-- Queries for people to start from. What stands in braces is composed in examples.py: quoted names and literals.

-- name: freshness
select
    complete_from,
    complete_until,
    behind_by,
    behind,
    last_batch_at,
    last_failure_at,
    last_error
from microbatch.freshness
where
    deployment = {deployment}
    and pipeline = {pipeline};

-- name: newest_results
select
    window_start,
    {by_and_measures},
    is_final,
    revision
from {table}
order by window_start desc
limit 100;

-- name: sums_of_windows
select
    window_start,
    count(*) as keys{sums}
from {table}
where window_start >= (
    select max(window_start) - interval '{span}'
    from {table}
)
group by window_start
order by window_start;

-- name: as_published
select
    window_start,
    {by_and_measures},
    revision
from {as_of}(now() - interval '1 hour')
where window_start >= now() - interval '{span}'
order by window_start desc
limit 100;

-- name: corrections
-- Old and new values of results that were final.
select
    new.window_start,
    {new_by}{was_and_now},
    new.valid_from as corrected_at
from {history} as new
join {history} as old using (window_start{comma_by})
where
    new.revision > 1
    and old.revision = new.revision - 1
    and old.is_final
    and new.valid_from >= now() - interval '1 day'
order by new.valid_from desc
limit 100;

-- name: late_data
select
    window_start,
    late_messages,
    latest,
    corrections
from {late}
order by window_start desc
limit 100;

-- name: newest_rows
-- The last ten of each partition of the source.
select r.*
from microbatch.lag as l
cross join lateral (
    select *
    from {table}
    where source_partition = l.partition
    order by source_offset desc
    limit 10
) as r
where
    l.deployment = {deployment}
    and l.pipeline = {pipeline};

-- name: newest_pairs
-- The last ten of each partition of the source.
select p.*
from microbatch.lag as l
cross join lateral (
    select *
    from {table}
    where second_partition = l.partition
    order by second_offset desc
    limit 10
) as p
where
    l.deployment = {deployment}
    and l.pipeline = {pipeline};

-- name: waiting
select
    value,
    count(*) as events,
    min(kafka_timestamp) as oldest
from {waiting}
group by value
order by value;

-- name: rejects
select
    r.reason,
    count(*) as messages,
    max(b.committed_at) as last_at
from microbatch.reject as r
join microbatch.batch as b using (batch_id)
join microbatch.pipeline as p on p.pipeline_id = r.pipeline_id
where
    p.deployment = {deployment}
    and p.name = {pipeline}
    and not r.resolved
group by r.reason
order by messages desc;

-- name: batches
select
    batch_id,
    kind,
    run_id,
    ranges,
    messages,
    rejected,
    committed_at,
    seconds
from microbatch.batch_history
where
    deployment = {deployment}
    and pipeline = {pipeline}
order by batch_id desc
limit 50;
