-- How pipelines fare. Each question reads no more rows of a pipeline than its newest ones.

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
