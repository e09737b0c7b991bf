-- Named queries over the outbox: numbering, intending, marking.

-- name: closing
-- What merge may close: the least caught_up_to over all partitions that are read; one without a value blocks.
select
    p.closed_until as closed_before,
    case
        when count(*) filter (where g.caught_up_to is null) > 0 then p.closed_until
        else greatest(p.closed_until, min(g.caught_up_to))
    end as closed_until
from microbatch.pipeline as p
left join microbatch.partition_progress as g
    on
        g.pipeline_id = p.pipeline_id
        and g.retired_by is null
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

-- name: plan_by_index
-- Until the transaction ends, rows are found by index, however many. Without statistics, as after a restore, PostgreSQL
-- would read whole tables: 7 s for a merge of four results beside two years of them. For a million it is all the same.
select
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true);

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
    pipeline_id, batch_id, topic_id, partition, start_offset, messages, bytes, payload
)
values (
    %(pipeline_id)s,
    %(batch_id)s,
    %(topic_id)s,
    %(partition)s,
    %(start_offset)s,
    %(messages)s,
    %(bytes)s,
    %(payload)b
);

-- name: insert_result_segment
insert into microbatch.outbox_segment (pipeline_id, merge_id, messages, payload)
values (%(pipeline_id)s, %(merge_id)s, %(messages)s, %(payload)s);

-- name: number_segments
-- Each segment gets its place: what batches left, then results, then what was redriven. A batch's segment with a gap
-- below it waits, so that a partition's order is kept (no gap of a retired log is ever filled); segments and gaps are read in one snapshot, so in one statement.
with ready as (
    select
        s.segment_id,
        row_number() over (
            order by
                s.decision_id nulls first,
                s.merge_id nulls first,
                g.retired_by nulls last,
                s.partition,
                s.start_offset,
                s.segment_id
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
        and (s.batch_id is null or s.start_offset < g.covered_until or g.retired_by is not null)
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

-- name: redriven
-- Whether dead letters were ever sent to the source again; and of those that are not marked as sent, where the source
-- ended when that was decided.
select
    exists (
        select
        from microbatch.decision
        where
            pipeline_id = %(pipeline_id)s
            and kind = 'redrive'
    ) as has_redriven,
    (
        select d.details -> 'source_ends'
        from microbatch.outbox_segment as s
        join microbatch.decision as d using (decision_id)
        where s.pipeline_id = %(pipeline_id)s
        order by s.decision_id
        limit 1
    ) as source_ends;

-- name: publisher
select
    cursor,
    intent,
    last_publication
from microbatch.publisher
where pipeline_id = %(pipeline_id)s;

-- name: former
-- Names that it had; of other ledgers, up to which publication it has adopted their messages; ledgers of others here.
select
    p.former_names,
    (
        select coalesce(jsonb_object_agg(adopted.ledger, adopted.publication), '{}')
        from (
            select
                d.details ->> 'ledger' as ledger,
                max((d.details ->> 'publication')::bigint) as publication
            from microbatch.decision as d
            where
                d.pipeline_id = p.pipeline_id
                and d.details ->> 'ledger' = any(p.former_ledgers::text[])
            group by d.details ->> 'ledger'
        ) as adopted
    ) as former_ledgers,
    array(
        select other.ledger::text
        from microbatch.pipeline as other
        where other.pipeline_id <> p.pipeline_id
    ) as neighbours
from microbatch.pipeline as p
where p.pipeline_id = %(pipeline_id)s;

-- name: positions
-- The contiguous covered end of each partition: what the group's committed offsets say.
select
    partition,
    covered_until
from microbatch.partition_progress
where
    pipeline_id = %(pipeline_id)s
    and retired_by is null
order by partition;

-- name: waiting_publications
-- The next ones in their order, and how large they are.
select
    number,
    messages,
    coalesce(bytes, octet_length(payload)) as bytes
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

-- name: left
-- After sending: segments that wait for a gap below them, final days that are still to be told, and what the run's own
-- batches hold.
select
    (
        select count(*)
        from microbatch.outbox_segment
        where
            pipeline_id = %(pipeline_id)s
            and number is null
    ) as waiting,
    (
        select count(*)
        from microbatch.final_day
        where pipeline_id = %(pipeline_id)s
    ) as untold,
    (
        select coalesce(sum(messages - rejected - repeated - filtered), 0)::bigint
        from microbatch.batch
        where
            pipeline_id = %(pipeline_id)s
            and (
                (dag_id, run_id) = (%(dag_id)s, %(run_id)s)
                or (redo_dag_id, redo_run_id) = (%(dag_id)s, %(run_id)s)
            )
    ) as stored;

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
