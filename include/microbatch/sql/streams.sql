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

-- name: erase_rows
delete from {rows}
where
    source_partition = %(partition)s
    and source_offset >= %(start_offset)s
    and source_offset < %(end_offset)s;

-- name: erase_keys
delete from {keys}
where batch_id = %(batch_id)s;
