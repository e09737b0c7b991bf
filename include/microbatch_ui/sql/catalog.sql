-- What the SQL page knows of the database, and what it asks around the query of a person.

-- name: set_search_path
select set_config('search_path', 'public', true);

-- name: names_of_types
select format_type(t.oid, t.modifier) as name
from unnest(%(oids)s::oid[], %(modifiers)s::int[]) with ordinality as t (oid, modifier, place)
order by t.place;

-- name: relations
-- What the role may read, with the functions that are used like tables. Of columns those that it may read.
select
    n.nspname as schema,
    c.relname as name,
    case when c.relkind in ('v', 'm') then 'view' else 'table' end as kind,
    obj_description(c.oid, 'pg_class') as comment,
    columns.columns
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
cross join lateral (
    select
        json_agg(
            json_build_object(
                'name', a.attname,
                'type', format_type(a.atttypid, a.atttypmod),
                'comment', col_description(c.oid, a.attnum)
            )
            order by a.attnum
        ) as columns
    from pg_attribute as a
    where
        a.attrelid = c.oid
        and a.attnum > 0
        and not a.attisdropped
        and has_column_privilege(c.oid, a.attnum, 'select')
) as columns
where
    c.relkind in ('r', 'p', 'v', 'm', 'f')
    and not c.relispartition
    and n.nspname !~ '^(pg_|information_schema$)'
    and has_schema_privilege(n.oid, 'usage')
    and columns.columns is not null
union all
select
    n.nspname,
    f.proname,
    'function',
    obj_description(f.oid, 'pg_proc'),
    columns.columns
from pg_proc as f
join pg_namespace as n on n.oid = f.pronamespace
join pg_type as t on t.oid = f.prorettype
cross join lateral (
    select
        json_agg(
            json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
            order by a.attnum
        ) as columns
    from pg_attribute as a
    where
        a.attrelid = t.typrelid
        and a.attnum > 0
        and not a.attisdropped
) as columns
where
    f.proretset
    and f.proname like '%%\_as\_of'
    and n.nspname !~ '^(pg_|information_schema$)'
    and has_schema_privilege(n.oid, 'usage')
    and has_function_privilege(f.oid, 'execute')
    and columns.columns is not null
order by
    schema,
    name
limit %(most)s;

-- name: quoted_names
select quote_ident(name) as quoted
from unnest(%(names)s::text[]) with ordinality as t (name, place)
order by t.place;
