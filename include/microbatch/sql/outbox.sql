-- Named queries over the outbox: numbering, intending, marking.

-- name: closing
-- What merge may close: the least caught_up_to over all partitions; one without a value blocks.
select
    p.closed_until as closed_before,
    case
        when count(*) filter (where g.caught_up_to is null) > 0 then p.closed_until
        else greatest(p.closed_until, min(g.caught_up_to))
    end as closed_until
from microbatch.pipeline as p
left join microbatch.partition_progress as g using (pipeline_id)
where p.pipeline_id = %(pipeline_id)s
group by p.pipeline_id;

-- name: close_windows
update microbatch.pipeline
set closed_until = %(closed_until)s
where pipeline_id = %(pipeline_id)s;

-- name: take_touched
delete from microbatch.touched
where pipeline_id = %(pipeline_id)s
returning
    output,
    batch_id,
    window_start;

-- name: insert_merge
insert into microbatch.merge (pipeline_id, dag_id, run_id, closed_until, complete_from, merged_at)
select
    pipeline_id,
    %(dag_id)s,
    %(run_id)s,
    coalesce(closed_until, '-infinity'),
    complete_from,
    clock_timestamp()
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s
returning
    merge_id,
    merged_at;

-- name: delete_merge
-- A merge that published nothing leaves no trace.
delete from microbatch.merge
where merge_id = %(merge_id)s;

-- name: insert_batch_segment
insert into microbatch.outbox_segment (
    pipeline_id, batch_id, topic_id, partition, start_offset, messages, payload
)
values (
    %(pipeline_id)s,
    %(batch_id)s,
    %(topic_id)s,
    %(partition)s,
    %(start_offset)s,
    %(messages)s,
    %(payload)s
);

-- name: insert_result_segment
insert into microbatch.outbox_segment (pipeline_id, merge_id, messages, payload)
values (%(pipeline_id)s, %(merge_id)s, %(messages)s, %(payload)s);

-- name: number_segments
-- Each segment gets its place, results after what batches left. A segment with a gap below it waits, so
-- that a partition's order is kept; segments and gaps are read in one snapshot, so in one statement.
with ready as (
    select
        s.segment_id,
        row_number() over (
            order by s.merge_id nulls first, s.partition, s.start_offset, s.segment_id
        ) as place
    from microbatch.outbox_segment as s
    left join microbatch.partition_progress as g
        on
            g.pipeline_id = s.pipeline_id
            and g.topic_id = s.topic_id
            and g.partition = s.partition
    where
        s.pipeline_id = %(pipeline_id)s
        and s.number is null
        and (s.merge_id is not null or s.start_offset < g.covered_until)
),

numbered as (
    update microbatch.outbox_segment as s
    set number = p.last_publication + ready.place
    from ready
    join microbatch.publisher as p on p.pipeline_id = %(pipeline_id)s
    where s.segment_id = ready.segment_id
    returning s.number
)

update microbatch.publisher
set last_publication = (select max(number) from numbered)
where
    pipeline_id = %(pipeline_id)s
    and exists (select from numbered);

-- name: publisher
select
    cursor,
    intent,
    last_publication
from microbatch.publisher
where pipeline_id = %(pipeline_id)s;

-- name: former_names
select former_names
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: positions
-- The contiguous covered end of each partition: what the group's committed offsets say.
select
    partition,
    covered_until
from microbatch.partition_progress
where pipeline_id = %(pipeline_id)s
order by partition;

-- name: waiting_publications
-- The next ones in their order, and how large they are.
select
    number,
    messages,
    octet_length(payload) as bytes
from microbatch.outbox_segment
where
    pipeline_id = %(pipeline_id)s
    and number > 0
order by number
limit 1000;

-- name: publications
select
    number,
    payload
from microbatch.outbox_segment
where
    pipeline_id = %(pipeline_id)s
    and number <= %(last)s
order by number;

-- name: intend
update microbatch.publisher
set intent = %(number)s
where pipeline_id = %(pipeline_id)s;

-- name: mark
with sent as (
    delete from microbatch.outbox_segment
    where
        pipeline_id = %(pipeline_id)s
        and number <= %(number)s
)

update microbatch.publisher
set
    cursor = %(number)s,
    intent = null
where pipeline_id = %(pipeline_id)s;

-- name: set_aside
-- It may be there already, if the Kafka transaction without it was not committed then.
insert into microbatch.set_aside (pipeline_id, publication, position, topic, error, payload)
values (%(pipeline_id)s, %(publication)s, %(position)s, %(topic)s, %(error)s, %(payload)s)
on conflict do nothing;

-- name: outbox_waiting
-- Segments that wait for a gap below them.
select count(*)
from microbatch.outbox_segment
where
    pipeline_id = %(pipeline_id)s
    and number is null;

-- name: cluster_id
select cluster_id
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: run_ended_behind
select exists (
    select
    from microbatch.run
    where
        pipeline_id = %(pipeline_id)s
        and dag_id = %(dag_id)s
        and run_id = %(run_id)s
        and behind > 0
);
