-- Results of windows, found by the primary key (window_start and the columns of `by`): what is shown is what is read.
-- What stands in braces is composed in window_outputs.py. `offset 0` keeps PostgreSQL from joining whole tables.

-- name: columns_of_result
select a.attname as name
from pg_attribute as a
where
    a.attrelid = to_regclass(%(result)s)
    and a.attnum > 0
    and not a.attisdropped
order by a.attnum;

-- name: newest_window
select r.window_start
from {result} as r
where
    r.window_start >= coalesce(%(since)s, '-infinity'::timestamptz)
    and r.window_start < coalesce(%(until)s, 'infinity'::timestamptz)
order by r.window_start desc
limit 1;

-- name: oldest_window
select r.window_start
from {result} as r
where
    r.window_start >= coalesce(%(since)s, '-infinity'::timestamptz)
    and r.window_start < coalesce(%(until)s, 'infinity'::timestamptz)
order by r.window_start
limit 1;

-- name: windows_that_are
-- From window to window in the index, the newest first, whatever number of keys they have.
with recursive found (window_start, number) as (
    select
        %(newest)s::timestamptz,
        1
    union all
    select
        (
            select r.window_start
            from {result} as r
            where
                r.window_start >= %(oldest)s
                and r.window_start < found.window_start
            order by r.window_start desc
            limit 1
        ),
        found.number + 1
    from found
    where
        found.window_start is not null
        and found.number < %(limit)s
)

select window_start
from found
where window_start is not null
order by window_start;

-- name: largest_keys
-- Of one window.
select
    array[{texts}]::text[] as key,
    count(*) over () as keys
from {result} as r
where r.window_start = %(window)s
order by
    {measure} desc nulls last,
    {r_key}
limit %(limit)s;

-- name: values_of_key
select
    w.place,
    cell.value
from unnest(%(windows)s::timestamptz[]) with ordinality as w (window_start, place)
cross join lateral (
    select {measure} as value
    from {result} as r
    where
        r.window_start = w.window_start
        and {r_key} = {values}
    offset 0
) as cell;

-- name: corrections_of_key
-- Revisions of what was final before, the newest windows first.
select
    h.window_start,
    h.revision,
    h.valid_from as at
from unnest(%(windows)s::timestamptz[]) as w (window_start)
cross join lateral (
    select
        h.window_start,
        h.revision,
        h.valid_from
    from {history} as h
    where
        h.window_start = w.window_start
        and {h_key} = {values}
        and h.revision > 1
        and exists (
            select
            from {history} as b
            where
                b.window_start = h.window_start
                and {b_key} = {h_key}
                and b.revision < h.revision
                and b.is_final
        )
    offset 0
) as h
order by
    h.window_start desc,
    h.revision desc
limit %(limit)s;

-- name: rows
select
    {columns},
    array[{cursor}] as "microbatch.cursor"
from {result} as r
where
    r.window_start >= coalesce(%(since)s, '-infinity'::timestamptz)
    and r.window_start < coalesce(%(until)s, 'infinity'::timestamptz)
    and {below}
order by {descending}
limit %(limit)s;

-- name: rows_of_key
-- The windows come in their order, the newest first: what the limit leaves out is not looked up.
select r.*
from unnest(%(windows)s::timestamptz[]) as w (window_start)
cross join lateral (
    select
        {columns},
        array[r.window_start::text] as "microbatch.cursor"
    from {result} as r
    where
        r.window_start = w.window_start
        and {r_key} = {values}
    offset 0
) as r
limit %(limit)s;

-- name: newest_closed
-- Only what is published early is newer.
select r.window_start
from {result} as r
where
    r.window_start < %(closed_until)s
    and r.window_end <= %(closed_until)s
order by r.window_start desc
limit 1;

-- name: has_more_keys
select count(*) > %(limit)s as has_more
from (
    select
    from {result} as r
    where r.window_start = %(window)s
    limit %(limit)s + 1
) as found;

-- name: totals
-- Over all keys; summed exactly.
select total.value
from unnest(%(windows)s::timestamptz[]) with ordinality as w (window_start, place)
cross join lateral (
    select sum({measure})::float8 as value
    from {result} as r
    where r.window_start = w.window_start
) as total
order by w.place;

-- name: corrections_of_hour
-- Revisions of what was final before, among those of the last hour; `revisions` counts no further than the limit.
select
    count(*) as revisions,
    count(*) filter (
        where
            h.revision > 1
            and exists (
                select
                from {history} as b
                where
                    b.window_start = h.window_start
                    and {b_key} = {h_key}
                    and b.revision < h.revision
                    and b.is_final
            )
    ) as corrections
from (
    select h.*
    from {history} as h
    where
        h.merge_id = any(
            array(
                select m.merge_id
                from (
                    select
                        merge.merge_id,
                        merge.merged_at
                    from microbatch.merge
                    where merge.pipeline_id = %(pipeline_id)s
                    order by merge.merge_id desc
                    limit 5000
                ) as m
                where m.merged_at > now() - interval '1 hour'
            )
        )
    limit %(limit)s
) as h;

-- name: corrections_of_windows
-- Revisions of what was final before, over all keys.
select corrected.corrections
from unnest(%(windows)s::timestamptz[]) with ordinality as w (window_start, place)
cross join lateral (
    select count(*) as corrections
    from {history} as h
    where
        h.window_start = w.window_start
        and h.revision > 1
        and exists (
            select
            from {history} as b
            where
                b.window_start = h.window_start
                and {b_key} = {h_key}
                and b.revision < h.revision
                and b.is_final
        )
) as corrected
order by w.place;
