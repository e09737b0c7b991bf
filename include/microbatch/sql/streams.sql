-- Templates over the tables of a stream. What stands in braces is composed in stream_tables.py.

-- name: create_rows
create table {rows} (
    source_partition int not null,
    source_offset bigint not null,
    batch_id bigint not null,
    {columns},
    primary key (source_partition, source_offset)
);
comment on table {rows} is {pipeline};
comment on column {rows}.source_partition is 'of the message in the source topic';
comment on column {rows}.source_offset is 'of the message in that partition';
comment on column {rows}.batch_id is 'microbatch.batch that read it';

-- name: create_keys
create table {keys} (
    {key_columns},
    batch_id bigint not null,
    source_partition int not null,
    source_offset bigint not null,
    primary key ({key})
);
comment on table {keys} is 'The first message of each key: later ones with the same key are repeats.';
create index on {keys} (batch_id);

-- name: copy_rows
copy {rows} (source_partition, source_offset, batch_id, {names}) from stdin (format binary);

-- name: create_candidates
create temporary table candidate (like {keys}) on commit drop;

-- name: copy_candidates
copy candidate ({key}, source_partition, source_offset, batch_id) from stdin (format binary);

-- name: book_keys
-- The first that is booked stays; what is there already is a repeat.
insert into {keys} ({key}, source_partition, source_offset, batch_id)
select
    {key},
    source_partition,
    source_offset,
    batch_id
from candidate
on conflict do nothing;

-- name: keys_of_batch
select
    source_partition,
    source_offset
from {keys}
where batch_id = %(batch_id)s;

-- name: take_keys
-- Of two that have the same key, the one in the earlier batch is the first: a redo takes it from a later batch, which
-- has to be redone then. What that one has sent stays sent.
with taken as (
    select k.*
    from {keys} as k
    join candidate as c on ({key_of_c}) = ({key_of_k})
    join microbatch.batch as b on b.batch_id = k.batch_id
    where
        k.batch_id > c.batch_id
        and b.kind <> 'archive'
),

stale as (
    update microbatch.batch as b
    set generation = least(b.generation, p.generation - 1)
    from microbatch.pipeline as p
    where
        p.pipeline_id = b.pipeline_id
        and b.batch_id in (select taken.batch_id from taken)
),

sent as (
    insert into microbatch.already_sent (pipeline_id, topic, topic_id, partition, "offset")
    select
        %(pipeline_id)s,
        %(topic)s,
        %(topic_id)s,
        source_partition,
        source_offset
    from taken
    where %(topic)s::text is not null
    on conflict do nothing
)

delete from {keys} as k
using taken as t
where ({key_of_k}) = ({key_of_t});

-- name: create_passed_before
create temporary table passed_before (partition int, "offset" bigint, primary key (partition, "offset")) on commit drop;

-- name: erase_rows
with erased as (
    delete from {rows}
    where
        source_partition = %(partition)s
        and source_offset >= %(start_offset)s
        and source_offset < %(end_offset)s
    returning
        source_partition,
        source_offset
)

insert into pg_temp.passed_before (partition, "offset")
select
    source_partition,
    source_offset
from erased;

-- name: erase_keys
with erased as (
    delete from {keys}
    where batch_id = %(batch_id)s
    returning
        source_partition,
        source_offset
)

insert into pg_temp.passed_before (partition, "offset")
select
    source_partition,
    source_offset
from erased
on conflict do nothing;
