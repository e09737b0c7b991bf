-- Named queries over the ledger: registering, claiming, storing.

-- name: set_up_session
-- When the server ends it, so that nobody waits for a client that was stopped; and its times.
select
    set_config('idle_in_transaction_session_timeout', %(idle_in_transaction)s, false),
    set_config('idle_session_timeout', %(idle_session)s, false),
    set_config('timezone', 'UTC', false);

-- name: session
-- What tells sessions apart that are open at the same time.
select pg_backend_pid();

-- name: lock_migrations
-- Two processes that migrate at once: one waits for the other.
select pg_advisory_xact_lock(hashtext('microbatch.migrations'));

-- name: create_migration_table
create table if not exists microbatch.migration (
    version int primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
);

-- name: applied_migrations
select
    version,
    name,
    sha256
from microbatch.migration
order by version;

-- name: record_migration
insert into microbatch.migration (version, name, sha256)
values (%(version)s, %(name)s, %(sha256)s);

-- name: lock_registration
-- One pipeline registers at a time, so that ownership of sinks is decided once.
select pg_advisory_xact_lock(hashtext('microbatch.registration'));

-- name: find_pipeline
select
    pipeline_id,
    ledger,
    cluster_id,
    source_topic,
    definition,
    definition_hash,
    views
from microbatch.pipeline
where
    deployment = %(deployment)s
    and name = %(name)s;

-- name: set_definition
update microbatch.pipeline
set
    definition = %(definition)s,
    definition_hash = %(definition_hash)s
where pipeline_id = %(pipeline_id)s;

-- name: was_rebuilt_from
-- Whether a rebuild has replaced the definition of that hash.
select exists(
    select
    from microbatch.decision
    where
        pipeline_id = %(pipeline_id)s
        and kind = 'rebuild'
        and details ->> 'replaced' = %(definition_hash)s
) as was_replaced;

-- name: set_keep
update microbatch.pipeline
set
    keep_contributions = %(contributions)s,
    keep_history = %(history)s,
    keep_rows = %(rows)s
where
    pipeline_id = %(pipeline_id)s
    and (keep_contributions, keep_history, keep_rows)
    is distinct from (%(contributions)s::interval, %(history)s::interval, %(rows)s::interval);

-- name: insert_pipeline
insert into microbatch.pipeline (deployment, name, cluster_id, source_topic, definition, definition_hash)
values (
    %(deployment)s, %(name)s, %(cluster_id)s, %(source_topic)s, %(definition)s, %(definition_hash)s
)
returning
    pipeline_id,
    ledger,
    cluster_id,
    source_topic,
    definition,
    definition_hash,
    views;

-- name: insert_publisher
insert into microbatch.publisher (pipeline_id)
values (%(pipeline_id)s);

-- name: owner_of_sink
-- Two pipelines may share a dead-letter topic, everything else has one owner.
select p.deployment || '.' || p.name as owner
from microbatch.sink as s
join microbatch.pipeline as p using (pipeline_id)
where
    s.name = %(name)s
    and (s.kind = 'table') = (%(kind)s = 'table')
    and not (s.kind = 'dead letters' and %(kind)s = 'dead letters')
    and s.pipeline_id <> %(pipeline_id)s;

-- name: insert_sink
insert into microbatch.sink (pipeline_id, kind, name, partitions)
values (%(pipeline_id)s, %(kind)s, %(name)s, %(partitions)s);

-- name: sink_partitions
select
    name,
    partitions
from microbatch.sink
where
    pipeline_id = %(pipeline_id)s
    and partitions is not null;

-- name: owned_tables
select name
from microbatch.sink
where
    pipeline_id = %(pipeline_id)s
    and kind = 'table';

-- name: table_exists
-- Or a function over a table, which asks for a time.
select
    to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) is not null
    or to_regprocedure(format('%%I.%%I(timestamptz)', %(schema)s::text, %(table)s::text)) is not null as is_there;

-- name: has_views
select views >= %(views)s as is_so
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: set_views
update microbatch.pipeline
set views = %(views)s
where pipeline_id = %(pipeline_id)s;

-- name: insert_progress
-- A partition that is there already keeps its beginning.
insert into microbatch.partition_progress (
    pipeline_id, topic_id, partition, first_offset, covered_until, complete_from
)
values (
    %(pipeline_id)s, %(topic_id)s, %(partition)s, %(first_offset)s, %(first_offset)s, %(complete_from)s
)
on conflict do nothing;

