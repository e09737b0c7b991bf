-- Named queries of a rebuild.

-- name: pipeline_to_rebuild
select
    definition,
    definition_hash,
    generation
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: batches_to_rebuild
-- All batches with their ranges; current are those that the definition which is to be has computed.
select
    b.batch_id,
    b.shard,
    b.kind,
    b.batch_time,
    b.messages,
    array_agg(r.partition order by r.partition, r.offsets) as partitions,
    array_agg(lower(r.offsets) order by r.partition, r.offsets) as start_offsets,
    array_agg(upper(r.offsets) order by r.partition, r.offsets) as end_offsets,
    (b.generation, b.definition_hash) = (%(generation)s, %(definition_hash)s) as is_current,
    bool_or(r.topic_id <> %(topic_id)s) as is_retired
from microbatch.batch as b
join microbatch.offset_range as r using (batch_id)
where b.pipeline_id = %(pipeline_id)s
group by b.batch_id
order by b.batch_id;

-- name: raise_definition
update microbatch.pipeline
set
    definition = %(definition)s,
    definition_hash = %(definition_hash)s,
    generation = %(generation)s
where pipeline_id = %(pipeline_id)s;
