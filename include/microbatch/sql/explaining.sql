-- Named queries of explain: they only read. What stands in braces is composed in explaining.py.

-- name: registered_outputs
select
    pipeline_id,
    name,
    source_topic,
    definition,
    definition_hash
from microbatch.pipeline
where deployment = %(deployment)s
order by name;

-- name: revisions
-- The first condition lets the index find the window.
select
    t.*,
    m.dag_id as "microbatch.dag_id",
    m.run_id as "microbatch.run_id"
from {history} as t
left join microbatch.merge as m using (merge_id)
where
    t.window_start > %(moment)s::timestamptz - make_interval(secs => %(longest_s)s)
    and t.window_start <= %(moment)s
    and t.window_end > %(moment)s
    and ({key}) = ({values})
order by t.revision;

-- name: contributions_of_key
select t.*
from {contribution} as t
where
    t.window_start > %(moment)s::timestamptz - make_interval(secs => %(longest_s)s)
    and t.window_start <= %(moment)s
    and t.window_end > %(moment)s
    and ({key}) = ({values})
order by t.batch_id;

-- name: near_windows
-- Windows of the key, the nearest first.
select t.window_start
from {contribution} as t
where ({key}) = ({values})
group by t.window_start
order by abs(extract(epoch from t.window_start - %(moment)s))
limit 5;

-- name: near_keys
-- Keys of the window: some before the wanted one, and some after it.
(
    select distinct {key}
    from {contribution} as t
    where
        t.window_start > %(moment)s::timestamptz - make_interval(secs => %(longest_s)s)
    and t.window_start <= %(moment)s
        and t.window_end > %(moment)s
        and ({key}) < ({values})
    order by {descending}
    limit 3
)
union all
(
    select distinct {key}
    from {contribution} as t
    where
        t.window_start > %(moment)s::timestamptz - make_interval(secs => %(longest_s)s)
    and t.window_start <= %(moment)s
        and t.window_end > %(moment)s
        and ({key}) > ({values})
    order by {key}
    limit 3
);

-- name: batches
-- Each of them, or the archive that it has become a part of.
select distinct
    h.batch_id,
    h.kind,
    h.dag_id,
    h.run_id,
    h.batch_time,
    h.committed_at,
    h.redone_at,
    h.redo_dag_id,
    h.redo_run_id,
    coalesce(h.ranges, '') as ranges,
    upper(h.batch_ids) - 1 as last_id,
    b.generation < p.generation as is_former
from unnest(%(batches)s::bigint[]) as named (batch_id)
left join microbatch.batch as a
    on
        a.pipeline_id = %(pipeline_id)s
        and a.kind = 'archive'
        and a.batch_ids @> named.batch_id
join microbatch.batch_history as h on h.batch_id = coalesce(a.batch_id, named.batch_id)
join microbatch.batch as b on b.batch_id = h.batch_id
join microbatch.pipeline as p on p.pipeline_id = b.pipeline_id
order by h.batch_id;

-- name: lost_offsets
select coalesce(sum(upper(r.offsets) - lower(r.offsets)), 0)::bigint as lost_offsets
from microbatch.batch as b
join microbatch.offset_range as r using (batch_id)
where
    b.pipeline_id = %(pipeline_id)s
    and b.kind = 'loss';

-- name: ranges_to_read
select
    topic_id,
    partition,
    lower(offsets) as start_offset,
    upper(offsets) as end_offset
from microbatch.offset_range
where batch_id = %(batch_id)s
order by
    partition,
    start_offset;