-- name: update_complete_from
-- A pipeline is complete from where its last partition is. It only goes back: a partition that is added later
-- begins at its offset 0. The year 1 stands for -infinity, which clients cannot say: no window is older.
with was as (
    select
        p.pipeline_id,
        p.complete_from,
        max(g.complete_from) as latest
    from microbatch.pipeline as p
    join microbatch.partition_progress as g using (pipeline_id)
    where p.pipeline_id = %(pipeline_id)s
    group by p.pipeline_id
)

update microbatch.pipeline as p
set complete_from = was.latest
from was
where p.pipeline_id = was.pipeline_id
returning
    greatest(was.complete_from, '0001-01-01Z') as complete_before,
    greatest(p.complete_from, '0001-01-01Z') as complete_from;

-- name: progress
select
    partition,
    topic_id,
    first_offset,
    covered_until,
    caught_up_to
from microbatch.partition_progress
where
    pipeline_id = %(pipeline_id)s
    and retired_by is null
order by partition;

-- name: lock_definition_shared
-- Slot 1: batches and merge share it, a change of the definition takes it exclusively.
select pg_advisory_xact_lock_shared(%(pipeline_id)s, 1);

-- name: lock_definition
-- The same slot, for a change: it waits until no batch and no merge works with the old one.
select pg_advisory_xact_lock(%(pipeline_id)s, 1);

-- name: lock_shard
-- Slot 2 + n: one batch of a shard at a time. For peace; the exclusion constraint is for truth.
select pg_advisory_xact_lock(%(pipeline_id)s, 2 + %(shard)s::int);

-- name: lock_publish
-- Slot 0, for the session: one publisher per pipeline, until its session ends.
select pg_advisory_lock(%(pipeline_id)s, 0);

-- name: terminate_stuck_holders
-- A client that was stopped inside COPY is `active` on ClientRead, which no timeout ends.
select pg_terminate_backend(a.pid)
from pg_locks as l
join pg_stat_activity as a using (pid)
where
    l.locktype = 'advisory'
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid = %(pipeline_id)s::int::oid
    and l.granted
    and a.pid <> pg_backend_pid()
    and a.usename = current_user
    and a.state = 'active'
    and a.wait_event = 'ClientRead'
    and a.query_start < clock_timestamp() - make_interval(secs => %(stuck_s)s);

-- name: definition
select definition
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: definition_hash
-- The name does not count in it: a task of the old name may not write either.
select
    name,
    definition_hash
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: uncovered
-- What of [start, end) of each partition no batch has, lowest first; without a start, from covered_until on.
select
    wanted.partition,
    lower(hole.offsets) as start_offset,
    upper(hole.offsets) as end_offset
from unnest(%(partitions)s::int[], %(start_offsets)s::bigint[], %(end_offsets)s::bigint[])
    as wanted (partition, start_offset, end_offset)
join microbatch.partition_progress as g
    on
        g.pipeline_id = %(pipeline_id)s
        and g.topic_id = %(topic_id)s
        and g.partition = wanted.partition
cross join lateral (
    select coalesce(wanted.start_offset, g.covered_until) as start_offset
) as s
cross join lateral (
    select int8range(s.start_offset, greatest(s.start_offset, wanted.end_offset)) as offsets
) as span
cross join lateral (
    select int8multirange(span.offsets) - coalesce(range_agg(r.offsets), '{}') as holes
    from microbatch.offset_range as r
    where
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && span.offsets
) as uncovered
cross join lateral unnest(uncovered.holes) as hole (offsets)
order by
    start_offset,
    partition;

-- name: covering
-- The batches of which a range meets one of these, oldest first; losses have nothing that could be redone.
select distinct
    b.batch_id,
    b.shard
from unnest(%(partitions)s::int[], %(start_offsets)s::bigint[], %(end_offsets)s::bigint[])
    as wanted (partition, start_offset, end_offset)
join microbatch.offset_range as r
    on
        r.pipeline_id = %(pipeline_id)s
        and r.topic_id = %(topic_id)s
        and r.partition = wanted.partition
        and r.offsets && int8range(wanted.start_offset, greatest(wanted.start_offset, wanted.end_offset))
