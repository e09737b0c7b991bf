-- Named queries of redrive: dead letters that go back to their topic.

-- name: waiting_rejects
-- Rejects that could be sent again, wherever their messages are.
select count(*)
from microbatch.reject as r
where
    r.pipeline_id = %(pipeline_id)s
    and not r.resolved
    and strpos(lower(r.reason), lower(%(rejected_for)s)) > 0
    and not exists (
        select
        from microbatch.redriven as d
        where (d.pipeline_id, d.topic_id, d.partition, d."offset") = (r.pipeline_id, r.topic_id, r.partition, r."offset")
    );

-- name: rejects_of
-- The rejects that some dead letters stand for, with the letter's place in the list. A letter belongs to a reject by its
-- batch, or the archive that this has become a part of, for topics may have been recreated; one that another ledger has
-- sent, if a person's decision says so.
select
    letter.place,
    r.topic_id,
    r.partition,
    r."offset",
    r.reason,
    d.decision_id is not null as is_redriven
from unnest(%(partitions)s::bigint[], %(offsets)s::bigint[], %(batches)s::bigint[])
    with ordinality as letter (partition, "offset", batch_id, place)
join microbatch.partition_progress as g
    on
        g.pipeline_id = %(pipeline_id)s
        and g.partition = letter.partition
join microbatch.reject as r
    on
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r."offset" = letter."offset"
left join microbatch.redriven as d
    on
        d.pipeline_id = r.pipeline_id
        and d.topic_id = r.topic_id
        and d.partition = r.partition
        and d."offset" = r."offset"
where
    not r.resolved
    and strpos(lower(r.reason), lower(%(rejected_for)s)) > 0
    and (
        r.batch_id = letter.batch_id
        or exists (
            select
            from microbatch.batch as b
            where
                b.batch_id = r.batch_id
                and b.batch_ids @> letter.batch_id
        )
        or exists (
            select
            from microbatch.already_sent as a
            where
                a.pipeline_id = r.pipeline_id
                and a.topic = %(letters)s
                and a.topic_id = r.topic_id
                and a.partition = r.partition
                and a."offset" = r."offset"
        )
    )
order by letter.place;

-- name: letters_set_aside
-- Dead letters that their topic does not take.
select
    publication,
    position
from microbatch.set_aside
where
    pipeline_id = %(pipeline_id)s
    and topic = %(letters)s
order by
    publication,
    position;

-- name: letter_set_aside
select payload
from microbatch.set_aside
where
    pipeline_id = %(pipeline_id)s
    and publication = %(publication)s
    and position = %(position)s;

-- name: letters_unsent
select exists (
    select
    from microbatch.outbox_segment
    where
        pipeline_id = %(pipeline_id)s
        and batch_id is not null
);

-- name: lock_rejecting_batches
-- A redo may accept what was rejected, and has its batch locked: one waits for the other, and so do two redrives.
select b.batch_id
from microbatch.batch as b
where
    b.pipeline_id = %(pipeline_id)s
    and exists (
        select
        from microbatch.reject as r
        where
            r.batch_id = b.batch_id
            and not r.resolved
    )
order by b.batch_id
for update;

-- name: insert_redriven
-- The primary key keeps the promise: each at most once. Gives those that were not sent before.
insert into microbatch.redriven (pipeline_id, topic_id, partition, "offset", decision_id)
select
    %(pipeline_id)s,
    chosen.topic_id,
    chosen.partition,
    chosen."offset",
    %(decision_id)s
from unnest(%(topic_ids)s::uuid[], %(partitions)s::int[], %(offsets)s::bigint[])
    as chosen (topic_id, partition, "offset")
on conflict do nothing
returning
    topic_id,
    partition,
    "offset";

-- name: insert_redriven_segment
insert into microbatch.outbox_segment (pipeline_id, decision_id, messages, payload)
values (%(pipeline_id)s, %(decision_id)s, %(messages)s, %(payload)s);
