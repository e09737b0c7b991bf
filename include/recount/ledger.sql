-- What the check reads of the ledger. All of it runs in one REPEATABLE READ transaction.

-- name: pipeline
-- Times in seconds since 1970 UTC, for they may be infinite.
select
    p.pipeline_id,
    p.ledger,
    p.definition,
    p.definition_hash,
    p.generation,
    p.former_names,
    p.former_ledgers,
    p.history_from > '-infinity' as is_pruned,
    extract(epoch from p.closed_until) as closed_until,
    extract(epoch from p.complete_from) as complete_from
from microbatch.pipeline as p
where
    p.deployment = %(deployment)s
    and p.name = %(pipeline)s;

-- name: progress
select
    partition,
    topic_id,
    first_offset,
    covered_until,
    retired_by is not null as is_retired
from microbatch.partition_progress
where pipeline_id = %(pipeline_id)s
order by
    topic_id,
    partition;

-- name: ranges
select
    batch_id,
    topic,
    topic_id,
    partition,
    lower(offsets) as start_offset,
    upper(offsets) as end_offset,
    messages,
    rejected,
    repeated,
    filtered
from microbatch.offset_range
where pipeline_id = %(pipeline_id)s
order by
    topic_id,
    partition,
    start_offset;

-- name: batches
select
    batch_id,
    messages,
    rejected,
    repeated,
    filtered,
    attempt,
    batch_time,
    definition_hash,
    generation,
    kind,
    decision_id
from microbatch.batch
where pipeline_id = %(pipeline_id)s
order by batch_id;

-- name: archives
-- Which numbers each of them stands for; its own is the first.
select
    lower(batch_ids) as first_id,
    upper(batch_ids) as end_id
from microbatch.batch
where
    pipeline_id = %(pipeline_id)s
    and kind = 'archive';

-- name: rejects
select
    partition,
    "offset",
    batch_id,
    reason,
    resolved,
    row_sent
from microbatch.reject
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(log)s;

-- name: redriven
select
    partition,
    "offset"
from microbatch.redriven
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(log)s;

-- name: already_sent
select
    topic,
    array_agg(partition) as partitions,
    array_agg("offset") as offsets
from microbatch.already_sent
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(log)s
group by topic;

-- name: decisions
select
    decision_id,
    kind,
    reason,
    decided_by,
    decided_at,
    details
from microbatch.decision
where pipeline_id = %(pipeline_id)s
order by decision_id;

-- name: marks
-- Each column grows or changes with what its name says. Two looks that show the same are looks at the same ledger.
select
    p.definition_hash as definition,
    p.closed_until::text as closed_until,
    p.complete_from::text as complete_from,
    (
        select (count(*), sum(messages), sum(attempt))::text
        from microbatch.batch
        where pipeline_id = p.pipeline_id
    ) as batches,
    (
        select (count(*), count(*) filter (where resolved))::text
        from microbatch.reject
        where pipeline_id = p.pipeline_id
    ) as rejects,
    (select max(merge_id) from microbatch.merge where pipeline_id = p.pipeline_id) as merges,
    (select count(*) from microbatch.decision where pipeline_id = p.pipeline_id) as decisions,
    (select q::text from microbatch.publisher as q where q.pipeline_id = p.pipeline_id) as publisher
from microbatch.pipeline as p
where p.pipeline_id = %(pipeline_id)s;

-- name: publisher
select
    cursor,
    intent,
    last_publication
from microbatch.publisher
where pipeline_id = %(pipeline_id)s;

-- name: sinks
-- Sink partitions as they were counted at registration.
select
    name,
    partitions
from microbatch.sink
where
    pipeline_id = %(pipeline_id)s
    and partitions is not null;

-- name: set_aside
-- How many messages of each topic the broker refused.
select
    topic,
    count(*) as messages
from microbatch.set_aside
where pipeline_id = %(pipeline_id)s
group by topic;

-- name: waiting
-- What has still to be merged or sent.
select
    (select count(*) from microbatch.touched where pipeline_id = %(pipeline_id)s) as touched,
    (select count(*) from microbatch.outbox_segment where pipeline_id = %(pipeline_id)s) as segments;

-- name: open_transactions
-- Sessions of the engine that are inside a transaction: each holds the lock of its own virtualxid. pg_locks shows that
-- to every role, where pg_stat_activity hides the state of other roles' sessions.
select
    a.pid,
    a.application_name
from pg_stat_activity as a
where
    a.datname = current_database()
    and a.application_name like 'microbatch%%'
    and a.pid in (
        select l.pid
        from pg_locks as l
        where
            l.locktype = 'virtualxid'
            and l.mode = 'ExclusiveLock'
    )
order by a.pid;

-- name: advisory_locks
-- Locks of this pipeline: slot 0 publish, 1 the definition, 2 + n shard n.
select
    l.pid,
    l.objid::bigint as slot,
    l.granted
from pg_locks as l
where
    l.locktype = 'advisory'
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid::bigint = %(pipeline_id)s
    and l.objsubid = 2
order by
    l.pid,
    l.objid;
