-- Which pipelines there are, and how they fare.

-- name: registered
select
    p.pipeline_id,
    p.name,
    coalesce(latest.dag_id, p.name) as dag_id,
    p.source_topic,
    p.definition
from microbatch.pipeline as p
left join lateral (
    select b.dag_id
    from microbatch.batch as b
    where
        b.pipeline_id = p.pipeline_id
        and b.dag_id is not null
    order by b.batch_id desc
    limit 1
) as latest on true
where p.deployment = %(deployment)s
order by p.name;