join microbatch.batch as b using (batch_id)
where b.kind <> 'loss'
order by b.batch_id;

-- name: archive_of_batches
-- The newest archive that one of some batches is, or has become a part of.
select
    lower(a.batch_ids) as first,
    upper(a.batch_ids) - 1 as last,
    a.batch_time as since,
    date_trunc('second', a.committed_at) + interval '1 second' as until
from unnest(%(batches)s::bigint[]) as wanted (batch_id)
join microbatch.batch as a
    on
        a.pipeline_id = %(pipeline_id)s
        and a.kind = 'archive'
        and a.batch_ids @> wanted.batch_id
order by a.batch_id desc
limit 1;

-- name: archive_of_run
-- The newest archive with a batch that a run has made.
select
    lower(a.batch_ids) as first,
    upper(a.batch_ids) - 1 as last,
    a.batch_time as since,
    date_trunc('second', a.committed_at) + interval '1 second' as until
from microbatch.batch as a
where
    a.pipeline_id = %(pipeline_id)s
    and a.kind = 'archive'
    and (%(dag_id)s || ' ' || %(run_id)s) = any(a.runs)
order by a.batch_id desc
limit 1;

-- name: highest_covered
-- The end of what is covered, above gaps too.
select
    g.partition,
    greatest(g.covered_until, max(upper(r.offsets))) as end_offset
from microbatch.partition_progress as g
left join microbatch.offset_range as r
    on
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && int8range(g.covered_until, null)
where
    g.pipeline_id = %(pipeline_id)s
    and g.topic_id = %(topic_id)s
group by
    g.partition,
    g.covered_until;

-- name: insert_batch
insert into microbatch.batch (
    pipeline_id, shard, kind, dag_id, run_id, interval_start, interval_end, batch_time, definition_hash, generation
)
select
    pipeline_id,
    %(shard)s,
    %(kind)s,
    %(dag_id)s,
    %(run_id)s,
    %(interval_start)s,
    %(interval_end)s,
    now(),
    %(definition_hash)s,
    generation
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s
returning
    batch_id,
    batch_time;

-- name: insert_ranges
insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets)
select
    %(batch_id)s,
    %(pipeline_id)s,
    %(topic)s,
    %(topic_id)s,
    partition,
    int8range(start_offset, end_offset)
from unnest(%(partitions)s::int[], %(start_offsets)s::bigint[], %(end_offsets)s::bigint[])
    as claimed (partition, start_offset, end_offset);

-- name: count_ranges
-- By offset: with the partition alone, PostgreSQL would read all that the constraint's index has of it, if it has no
-- statistics.
update microbatch.offset_range as r
set
    messages = counted.messages,
    rejected = counted.rejected,
    repeated = counted.repeated,
    filtered = counted.filtered
from unnest(
    %(partitions)s::int[],
    %(start_offsets)s::bigint[],
    %(messages_each)s::bigint[],
    %(rejected_each)s::bigint[],
    %(repeated_each)s::bigint[],
    %(filtered_each)s::bigint[]
) as counted (partition, start_offset, messages, rejected, repeated, filtered)
where
    r.batch_id = %(batch_id)s
    and r.partition = counted.partition
    and r.offsets @> counted.start_offset;

-- name: finish_batch
update microbatch.batch
set
    messages = %(messages)s,
    rejected = %(rejected)s,
    repeated = %(repeated)s,
    filtered = %(filtered)s,
    -- A redo keeps it: see redone_at.
    committed_at = coalesce(committed_at, clock_timestamp())
where batch_id = %(batch_id)s;

-- name: batches_of_run
-- What a run has made, oldest first.
select
    batch_id,
    shard
from microbatch.batch
where
    pipeline_id = %(pipeline_id)s
    and dag_id = %(dag_id)s
    and run_id = %(run_id)s
order by batch_id;

-- name: lock_batch
select batch_id
from microbatch.batch
where batch_id = %(batch_id)s
for update;

-- name: batch_to_redo
-- Its one "now"; whether this run has redone it since it completed last: Airflow also clears a run that it has cut
-- off, and that goes on; and whether the definition of now has computed it.
select
    b.batch_time,
    coalesce(
        b.redo_dag_id = %(dag_id)s
        and b.redo_run_id = %(run_id)s
        and b.redo_clear_number > coalesce(%(completed)s::int, -1),
        false
    ) as is_redone,
    (b.generation, b.definition_hash) = (p.generation, p.definition_hash) as is_current
