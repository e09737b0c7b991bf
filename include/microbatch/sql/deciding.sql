-- Named queries of the ways out: what a person decides.

-- name: known_pipeline
select
    p.pipeline_id,
    p.name,
    p.deployment,
    p.ledger,
    p.cluster_id,
    p.source_topic,
    (
        select g.topic_id
        from microbatch.partition_progress as g
        where
            g.pipeline_id = p.pipeline_id
            and g.retired_by is null
        limit 1
    ) as topic_id,
    p.former_names,
    p.definition,
    p.definition_hash
from microbatch.pipeline as p
where
    p.deployment = %(deployment)s
    and p.name = %(name)s;

-- name: known_names
select name
from microbatch.pipeline
where deployment = %(deployment)s
order by name;

-- name: record_decision
insert into microbatch.decision (pipeline_id, kind, details, reason, decided_by)
values (%(pipeline_id)s, %(kind)s, %(details)s, %(reason)s, %(by)s)
returning decision_id;

-- name: partitions
select partition
from microbatch.partition_progress
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
order by partition;

-- name: insert_loss
-- A batch without messages: its ranges cover what nobody can read any more.
insert into microbatch.batch (pipeline_id, shard, kind, batch_time, definition_hash, committed_at, decision_id)
values (%(pipeline_id)s, 0, 'loss', now(), %(definition_hash)s, clock_timestamp(), %(decision_id)s)
returning batch_id;

-- name: refused_ranges
-- Offsets of batches that failed with too many rejects, less what was stored since and what was accepted before.
with refused as (
    select
        f.failed_at,
        item.partition,
        int8range(item.start, item.end) as offsets
    from microbatch.failure as f
    cross join lateral jsonb_to_recordset(f.ranges) as item (partition int, start bigint, "end" bigint)
    where
        f.pipeline_id = %(pipeline_id)s
        and f.topic_id = %(topic_id)s
        and f.error like 'TooManyRejectedError:%%'
),

still as (
    select
        refused.partition,
        int8multirange(refused.offsets)
        - (
            select coalesce(range_agg(r.offsets), '{}')
            from microbatch.offset_range as r
            join microbatch.batch as b using (batch_id)
            where
                r.pipeline_id = %(pipeline_id)s
                and r.topic_id = %(topic_id)s
                and r.partition = refused.partition
                and r.offsets && refused.offsets
                and greatest(b.committed_at, b.redone_at) > refused.failed_at
        )
        - (
            select coalesce(range_agg(a.offsets), '{}')
            from microbatch.accepted_rejects as a
            where
                a.pipeline_id = %(pipeline_id)s
                and a.topic_id = %(topic_id)s
                and a.partition = refused.partition
                and a.offsets && refused.offsets
        ) as offsets
    from refused
),

joined as (
    select
        still.partition,
        unnest(range_agg(still.offsets)) as offsets
    from still
    group by still.partition
)

select
    partition,
    lower(offsets) as start_offset,
    upper(offsets) as end_offset
from joined
order by
    partition,
    start_offset;

-- name: last_refusal
select
    failure_id,
    failed_at,
    error
from microbatch.failure
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and error like 'TooManyRejectedError:%%'
order by failure_id desc
limit 1;

-- name: insert_accepted_rejects
insert into microbatch.accepted_rejects (decision_id, pipeline_id, topic_id, partition, offsets)
values (
    %(decision_id)s,
    %(pipeline_id)s,
    %(topic_id)s,
    %(partition)s,
    int8range(%(start_offset)s, %(end_offset)s)
);
