-- Templates over the tables of a window whose results are published again or adopted from its topic. What stands in
-- braces is composed in known_windows.py.

-- name: has_results
select exists (select from {result}) as has_results;

-- name: current_results
select
    {key},
    window_end,
    {measures},
    is_final,
    revision,
    false as retracted
from {result}
order by
    {key};

-- name: affect_results
-- The keys of which something was found on the topic, or was never sent.
create temporary table affected on commit drop as
select distinct {k_key}
from (
    select key
    from found_result
    where topic = {topic}
    union
    select key
    from unsent_result
    where topic = {topic}
) as f
cross join lateral jsonb_populate_record(null::{result}, f.key::jsonb) as k;

-- name: forget_unsent
delete from {history} as h
using unsent_result as u
cross join lateral jsonb_populate_record(null::{result}, u.key::jsonb) as k
where
    u.topic = %(topic)s
    and ({h_key}) = ({k_key})
    and h.revision = u.revision;

-- name: adopt_revisions
-- Which batches they were made of is known for the newest ones only, see name_batches.
insert into {history} (
    {key}, window_end, {measures}, is_final, revision, retracted, batches, merge_id, valid_from
)
select
    {k_key},
    f.window_end,
    {v_measures},
    coalesce(v.is_final, false),
    f.revision,
    f.value is null,
    '{{}}',
    %(merge_id)s,
    %(merged_at)s
from found_result as f
cross join lateral jsonb_populate_record(null::{result}, f.key::jsonb) as k
cross join lateral jsonb_populate_record(null::{result}, coalesce(f.value, '{{}}')::jsonb) as v
where f.topic = %(topic)s
on conflict do nothing;

-- name: chain_revisions
-- Each revision holds until the next one.
update {history} as h
set valid_to = n.valid_to
from (
    select
        {h_key},
        h.revision,
        lead(h.valid_from) over (partition by {h_key} order by h.revision) as valid_to
    from {history} as h
    join affected using ({key})
) as n
where
    ({h_key}) = ({n_key})
    and h.revision = n.revision
    and h.valid_to is distinct from n.valid_to;

-- name: name_batches
-- The batches that have the input of a result now: if they give other numbers, the next merge publishes that.
update {history} as h
set batches = n.batches
from (
    select
        {c_key},
        array_agg(c.batch_id order by c.batch_id) as batches
    from {contribution} as c
    join affected using ({key})
    group by {c_key}
) as n
where
    ({h_key}) = ({n_key})
    and h.merge_id = %(merge_id)s
    and h.valid_to is null
    and not h.retracted;

-- name: erase_results
delete from {result} as r
using affected as a
where ({r_key}) = ({a_key});

-- name: restore_results
insert into {result} ({key}, window_end, {measures}, is_final, revision, updated_at)
select
    {key},
    window_end,
    {measures},
    is_final,
    revision,
    valid_from
from {history}
join affected using ({key})
where
    valid_to is null
    and not retracted;

-- name: touch_affected
-- Their windows are looked at again by the next merge; not those of which this ledger has no input at all: retention has
-- deleted that, and what was published of them stays.
insert into microbatch.touched (pipeline_id, output, window_start)
select distinct
    %(pipeline_id)s::int,
    %(output)s::text,
    a.window_start
from affected as a
where exists (
    select
    from {contribution} as c
    where c.window_start = a.window_start
);

-- name: final_until
select max(window_end) as closed_until
from {history}
where
    merge_id = %(merge_id)s
    and is_final;