from microbatch.batch as b
join microbatch.pipeline as p using (pipeline_id)
where b.batch_id = %(batch_id)s;

-- name: ranges_of_batch
select
    partition,
    lower(offsets) as start_offset,
    upper(offsets) as end_offset,
    messages,
    topic_id
from microbatch.offset_range
where batch_id = %(batch_id)s
order by
    partition,
    start_offset;

-- name: mark_redone
update microbatch.batch as b
set
    attempt = b.attempt + 1,
    definition_hash = %(definition_hash)s,
    generation = p.generation,
    redone_at = clock_timestamp(),
    redo_dag_id = %(dag_id)s,
    redo_run_id = %(run_id)s,
    redo_clear_number = %(clear_number)s
from microbatch.pipeline as p
where
    b.batch_id = %(batch_id)s
    and p.pipeline_id = b.pipeline_id;

-- name: copy_rejects
copy microbatch.reject (pipeline_id, topic_id, partition, "offset", batch_id, reason, row_sent)
from stdin (format binary);

-- name: resolve_rejects
-- A redo begins: whatever it rejects again is rejected again.
update microbatch.reject
set resolved = true
where batch_id = %(batch_id)s
returning
    partition,
    "offset",
    row_sent;

-- name: redriven_of_batch
select
    r.partition,
    r."offset",
    r.reason
from microbatch.reject as r
join microbatch.redriven as d
    on
        d.pipeline_id = r.pipeline_id
        and d.topic_id = r.topic_id
        and d.partition = r.partition
        and d."offset" = r."offset"
where r.batch_id = %(batch_id)s;

-- name: reject_again
update microbatch.reject as r
set
    resolved = false,
    reason = again.reason
from unnest(%(partitions)s::int[], %(offsets)s::bigint[], %(reasons)s::text[]) as again (partition, "offset", reason)
where
    r.pipeline_id = %(pipeline_id)s
    and r.topic_id = %(topic_id)s
    and (r.partition, r."offset") = (again.partition, again."offset");

-- name: touch_windows
insert into microbatch.touched (pipeline_id, output, batch_id, window_start)
select
    %(pipeline_id)s,
    %(output)s,
    %(batch_id)s,
    window_start
from unnest(%(windows)s::timestamptz[]) as t (window_start);

-- name: copy_late
copy microbatch.late (batch_id, output, window_start, messages, lateness) from stdin (format binary);

-- name: erase_late
delete from microbatch.late
where batch_id = %(batch_id)s;

-- name: lock_progress
-- In partition order, so that two batches never wait for each other.
select partition
from microbatch.partition_progress
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = any(%(partitions)s::int[])
order by partition
for update;

-- name: advance_progress
-- covered_until goes to the end of what is covered without a gap; caught_up_to follows when
-- nothing below the looked-at end is uncovered, and never goes back. A run without one (null) leaves it.
update microbatch.partition_progress as g
set
    covered_until = ahead.covered_until,
    caught_up_to = case
        when ahead.covered_until >= ahead.looked_at_end
            then greatest(g.caught_up_to, %(caught_up_to)s::timestamptz)
        else g.caught_up_to
    end,
    looked_at_end = greatest(g.looked_at_end, ahead.looked_at_end),
    looked_at = greatest(g.looked_at, %(looked_at)s::timestamptz)
from (
    select
        was.partition,
        wanted.looked_at_end,
        -- The end of the covered range that begins where the gapless part ended, if there is one.
        coalesce(
            (
                select upper(joined.offsets)
                from (
                    select unnest(range_agg(r.offsets)) as offsets
                    from microbatch.offset_range as r
                    where
                        r.pipeline_id = was.pipeline_id
                        and r.topic_id = was.topic_id
                        and r.partition = was.partition
                        and r.offsets && int8range(was.covered_until, null)
                ) as joined
                where lower(joined.offsets) <= was.covered_until
            ),
            was.covered_until
        ) as covered_until
    from unnest(%(partitions)s::int[], %(looked_at_ends)s::bigint[]) as wanted (partition, looked_at_end)
    join microbatch.partition_progress as was
        on
            was.pipeline_id = %(pipeline_id)s
            and was.topic_id = %(topic_id)s
            and was.partition = wanted.partition
) as ahead
where
    g.pipeline_id = %(pipeline_id)s
    and g.topic_id = %(topic_id)s
    and g.partition = ahead.partition;

