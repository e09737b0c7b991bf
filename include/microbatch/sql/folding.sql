-- Named queries of folding: old batches become archives. What stands in braces is composed in folding.py.

-- name: lock_folding
-- Slot -1: one folds a pipeline at a time, so that nobody plans with batches that another one is folding.
select pg_advisory_xact_lock(%(pipeline_id)s, -1);

-- name: foldable
-- Groups of batches that may become one archive, each by its first and last number: neighbours among all batches of
-- their pipeline, of one day of UTC, one definition and one log, of which merge and publish need nothing any more.
-- A group that is one archive already is left out.
with known as (
    select
        b.batch_id,
        b.kind,
        b.definition_hash,
        b.generation,
        (b.batch_time at time zone 'UTC')::date as day,
        read.logs,
        b.batch_time < %(before)s
        and b.kind in ('catch up', 'interval', 'archive')
        and cardinality(read.logs) = 1
        and not exists (
            select
            from microbatch.touched as t
            where t.batch_id = b.batch_id
        )
        and not exists (
            select
            from microbatch.outbox_segment as s
            where s.batch_id = b.batch_id
        )
        and (%(free)s::bigint[] is null or b.batch_id = any(%(free)s)) as is_foldable
    from microbatch.batch as b
    cross join lateral (
        select array_agg(distinct r.topic_id) as logs
        from microbatch.offset_range as r
        where r.batch_id = b.batch_id
    ) as read
    where
        b.pipeline_id = %(pipeline_id)s
        and b.batch_id >= %(first)s
        and b.batch_id <= coalesce(
            %(last)s,
            (
                select max(o.batch_id)
                from microbatch.batch as o
                where
                    o.pipeline_id = %(pipeline_id)s
                    and o.batch_time < %(before)s
            )
        )
),

compared as (
    select
        k.batch_id,
        k.kind,
        k.is_foldable,
        (k.is_foldable, k.day, k.definition_hash, k.generation, k.logs) is distinct from (
            lag(k.is_foldable) over before_it,
            lag(k.day) over before_it,
            lag(k.definition_hash) over before_it,
            lag(k.generation) over before_it,
            lag(k.logs) over before_it
        ) as is_other
    from known as k
    window before_it as (order by k.batch_id)
),

grouped as (
    select
        batch_id,
        kind,
        is_foldable,
        count(*) filter (where is_other) over (order by batch_id) as place
    from compared
)

select
    min(batch_id) as first,
    max(batch_id) as last
from grouped
where is_foldable
group by place
having
    count(*) > 1
    or bool_or(kind <> 'archive')
order by first;

-- name: lock_batches
-- Those of which nobody holds the row: a redo does, and a redrive of their rejects.
select batch_id
from microbatch.batch
where
    pipeline_id = %(pipeline_id)s
    and batch_id between %(first)s and %(last)s
for update skip locked;

-- name: fold_contributions
-- The old ones are all gone before the first new one comes, for it is grouped.
with folded as (
    delete from {contribution}
    where batch_id = any(%(batches)s)
    returning
        {key},
        window_end,
        {partials}
)

insert into {contribution} (batch_id, {key}, window_end, {partials})
select
    %(archive)s,
    {key},
    max(window_end),
    {merged}
from folded
group by {key};

-- name: fold_late
with folded as (
    delete from microbatch.late
    where batch_id = any(%(batches)s)
    returning
        output,
        window_start,
        messages,
        lateness
)

insert into microbatch.late (batch_id, output, window_start, messages, lateness)
select
    %(archive)s,
    output,
    window_start,
    sum(messages),
    max(lateness)
from folded
group by
    output,
    window_start;

-- name: fold_rejects
update microbatch.reject
set batch_id = %(archive)s
where
    batch_id = any(%(batches)s)
    and batch_id <> %(archive)s;

-- name: fold_ranges
-- Neighbours become one range; what was not read between them stays uncovered.
with folded as (
    delete from microbatch.offset_range
    where batch_id = any(%(batches)s)
    returning
        topic,
        topic_id,
        partition,
        offsets,
        messages,
        rejected,
        repeated,
        filtered
),

joined as (
    select
        topic,
        topic_id,
        partition,
        unnest(range_agg(offsets)) as offsets
    from folded
    group by
        topic,
        topic_id,
        partition
)

insert into microbatch.offset_range (
    batch_id, pipeline_id, topic, topic_id, partition, offsets, messages, rejected, repeated, filtered
)
select
    %(archive)s,
    %(pipeline_id)s,
    j.topic,
    j.topic_id,
    j.partition,
    j.offsets,
    sum(f.messages),
    sum(f.rejected),
    sum(f.repeated),
    sum(f.filtered)
from joined as j
join folded as f
    on
        f.topic_id = j.topic_id
        and f.partition = j.partition
        and f.offsets <@ j.offsets
group by
    j.topic,
    j.topic_id,
    j.partition,
    j.offsets;

-- name: whole
-- What one archive says of all of them.
select
    max(coalesce(upper(b.batch_ids), b.batch_id + 1)) as end_id,
    min(b.batch_time) as batch_time,
    max(b.committed_at) as committed_at,
    sum(b.messages)::bigint as messages,
    sum(b.rejected)::bigint as rejected,
    sum(b.repeated)::bigint as repeated,
    sum(b.filtered)::bigint as filtered,
    array(
        select distinct unnest(coalesce(a.runs, array[a.dag_id || ' ' || a.run_id]))
        from microbatch.batch as a
        where a.batch_id = any(%(batches)s)
        order by 1
    ) as runs
from microbatch.batch as b
where b.batch_id = any(%(batches)s);

-- name: delete_folded
delete from microbatch.batch
where
    batch_id = any(%(batches)s)
    and batch_id <> %(archive)s;

-- name: make_archive
-- The first of them stands for all, as its number did for itself.
update microbatch.batch
set
    kind = 'archive',
    batch_ids = int8range(batch_id, %(end_id)s),
    runs = %(runs)s,
    batch_time = %(batch_time)s,
    committed_at = %(committed_at)s,
    messages = %(messages)s,
    rejected = %(rejected)s,
    repeated = %(repeated)s,
    filtered = %(filtered)s,
    dag_id = null,
    run_id = null,
    interval_start = null,
    interval_end = null,
    attempt = 1,
    redone_at = null,
    redo_dag_id = null,
    redo_run_id = null,
    redo_clear_number = null
where batch_id = %(archive)s;
