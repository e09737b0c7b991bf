-- Templates over the tables of a window. What stands in braces is composed in window_tables.py:
-- tables, {key} (window_start and the columns of `by`), {measures}, {partials} of the measures, {longest} of windows.

-- name: create_result
create table {result} (
    window_start timestamptz not null,
    window_end timestamptz not null,
    {columns},
    is_final boolean not null,
    revision int not null,
    updated_at timestamptz not null,
    primary key ({key})
);
comment on table {result} is {pipeline};
comment on column {result}.window_start is 'start of the window, included';
comment on column {result}.window_end is 'end of the window, excluded';
comment on column {result}.is_final is 'the window is closed and complete; later changes are corrections';
comment on column {result}.revision is '1 when first published, +1 for each published change';
comment on column {result}.updated_at is 'when this revision was merged';

-- name: create_contribution
create table {contribution} (
    batch_id bigint not null,
    window_start timestamptz not null,
    window_end timestamptz not null,
    {partial_columns},
    primary key (batch_id, {key})
);
comment on table {contribution} is 'What each batch adds to each window and key.';
comment on column {contribution}.batch_id is 'microbatch.batch that read the messages';
comment on column {contribution}.window_start is 'start of the window, included';
comment on column {contribution}.window_end is 'end of the window, excluded';
create index on {contribution} ({key});

-- name: create_history
create table {history} (
    window_start timestamptz not null,
    window_end timestamptz not null,
    {columns},
    is_final boolean not null,
    revision int not null,
    retracted boolean not null,
    batches bigint[] not null,
    merge_id bigint not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    primary key ({key}, revision)
);
comment on table {history} is 'Every revision ever published.';
comment on column {history}.window_start is 'start of the window, included';
comment on column {history}.window_end is 'end of the window, excluded';
comment on column {history}.is_final is 'as it was published';
comment on column {history}.revision is '1, 2, 3, … for each window and key';
comment on column {history}.retracted is 'the result vanished: its columns are null';
comment on column {history}.batches is 'microbatch.batch of each batch that it sums';
comment on column {history}.merge_id is 'microbatch.merge that published it';
comment on column {history}.valid_from is 'since when this revision holds';
comment on column {history}.valid_to is 'until when it held; null: it holds';
create index on {history} (merge_id);

-- name: copy_contributions
copy {contribution} (batch_id, window_start, window_end, {by_and_partials}) from stdin (format binary);

-- name: touch_windows_of_batch
-- What a batch has left, before it is taken away: all keys of its windows have to be looked at again.
insert into microbatch.touched (pipeline_id, output, window_start)
select distinct
    %(pipeline_id)s::int,
    %(output)s::text,
    window_start
from {contribution}
where batch_id = %(batch_id)s;

-- name: erase_contributions
delete from {contribution}
where batch_id = %(batch_id)s;

-- name: publish_changes
-- Recompute the results that may have changed, and write those that did: a result whose numbers or is_final
-- change gets its next revision; one whose contributions vanished is retracted.
with candidate as (
    -- what batches have touched, in windows that are closed or already published
    select {c_key}
    from unnest(%(batches)s::bigint[], %(windows)s::timestamptz[]) as touched (batch_id, window_start)
    join {contribution} as c using (batch_id, window_start)
    where
        c.window_end <= %(closed_until)s
        or %(open_windows)s
        or exists (
            select
            from {result} as r
            where ({r_key}) = ({c_key})
        )
    union
    -- all of the windows that a redone batch has touched, likewise
    select {c_key}
    from {contribution} as c
    where
        c.window_start = any(%(whole_windows)s::timestamptz[])
        and (
            c.window_end <= %(closed_until)s
            or %(open_windows)s
            or exists (
                select
                from {result} as r
                where ({r_key}) = ({c_key})
            )
        )
    union
    select {r_key}
    from {result} as r
    where r.window_start = any(%(whole_windows)s::timestamptz[])
    union
    -- all of the windows that have closed since the last merge; the first line lets the index find them
    select {c_key}
    from {contribution} as c
    where
        c.window_start > coalesce(%(closed_before)s::timestamptz, '-infinity') - interval {longest}
        and c.window_start < %(closed_until)s::timestamptz
        and c.window_end > coalesce(%(closed_before)s::timestamptz, '-infinity')
        and c.window_end <= %(closed_until)s::timestamptz
    union
    select {r_key}
    from {result} as r
    where
        r.window_start > coalesce(%(closed_before)s::timestamptz, '-infinity') - interval {longest}
        and r.window_start < %(closed_until)s::timestamptz
        and r.window_end > coalesce(%(closed_before)s::timestamptz, '-infinity')
        and r.window_end <= %(closed_until)s::timestamptz
    union
    -- all closed ones that history has made complete since
    select {r_key}
    from {result} as r
    where
        r.window_start >= %(complete_from)s::timestamptz
        and r.window_start < %(complete_before)s::timestamptz
        and r.window_end <= %(closed_until)s::timestamptz
),

total as (
    select
        {k_key},
        max(c.window_end) as window_end,
        {totals},
        array_agg(c.batch_id order by c.batch_id) filter (where c.batch_id is not null) as batches
    from candidate as k
    left join {contribution} as c using ({key})
    group by {k_key}
),

