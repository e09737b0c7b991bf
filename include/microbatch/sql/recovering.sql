-- Named queries of `microbatch recover`.

-- name: log
-- The Kafka and the source that are read.
select
    p.cluster_id,
    g.topic_id
from microbatch.pipeline as p
join microbatch.partition_progress as g using (pipeline_id)
where
    p.pipeline_id = %(pipeline_id)s
    and g.retired_by is null
limit 1;

-- name: covered
-- Of each partition that is read: the end of what is covered without a gap, the end of what is covered at all, and how
-- many offsets the last look saw that are not covered.
select
    g.partition,
    g.first_offset,
    g.covered_until,
    greatest(g.covered_until, above.highest) as highest,
    (
        select coalesce(sum(upper(hole.offsets) - lower(hole.offsets)), 0)::bigint
        from unnest(
            int8multirange(int8range(g.covered_until, greatest(g.covered_until, g.looked_at_end)))
            - coalesce(above.offsets, '{}')
        ) as hole (offsets)
    ) as unread
from microbatch.partition_progress as g
cross join lateral (
    select
        max(upper(r.offsets)) as highest,
        range_agg(r.offsets) as offsets
    from microbatch.offset_range as r
    where
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && int8range(g.covered_until, null)
) as above
where
    g.pipeline_id = %(pipeline_id)s
    and g.retired_by is null
order by g.partition;

-- name: column_types
select
    attname,
    format_type(atttypid, atttypmod) as type
from pg_attribute
where
    attrelid = to_regclass(%(table)s)
    and attnum > 0
    and not attisdropped;

-- name: retire_log
-- Nothing waits any more for what was not read of it.
update microbatch.partition_progress
set retired_by = %(decision_id)s
where
    pipeline_id = %(pipeline_id)s
    and retired_by is null;

-- name: forget_reach
-- History of a log that is retired is not filled any more.
delete from microbatch.reach
where pipeline_id = %(pipeline_id)s;

-- name: read_log
-- A log that was retired before is read on from where it was.
insert into microbatch.partition_progress (pipeline_id, topic_id, partition, first_offset, covered_until)
values (%(pipeline_id)s, %(topic_id)s, %(partition)s, %(first_offset)s, %(first_offset)s)
on conflict (pipeline_id, topic_id, partition) do update
set retired_by = null;

-- name: set_cluster
update microbatch.pipeline
set cluster_id = %(cluster_id)s
where pipeline_id = %(pipeline_id)s;

-- name: unsent_results
-- Where the messages of results are that still have to be sent.
select segment_id
from microbatch.outbox_segment
where
    pipeline_id = %(pipeline_id)s
    and merge_id is not null
order by segment_id;

-- name: delete_segment
delete from microbatch.outbox_segment
where segment_id = %(segment_id)s;

-- name: publish_again
-- A publication after all that have a number.
with published as (
    update microbatch.publisher
    set last_publication = last_publication + 1
    where pipeline_id = %(pipeline_id)s
    returning last_publication
)

insert into microbatch.outbox_segment (pipeline_id, decision_id, number, messages, payload)
select
    %(pipeline_id)s,
    %(decision_id)s,
    last_publication,
    %(messages)s,
    %(payload)s
from published;

-- name: create_found_results
-- What the result topics have, until the session ends.
create temporary table found_result (
    topic text not null,
    key text not null,
    value text,
    revision int not null,
    window_end timestamptz not null
);

-- name: copy_found_results
copy found_result (topic, key, value, revision, window_end) from stdin (format binary);

-- name: create_found_places
-- The source messages whose rows and dead letters are on their topics, until the session ends.
create temporary table found_place (
    topic text not null,
    partition int not null,
    "offset" bigint not null
);

-- name: copy_found_places
copy found_place (topic, partition, "offset") from stdin (format binary);

-- name: index_found_places
create index on found_place (topic, partition, "offset");

-- name: create_unsent_results
-- Revisions that were numbered here and never sent.
create temporary table unsent_result (
    topic text not null,
    key text not null,
    revision int not null
);

-- name: copy_unsent_results
copy unsent_result (topic, key, revision) from stdin (format binary);

-- name: insert_already_sent
insert into microbatch.already_sent (pipeline_id, topic, topic_id, partition, "offset", decision_id)
select distinct
    %(pipeline_id)s::int,
    topic,
    %(topic_id)s::uuid,
    partition,
    "offset",
    %(decision_id)s::bigint
from found_place
where topic <> %(source)s
on conflict do nothing;

-- name: insert_redriven
insert into microbatch.redriven (pipeline_id, topic_id, partition, "offset", decision_id)
select distinct
    r.pipeline_id,
    r.topic_id,
    r.partition,
    r."offset",
    %(decision_id)s::bigint
from found_place as f
join microbatch.reject as r
    on
        r.pipeline_id = %(pipeline_id)s
        and r.topic_id = %(topic_id)s
        and r.partition = f.partition
        and r."offset" = f."offset"
where f.topic = %(source)s
on conflict do nothing;

-- name: take_numbers
-- Whatever waits to be sent gets its number anew.
update microbatch.outbox_segment
set number = null
where pipeline_id = %(pipeline_id)s;

-- name: segments
select segment_id
from microbatch.outbox_segment
where pipeline_id = %(pipeline_id)s
order by segment_id;

-- name: segment_payload
select payload
from microbatch.outbox_segment
where segment_id = %(segment_id)s;

-- name: found_among
select
    topic,
    partition,
    "offset"
from unnest(%(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[]) as wanted (topic, partition, "offset")
join found_place using (topic, partition, "offset");

-- name: shorten_segment
update microbatch.outbox_segment
set
    messages = %(messages)s,
    bytes = null,
    payload = %(payload)s
where segment_id = %(segment_id)s;

-- name: set_publisher
update microbatch.publisher
set
    cursor = %(number)s,
    last_publication = %(number)s,
    intent = null
where pipeline_id = %(pipeline_id)s;

-- name: insert_adoption
insert into microbatch.merge (pipeline_id, closed_until, complete_from, merged_at, decision_id)
select
    pipeline_id,
    coalesce(closed_until, '-infinity'),
    complete_from,
    clock_timestamp(),
    %(decision_id)s
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s
returning
    merge_id,
    merged_at;

-- name: close_as_published
-- What was published as final stays final.
update microbatch.pipeline
set closed_until = greatest(closed_until, %(closed_until)s)
where pipeline_id = %(pipeline_id)s;

-- name: add_former_ledger
update microbatch.pipeline
set former_ledgers = array_append(array_remove(former_ledgers, %(ledger)s::uuid), %(ledger)s::uuid)
where pipeline_id = %(pipeline_id)s;

-- name: move_ranges
update microbatch.offset_range
set topic_id = %(retired_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;

-- name: move_rejects
update microbatch.reject
set topic_id = %(retired_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;

-- name: move_accepted_rejects
update microbatch.accepted_rejects
set topic_id = %(retired_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;

-- name: move_already_sent
update microbatch.already_sent
set topic_id = %(retired_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;

-- name: move_segments
update microbatch.outbox_segment
set topic_id = %(retired_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;

-- name: retire_partition
update microbatch.partition_progress
set
    topic_id = %(retired_id)s,
    retired_by = %(decision_id)s
where
    pipeline_id = %(pipeline_id)s
    and topic_id = %(topic_id)s
    and partition = %(partition)s;
