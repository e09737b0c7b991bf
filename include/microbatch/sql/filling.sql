-- Named queries over gaps: which runs would fill them.

-- name: gaps_to_fill
-- With the time from which an interval has to be read so that it meets the gap: some interval below it was read before.
select
    p.name as pipeline,
    h.topic,
    h.partition,
    h.end_offset,
    case
        when h.start_offset < g.first_offset
            then least(
                (
                    select min(b.interval_start)
                    from microbatch.offset_range as r
                    join microbatch.batch as b using (batch_id)
                    where
                        r.pipeline_id = g.pipeline_id
                        and r.topic_id = g.topic_id
                        and r.partition = g.partition
                        and r.offsets << int8range(h.start_offset, null)
                ),
                (
                    select min(s.complete_from)
                    from microbatch.reach as s
                    where
                        s.pipeline_id = g.pipeline_id
                        and s.topic_id = g.topic_id
                        and s.partition = g.partition
                )
            )
    end as since
from microbatch.gap as h
join microbatch.pipeline as p
    on
        p.deployment = h.deployment
        and p.name = h.pipeline
join microbatch.partition_progress as g
    on
        g.pipeline_id = p.pipeline_id
        and g.partition = h.partition
        and g.retired_by is null
where h.deployment = %(deployment)s
order by
    p.name,
    h.partition,
    h.start_offset;
