-- What a run would do again.

-- name: batches
select
    b.batch_id,
    b.batch_time,
    b.messages,
    (
        select
            string_agg(
                format('[%%s] %%s to %%s', r.partition, lower(r.offsets), upper(r.offsets) - 1),
                ', '
                order by r.partition, r.offsets
            )
        from microbatch.offset_range as r
        where r.batch_id = b.batch_id
    ) as ranges
from microbatch.batch as b
where b.batch_id = any(%(batches)s)
order by b.batch_id;

-- name: messages
select coalesce(sum(b.messages), 0)::bigint as messages
from microbatch.batch as b
where b.batch_id = any(%(batches)s);