-- name: note_reach
-- What an interval says of partitions; a later look at the same time says the same, or less.
insert into microbatch.reach (pipeline_id, topic_id, partition, complete_from, start_offset)
select
    %(pipeline_id)s,
    %(topic_id)s,
    partition,
    %(complete_from)s,
    start_offset
from unnest(%(partitions)s::int[], %(start_offsets)s::bigint[]) as looked_at (partition, start_offset)
on conflict do nothing;

-- name: reach_back
-- Partitions of which everything from an interval's start to first_offset is covered are complete from there on,
-- whichever run has read the last of it.
update microbatch.partition_progress as g
set complete_from = least(g.complete_from, reached.complete_from)
from (
    select
        s.partition,
        min(s.complete_from) as complete_from
    from microbatch.reach as s
    join microbatch.partition_progress as at using (pipeline_id, topic_id, partition)
    where
        s.pipeline_id = %(pipeline_id)s
        and s.topic_id = %(topic_id)s
        and s.partition = any(%(partitions)s::int[])
        and (
            select
                int8multirange(int8range(s.start_offset, greatest(s.start_offset, at.first_offset)))
                <@ coalesce(range_agg(r.offsets), '{}')
            from microbatch.offset_range as r
            where
                r.pipeline_id = s.pipeline_id
                and r.topic_id = s.topic_id
                and r.partition = s.partition
                and r.offsets && int8range(s.start_offset, greatest(s.start_offset, at.first_offset))
        )
    group by s.partition
) as reached
where
    g.pipeline_id = %(pipeline_id)s
    and g.topic_id = %(topic_id)s
    and g.partition = reached.partition;

-- name: forget_reach
-- What says no more than the partition's own complete_from.
delete from microbatch.reach as s
using microbatch.partition_progress as g
where
    g.pipeline_id = s.pipeline_id
    and g.topic_id = s.topic_id
    and g.partition = s.partition
    and s.pipeline_id = %(pipeline_id)s
    and s.topic_id = %(topic_id)s
    and s.partition = any(%(partitions)s::int[])
    and s.complete_from >= g.complete_from;

-- name: insert_failure
insert into microbatch.failure (pipeline_id, shard, dag_id, run_id, topic_id, ranges, messages, rejected, error)
values (
    %(pipeline_id)s,
    %(shard)s,
    %(dag_id)s,
    %(run_id)s,
    %(topic_id)s,
    %(ranges)s,
    %(messages)s,
    %(rejected)s,
    %(error)s
);

-- name: run_completed
-- In which of its lives the run has completed last, as a clear number; null: in none.
select max(clear_number) as clear_number
from microbatch.run
where
    pipeline_id = %(pipeline_id)s
    and dag_id = %(dag_id)s
    and run_id = %(run_id)s
    and shard = %(shard)s;

-- name: complete_run
insert into microbatch.run (pipeline_id, dag_id, run_id, shard, clear_number, behind)
values (%(pipeline_id)s, %(dag_id)s, %(run_id)s, %(shard)s, %(clear_number)s, %(behind)s)
on conflict do nothing;

-- name: accepted_rejects
-- Offsets of some ranges whose rejects a person has accepted.
select
    a.partition,
    lower(a.offsets) as start_offset,
    upper(a.offsets) as end_offset
from unnest(%(partitions)s::int[], %(start_offsets)s::bigint[], %(end_offsets)s::bigint[])
    as wanted (partition, start_offset, end_offset)
join microbatch.accepted_rejects as a
    on
        a.pipeline_id = %(pipeline_id)s
        and a.topic_id = %(topic_id)s
        and a.partition = wanted.partition
        and a.offsets && int8range(wanted.start_offset, wanted.end_offset);

-- name: already_sent
-- What of a range's messages is on a topic already: sent by a ledger that this one stands for, or by an attempt before
-- one that left it out.
select
    topic,
    "offset"
from microbatch.already_sent
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s
    and "offset" >= %(start_offset)s
    and "offset" < %(end_offset)s;
