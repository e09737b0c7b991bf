-- Named queries over the ledger: registering, claiming, storing.

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
    definition_hash
from microbatch.pipeline
where
    deployment = %(deployment)s
    and name = %(name)s;

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
    definition_hash;

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

-- name: table_exists
select to_regclass(format('%%I.%%I', 'public', %(name)s::text)) is not null as is_there;

-- name: insert_progress
-- A partition that is there already keeps its beginning.
insert into microbatch.partition_progress (pipeline_id, topic_id, partition, first_offset, covered_until)
values (%(pipeline_id)s, %(topic_id)s, %(partition)s, %(first_offset)s, %(first_offset)s)
on conflict do nothing;

-- name: progress
select
    partition,
    topic_id,
    first_offset,
    covered_until,
    caught_up_to
from microbatch.partition_progress
where pipeline_id = %(pipeline_id)s
order by partition;

-- name: lock_definition_shared
-- Slot 1: batches and merge share it, a change of the definition takes it exclusively.
select pg_advisory_xact_lock_shared(%(pipeline_id)s, 1);

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

-- name: definition_hash
select definition_hash
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: uncovered
-- What of [covered_until, end) of each partition no batch has, lowest first.
select
    wanted.partition,
    lower(hole.offsets) as start_offset,
    upper(hole.offsets) as end_offset
from unnest(%(partitions)s::int[], %(end_offsets)s::bigint[]) as wanted (partition, end_offset)
join microbatch.partition_progress as g
    on
        g.pipeline_id = %(pipeline_id)s
        and g.topic_id = %(topic_id)s
        and g.partition = wanted.partition
cross join lateral (
    select
        int8multirange(int8range(g.covered_until, greatest(g.covered_until, wanted.end_offset)))
        - coalesce(range_agg(r.offsets), '{}') as holes
    from microbatch.offset_range as r
    where
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && int8range(g.covered_until, null)
) as uncovered
cross join lateral unnest(uncovered.holes) as hole (offsets)
order by
    start_offset,
    partition;

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
    pipeline_id, shard, kind, dag_id, run_id, interval_start, interval_end, batch_time, definition_hash
)
values (
    %(pipeline_id)s,
    %(shard)s,
    %(kind)s,
    %(dag_id)s,
    %(run_id)s,
    %(interval_start)s,
    %(interval_end)s,
    now(),
    %(definition_hash)s
)
returning
    batch_id,
    batch_time;

-- name: insert_range
insert into microbatch.offset_range (batch_id, pipeline_id, topic, topic_id, partition, offsets)
values (
    %(batch_id)s,
    %(pipeline_id)s,
    %(topic)s,
    %(topic_id)s,
    %(partition)s,
    int8range(%(start_offset)s, %(end_offset)s)
);

-- name: count_range
update microbatch.offset_range
set
    messages = %(messages)s,
    rejected = %(rejected)s
where
    batch_id = %(batch_id)s
    and partition = %(partition)s
    and lower(offsets) = %(start_offset)s;

-- name: finish_batch
update microbatch.batch
set
    messages = %(messages)s,
    rejected = %(rejected)s,
    committed_at = clock_timestamp()
where batch_id = %(batch_id)s;

-- name: copy_rejects
copy microbatch.reject (pipeline_id, topic_id, partition, "offset", batch_id, reason)
from stdin (format binary);

-- name: touch_windows
insert into microbatch.touched (pipeline_id, output, batch_id, window_start)
select
    %(pipeline_id)s,
    %(output)s,
    %(batch_id)s,
    window_start
from unnest(%(windows)s::timestamptz[]) as t (window_start);

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
-- nothing below the looked-at end is uncovered, and never goes back.
update microbatch.partition_progress as g
set
    covered_until = ahead.covered_until,
    caught_up_to = case
        when ahead.covered_until >= ahead.looked_at_end
            then greatest(g.caught_up_to, %(caught_up_to)s::timestamptz)
        else g.caught_up_to
    end
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
    and g.partition = ahead.partition
returning
    g.partition,
    g.covered_until,
    ahead.looked_at_end;

-- name: insert_failure
insert into microbatch.failure (pipeline_id, shard, dag_id, run_id, ranges, messages, rejected, error)
values (
    %(pipeline_id)s, %(shard)s, %(dag_id)s, %(run_id)s, %(ranges)s, %(messages)s, %(rejected)s, %(error)s
);

-- name: run_completed
select completed_at
from microbatch.run
where
    pipeline_id = %(pipeline_id)s
    and dag_id = %(dag_id)s
    and run_id = %(run_id)s
    and shard = %(shard)s
    and clear_number = %(clear_number)s;

-- name: complete_run
insert into microbatch.run (pipeline_id, dag_id, run_id, shard, clear_number, behind)
values (%(pipeline_id)s, %(dag_id)s, %(run_id)s, %(shard)s, %(clear_number)s, %(behind)s)
on conflict do nothing;
