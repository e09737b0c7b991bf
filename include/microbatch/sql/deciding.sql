-- Named queries of the ways out: what a person decides.

-- name: known_pipeline
select
    pipeline_id,
    name,
    deployment,
    ledger,
    cluster_id,
    source_topic,
    former_names,
    definition,
    definition_hash
from microbatch.pipeline
where
    deployment = %(deployment)s
    and name = %(name)s;

-- name: known_names
select name
from microbatch.pipeline
where deployment = %(deployment)s
order by name;

-- name: record_decision
insert into microbatch.decision (pipeline_id, kind, details, reason, decided_by)
values (%(pipeline_id)s, %(kind)s, %(details)s, %(reason)s, %(by)s)
returning decision_id;
