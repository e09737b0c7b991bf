-- How far the topics are covered that pipelines read.

-- name: covered
select
    p.name as pipeline,
    g.topic_id,
    g.partition,
    g.covered_until
from microbatch.partition_progress as g
join microbatch.pipeline as p using (pipeline_id)
where
    g.pipeline_id = any(%(pipeline_ids)s)
    and g.retired_by is null
order by
    p.name,
    g.partition;
