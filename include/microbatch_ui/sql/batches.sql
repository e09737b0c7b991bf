-- Batches of a pipeline, a page at a time.

-- name: page
select
    b.batch_id,
    b.kind,
    b.shard,
    b.dag_id,
    b.run_id,
    -- Airflow's place of the task instance that has read it: a task for each shard.
    case when b.run_id is not null then b.shard end as map_index,
    b.batch_time,
    b.committed_at,
    b.redone_at,
    b.redo_dag_id,
    b.redo_run_id,
    b.messages,
    b.rejected,
    b.repeated,
    b.filtered,
    coalesce(r.ranges, '[]') as ranges
from microbatch.batch as b
cross join lateral (
    select
        jsonb_agg(
            jsonb_build_object('partition', o.partition, 'start', lower(o.offsets), 'end', upper(o.offsets))
            order by
                o.partition,
                lower(o.offsets)
        ) as ranges
    from microbatch.offset_range as o
    where o.batch_id = b.batch_id
) as r
where
    b.pipeline_id = %(pipeline_id)s
    and b.batch_id < coalesce(%(before)s::bigint, 9223372036854775807)
order by b.batch_id desc
limit %(limit)s;
