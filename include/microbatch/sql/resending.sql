-- Named queries of a redo, over what passed before it: the temporary table that erase_rows and erase_keys fill.

-- name: forget_passed_rejects
-- Of messages that were rejected once, their rejects say whether their row was sent.
delete from pg_temp.passed_before as b
using microbatch.reject as r
where
    r.batch_id = %(batch_id)s
    and r.topic_id = %(topic_id)s
    and (b.partition, b."offset") = (r.partition, r."offset");

-- name: take_passed_before
delete from pg_temp.passed_before as b
using unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as now (partition, "offset")
where (b.partition, b."offset") = (now.partition, now."offset")
returning
    b.partition,
    b."offset";

-- name: mark_rows_sent
update microbatch.reject as r
set row_sent = true
from unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as now (partition, "offset")
where
    r.pipeline_id = %(pipeline_id)s
    and r.topic_id = %(topic_id)s
    and (r.partition, r."offset") = (now.partition, now."offset");

-- name: mark_passed_rejects
update microbatch.reject as r
set row_sent = true
from pg_temp.passed_before as b
where
    r.batch_id = %(batch_id)s
    and r.topic_id = %(topic_id)s
    and (r.partition, r."offset") = (b.partition, b."offset");

-- name: note_passed_before
-- What is no reject either was filtered, or repeats another message now.
insert into microbatch.already_sent (pipeline_id, topic, topic_id, partition, "offset")
select
    %(pipeline_id)s,
    %(topic)s,
    %(topic_id)s,
    b.partition,
    b."offset"
from pg_temp.passed_before as b
where not exists (
    select
    from microbatch.reject as r
    where
        r.pipeline_id = %(pipeline_id)s
        and r.topic_id = %(topic_id)s
        and (r.partition, r."offset") = (b.partition, b."offset")
)
on conflict do nothing;
