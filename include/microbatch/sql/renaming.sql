-- Named queries of a rename.

-- name: names
-- Who has these names, now or formerly.
select
    name,
    former_names
from microbatch.pipeline
where
    deployment = %(deployment)s
    and (
        name = any(%(names)s)
        or former_names && %(names)s::text[]
    );

-- name: rename_pipeline
update microbatch.pipeline
set
    name = %(name)s,
    former_names = array_append(array_remove(array_remove(former_names, %(name)s), name), name),
    definition = %(definition)s,
    definition_hash = %(definition_hash)s
where
    pipeline_id = %(pipeline_id)s
    and definition_hash = %(registered_hash)s;

-- name: comment
-- Of a table; results say whose they are.
select obj_description(to_regclass(%(table)s), 'pg_class') as text;

-- name: rename_sink
update microbatch.sink
set name = %(new)s
where
    pipeline_id = %(pipeline_id)s
    and kind = 'table'
    and name = %(old)s;
