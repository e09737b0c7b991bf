-- Named queries of maintenance.

-- name: registered
select name
from microbatch.pipeline
where deployment = %(deployment)s
order by name;

-- name: longest_redo
select max(keep_contributions) as longest
from microbatch.pipeline
where deployment = %(deployment)s;

-- name: keep
select
    keep_contributions,
    keep_history,
    keep_rows
from microbatch.pipeline
where pipeline_id = %(pipeline_id)s;

-- name: tables_of
-- Those of a pipeline, and those of the ledger, which all pipelines share.
select
    n.nspname,
    c.relname
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where
    c.relkind in ('r', 'p')
    and (
        n.nspname = 'microbatch'
        or n.nspname || '.' || c.relname in (
            select s.name
            from microbatch.sink as s
            where
                s.pipeline_id = %(pipeline_id)s
                and s.kind = 'table'
        )
    )
order by
    n.nspname,
    c.relname;