-- Beside what is there. Names with a dot are no declared column's.
judged as (
    select
        {t_key},
        {t_measures},
        t.batches,
        f.window_end,
        f.is_final,
        r.revision as "was.revision",
        coalesce(r.is_final, false) as was_final,
        case
            when t.batches is null or r.revision is null
                then (t.batches is null) <> (r.revision is null)
            else (f.is_final, {t_measures}) is distinct from (r.is_final, {r_measures})
        end as "is.changed"
    from total as t
    left join {result} as r using ({key})
    cross join lateral (
        -- A result that vanishes keeps the end that it had.
        select coalesce(t.window_end, r.window_end) as window_end
    ) as kept
    cross join lateral (
        select
            kept.window_end,
            coalesce(
                kept.window_end <= %(closed_until)s and t.window_start >= %(complete_from)s::timestamptz, false
            ) as is_final
    ) as f
),

changed as (
    select
        t.*,
        t.batches is null as retracted,
        (
            select coalesce(max(h.revision), 0) + 1
            from {history} as h
            where ({h_key}) = ({t_key})
        ) as revision
    from judged as t
    where t."is.changed"
),

superseded as (
    update {history} as h
    set valid_to = greatest(h.valid_from, %(merged_at)s)
    from changed as t
    where
        ({h_key}) = ({t_key})
        and h.revision = t.revision - 1
),

-- What was adopted from the topic names the batches that have its input, as they come, if they give the same numbers.
named as (
    update {history} as h
    set batches = t.batches
    from judged as t
    where
        exists (
            select
            from microbatch.decision
            where
                pipeline_id = %(pipeline_id)s
                and kind = 'recover'
        )
        and ({h_key}) = ({t_key})
        and h.revision = t."was.revision"
        and h.batches is distinct from t.batches
        and t.batches is not null
        and not t."is.changed"
        and (
            select m.decision_id
            from microbatch.merge as m
            where m.merge_id = h.merge_id
        ) is not null
),

recorded as (
    insert into {history} (
        {key}, window_end, {measures}, is_final, revision, retracted, batches, merge_id, valid_from
    )
    select
        {t_key},
        t.window_end,
        {t_measures},
        t.is_final,
        t.revision,
        t.retracted,
        coalesce(t.batches, '{{}}'),
        %(merge_id)s,
        %(merged_at)s
    from changed as t
),

written as (
    insert into {result} as target ({key}, window_end, {measures}, is_final, revision, updated_at)
    select
        {t_key},
        t.window_end,
        {t_measures},
        t.is_final,
        t.revision,
        %(merged_at)s
    from changed as t
    where not t.retracted
    on conflict ({key}) do update
    set
        {set_measures},
        is_final = excluded.is_final,
        revision = excluded.revision,
        updated_at = excluded.updated_at
),

removed as (
    delete from {result} as r
    using changed as t
    where
        ({r_key}) = ({t_key})
        and t.retracted
)

select
    count(*) as revisions,
    count(*) filter (where was_final) as corrections,
    min(window_start) as since,
    max(window_end) as until
from changed;

-- name: note_final_days
-- Days that have become final with this merge, those without any result too, and final ones in which it has published
-- something. Where nobody can say when history begins, only days that have results count.
with candidate as (
    select date_trunc(%(unit)s, window_start at time zone %(timezone)s) as day
    from {history}
    where merge_id = %(merge_id)s
    union
    -- have ended since the last merge
    select
        generate_series(
            date_trunc(
                %(unit)s,
                coalesce(%(closed_before)s, nullif(%(complete_from)s, timestamptz '0001-01-01Z'))
                at time zone %(timezone)s
            ),
            %(closed_until)s::timestamptz at time zone %(timezone)s,
            ('1 ' || %(unit)s)::interval
        )
    union
    -- history has reached back to them
    select
        generate_series(
            date_trunc(%(unit)s, %(complete_from)s at time zone %(timezone)s),
            (%(complete_before)s::timestamptz - interval '1 microsecond') at time zone %(timezone)s,
            ('1 ' || %(unit)s)::interval
        )
    where %(complete_from)s > timestamptz '0001-01-01Z'
    union
    select date_trunc(%(unit)s, window_start at time zone %(timezone)s)
    from {result}
    where
        (%(closed_before)s::timestamptz is null and window_start < %(closed_until)s)
        or (window_start >= %(complete_from)s and window_start < %(complete_before)s)
)

insert into microbatch.final_day (pipeline_id, output, day)
select
    %(pipeline_id)s,
    %(output)s,
    day::date
from candidate
where
    day at time zone %(timezone)s >= %(complete_from)s
    and (day + ('1 ' || %(unit)s)::interval) at time zone %(timezone)s <= %(closed_until)s
on conflict (pipeline_id, output, day) do update
set
    told = null,
    told_at = null;

-- name: revisions_of_merge
-- It is read by a cursor, for which PostgreSQL would walk through the whole primary key, in order: `offset 0` lets it
-- find them by the merge first.
select
    {r_key},
    r.window_end,
    {r_measures},
    r.is_final,
    r.revision,
    r.retracted
from (
    select
        {key},
        window_end,
        {measures},
        is_final,
        revision,
        retracted
    from {history}
    where merge_id = %(merge_id)s
    offset 0
) as r
order by
    {r_key};

-- name: count_windows
-- To which some batches contribute.
select count(distinct window_start) as windows
from {contribution}
where batch_id = any(%(batches)s::bigint[]);
