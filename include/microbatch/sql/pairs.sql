-- Templates over the tables of a pairing. What stands in braces is composed in pair_tables.py.

-- name: create_pairs
create table {pairs} (
    first_value bigint not null,
    first_partition int not null,
    first_offset bigint not null,
    first_batch_id bigint not null,
    second_value bigint not null,
    second_partition int not null,
    second_offset bigint not null,
    batch_id bigint not null,
    primary key (second_partition, second_offset),
    unique (first_partition, first_offset)
);
comment on table {pairs} is {pipeline};
comment on column {pairs}.first_value is 'number of the event that was booked first';
comment on column {pairs}.first_partition is 'of its message in the source topic';
comment on column {pairs}.first_offset is 'of its message in that partition';
comment on column {pairs}.first_batch_id is 'microbatch.batch that read it';
comment on column {pairs}.second_value is 'number of the later event';
comment on column {pairs}.second_partition is 'of its message in the source topic';
comment on column {pairs}.second_offset is 'of its message in that partition';
comment on column {pairs}.batch_id is 'microbatch.batch that read the later event, and paired them';
create index on {pairs} (batch_id);
create index on {pairs} (first_batch_id);

-- name: create_waiting
create table {waiting} (
    value bigint not null,
    batch_id bigint not null,
    kafka_timestamp timestamptz not null,
    source_partition int not null,
    source_offset bigint not null,
    primary key (value, batch_id, kafka_timestamp, source_partition, source_offset)
);
comment on table {waiting} is 'Events that have no partner yet; the oldest gets the next one.';
comment on column {waiting}.value is 'number of the event';
comment on column {waiting}.batch_id is 'microbatch.batch that read it';
comment on column {waiting}.kafka_timestamp is 'of its message';
comment on column {waiting}.source_partition is 'of its message in the source topic';
comment on column {waiting}.source_offset is 'of its message in that partition';
create index on {waiting} (batch_id);

-- name: oldest_waiting
-- Of each number the oldest ones, as many as there can be partners for.
select
    w.value,
    w.batch_id,
    w.kafka_timestamp,
    w.source_partition,
    w.source_offset
from unnest(%(numbers)s::bigint[], %(limits)s::bigint[]) as wanted (value, most)
cross join lateral (
    select
        value,
        batch_id,
        kafka_timestamp,
        source_partition,
        source_offset
    from {waiting}
    where value = wanted.value
    order by
        batch_id,
        kafka_timestamp,
        source_partition,
        source_offset
    limit wanted.most
) as w;

-- name: copy_pairs
copy {pairs} (
    first_value,
    first_partition,
    first_offset,
    first_batch_id,
    second_value,
    second_partition,
    second_offset,
    batch_id
) from stdin (format binary);

-- name: copy_waiting
copy {waiting} (value, batch_id, kafka_timestamp, source_partition, source_offset) from stdin (format binary);

-- name: remove_waiting
delete from {waiting} as w
using
    unnest(
        %(values)s::bigint[],
        %(batches)s::bigint[],
        %(timestamps)s::timestamptz[],
        %(partitions)s::int[],
        %(offsets)s::bigint[]
    ) as matched (value, batch_id, kafka_timestamp, source_partition, source_offset)
where
    (w.value, w.batch_id, w.kafka_timestamp, w.source_partition, w.source_offset)
    = (
        matched.value,
        matched.batch_id,
        matched.kafka_timestamp,
        matched.source_partition,
        matched.source_offset
    );

-- name: events_of_batch
-- What a batch has booked, paired or not.
select
    first_value as value,
    first_partition as source_partition,
    first_offset as source_offset
from {pairs}
where first_batch_id = %(batch_id)s
union all
select
    second_value,
    second_partition,
    second_offset
from {pairs}
where batch_id = %(batch_id)s
union all
select
    value,
    source_partition,
    source_offset
from {waiting}
where batch_id = %(batch_id)s;
