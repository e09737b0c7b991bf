-- Templates of the views over the tables of a window. What stands in braces is composed in window_views.py:
-- views, tables, {output} (the result table as the ledger names it), {key} (window_start and the columns of `by`).

-- name: columns_of_result
select a.attname as name
from pg_attribute as a
where
    a.attrelid = to_regclass({result_name})
    and a.attnum > 0
    and not a.attisdropped
order by a.attnum;

-- name: create_indexes
-- For questions alone (decision 11): a range of time over all keys, and the few revisions that are corrections.
create index on {result} using brin (window_start) with (autosummarize = on);
create index on {history} using brin (window_start) with (autosummarize = on);
create index on {history} (window_start) where revision > 1;

-- name: has_as_of
select to_regprocedure({as_of_name}) is not null as is_there;

-- name: create_as_of
-- A query's own conditions reach the history's index, for PostgreSQL puts the function's text into the query.
create or replace function {as_of}(moment timestamptz) returns setof {result}
language sql stable parallel safe
begin atomic
    select {columns}
    from {history} as h
    where
        h.valid_from <= $1
        and (h.valid_to > $1 or h.valid_to is null)
        and not h.retracted
        and microbatch.history_reaches({output}, $1);
end;
comment on function {as_of} is 'Results as they were published at a time.';

-- name: create_batch_view
-- An archive has the lowest number of the batches that it stands for.
create view {batch} as
select
    {h_key},
    h.revision,
    b.batch_id,
    r.topic as source_topic,
    r.partition as source_partition,
    r.offsets as source_offsets
from {history} as h
cross join lateral (
    select distinct there.batch_id
    from unnest(h.batches) as summed (batch_id)
    cross join lateral (
        select
            b.batch_id,
            b.batch_ids
        from microbatch.batch as b
        where
            b.pipeline_id = (
                select s.pipeline_id
                from microbatch.sink as s
                where
                    s.kind = 'table'
                    and s.name = {output}
            )
            and b.batch_id <= summed.batch_id
        order by b.batch_id desc
        limit 1
    ) as there
    where
        there.batch_id = summed.batch_id
        or there.batch_ids @> summed.batch_id
) as b
join microbatch.offset_range as r using (batch_id);
comment on view {batch} is 'From which offsets each revision comes, and by which batches.';
comment on column {batch}.batch_id is 'microbatch.batch; of an old one, the archive that stands for it';
comment on column {batch}.source_offsets is 'that the batch has read, its last one excluded';

-- name: create_late_view
create view {late} as
select
    e.window_start,
    max(e.window_end) as window_end,
    coalesce(sum(e.messages), 0)::bigint as late_messages,
    max(e.lateness) as latest,
    count(e.corrected_at) as corrections,
    max(e.corrected_at) as corrected_at
from (
    select
        l.window_start,
        (
            select c.window_end
            from {contribution} as c
            where c.window_start = l.window_start
            limit 1
        ) as window_end,
        l.messages,
        l.lateness,
        null::timestamptz as corrected_at
    from microbatch.late as l
    where l.output = {output}
    union all
    select
        h.window_start,
        h.window_end,
        null as messages,
        null as lateness,
        h.valid_from as corrected_at
    from {history} as h
    join {history} as b using ({key})
    where
        h.revision > 1
        and b.revision = h.revision - 1
        and b.is_final
        and not b.retracted
) as e
group by e.window_start;
comment on view {late} is 'Windows that had late messages, or corrections after they were final.';
comment on column {late}.late_messages is 'that reached Kafka after the end of the window';
comment on column {late}.latest is 'Kafka''s timestamp of the latest one less the end of the window';
comment on column {late}.corrections is 'revisions of results that were final, over all keys';
comment on column {late}.corrected_at is 'when the last one was merged';

-- name: create_mixed_view
-- Whoever has batches of two generations has one of an older one than the pipeline's. Mostly there is none, which
-- PostgreSQL cannot know: `offset 0` and the laterals keep it from reading whole tables for what it expects.
create view {mixed} as
select
    {k_key},
    r.revision,
    g.generations
from (
    select {c_key}
    from microbatch.sink as s
    join microbatch.pipeline as p using (pipeline_id)
    join microbatch.batch as b using (pipeline_id)
    cross join lateral (
        select {key}
        from {contribution}
        where batch_id = b.batch_id
        offset 0
    ) as c
    where
        s.kind = 'table'
        and s.name = {output}
        and b.generation < p.generation
    group by {c_key}
) as k
cross join lateral (
    select r.revision
    from {result} as r
    where ({r_key}) = ({k_key})
    limit 1
) as r
cross join lateral (
    select array_agg(distinct b.generation order by b.generation) as generations
    from {contribution} as c
    join microbatch.batch as b using (batch_id)
    where ({c_key}) = ({k_key})
) as g
where cardinality(g.generations) > 1;
comment on view {mixed} is 'Results to which batches of more than one generation contribute: a rebuild is not done.';
comment on column {mixed}.generations is 'of the batches: 1 more for each rebuild';

-- name: count_mixed
select count(*) as results
from {mixed};
