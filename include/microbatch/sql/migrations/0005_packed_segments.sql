-- Segments may be compressed: how large their messages are stands beside the payload.
alter table microbatch.outbox_segment add column bytes bigint;
comment on column microbatch.outbox_segment.bytes is 'of its messages; null: as many as the payload has, which is not compressed';

-- Whoever may read the other columns, but not the payload, may read this one.
do $$
declare
    reader record;
begin
    for reader in
        select distinct
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role
        from pg_class as c
        join pg_attribute as t on t.attrelid = c.oid
        cross join lateral aclexplode(t.attacl) as a
        where
            c.oid = 'microbatch.outbox_segment'::regclass
            and t.attname = 'messages'
            and a.grantee <> c.relowner
            and a.privilege_type = 'SELECT'
    loop
        execute format('grant select (bytes) on microbatch.outbox_segment to %s', reader.role);
    end loop;
end $$;
