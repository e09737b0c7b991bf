-- Beside what `microbatch explain` asks. What stands in braces is composed in numbers.py.

-- name: ranges_of_batches
select
    r.batch_id,
    b.shard,
    r.topic_id,
    r.partition,
    lower(r.offsets) as start,
    upper(r.offsets) as "end"
from microbatch.offset_range as r
join microbatch.batch as b using (batch_id)
where r.batch_id = any(%(batches)s)
order by
    r.batch_id,
    r.partition,
    start;

-- name: total_of_contributions
-- The sum of what there is now, as a merge makes it.
select {totals}
from {contribution} as c
where
    c.window_start = %(window_start)s
    and ({key}) = ({values});
