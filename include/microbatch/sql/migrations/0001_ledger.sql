-- The ledger: which offsets were read by which batch, what was published from them, and how far.

create extension if not exists btree_gist;

create table microbatch.pipeline (
    pipeline_id int primary key generated always as identity,
    deployment text not null,
    name text not null,
    -- Names this ledger in Kafka: drawn once, so that a restored or recreated Postgres is noticed.
    ledger uuid not null default gen_random_uuid(),
    cluster_id text not null,
    source_topic text not null,
    definition jsonb not null,
    definition_hash text not null,
    -- Windows that end at or before it are closed. Null: none is. Never goes back.
    closed_until timestamptz,
    -- Windows that start at or after it are complete once they are closed. Only goes back.
    complete_from timestamptz not null default '-infinity',
    registered_at timestamptz not null default now(),
    unique (deployment, name)
);
comment on table microbatch.pipeline is 'One row per registered pipeline.';
comment on column microbatch.pipeline.closed_until is 'windows that end at or before it are closed';
comment on column microbatch.pipeline.complete_from is 'no window that starts before it is ever final';

create table microbatch.sink (
    pipeline_id int not null references microbatch.pipeline,
    kind text not null check (kind in ('table', 'results', 'dead letters')),
    name text not null,
    -- Counted once, so that a source partition always goes to the same sink partition. Null for tables.
    partitions int,
    primary key (pipeline_id, kind, name)
);
comment on table microbatch.sink is 'What a pipeline writes. A table or result topic belongs to one pipeline.';
create unique index sink_table_has_one_owner on microbatch.sink (name) where kind = 'table';
create unique index sink_topic_has_one_owner on microbatch.sink (name) where kind = 'results';

create table microbatch.partition_progress (
    pipeline_id int not null references microbatch.pipeline,
    topic_id uuid not null,
    partition int not null,
    first_offset bigint not null,
    -- The end of what is covered without a gap from first_offset on.
    covered_until bigint not null,
    -- Nothing below the high watermark that was looked at for this time is uncovered.
    caught_up_to timestamptz,
    primary key (pipeline_id, topic_id, partition),
    check (covered_until >= first_offset)
);
comment on table microbatch.partition_progress is 'Where each source partition begins, and how far it is covered.';

create table microbatch.batch (
    batch_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    shard int not null,
    kind text not null,
    dag_id text,
    run_id text,
    interval_start timestamptz,
    interval_end timestamptz,
    -- The one "now" that computing may use.
    batch_time timestamptz not null,
    definition_hash text not null,
    messages bigint not null default 0,
    rejected bigint not null default 0,
    committed_at timestamptz,
    constraint batch_is_whole check (rejected <= messages)
);
comment on table microbatch.batch is 'One unit of work: offset ranges, and all that was computed from them.';
create index batch_of_pipeline on microbatch.batch (pipeline_id, batch_id);

create table microbatch.offset_range (
    batch_id bigint not null references microbatch.batch,
    pipeline_id int not null references microbatch.pipeline,
    topic text not null,
    topic_id uuid not null,
    partition int not null,
    offsets int8range not null check (not isempty(offsets)),
    messages bigint not null default 0,
    rejected bigint not null default 0,
    -- The database itself refuses to count an offset twice.
    constraint offset_counts_once exclude using gist (
        pipeline_id with =,
        topic_id with =,
        partition with =,
        offsets with &&
    )
);
comment on table microbatch.offset_range is 'The offsets [start, end) of a partition that a batch has read.';
create index offset_range_of_batch on microbatch.offset_range (batch_id);

create table microbatch.run (
    pipeline_id int not null references microbatch.pipeline,
    dag_id text not null,
    run_id text not null,
    shard int not null,
    -- Airflow's: 0 in a run's first life, +1 each time that it is cleared.
    clear_number int not null,
    -- Offsets below the looked-at ends that it left for the next run.
    behind bigint not null,
    completed_at timestamptz not null default clock_timestamp(),
    primary key (pipeline_id, dag_id, run_id, shard, clear_number)
);
comment on table microbatch.run is 'Runs whose consume task has completed.';

create table microbatch.touched (
    touched_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    -- The result table of the output.
    output text not null,
    batch_id bigint not null references microbatch.batch,
    window_start timestamptz not null
);
comment on table microbatch.touched is 'Windows to which a batch has contributed and that merge has not seen yet.';
create index touched_of_pipeline on microbatch.touched (pipeline_id);

create table microbatch.reject (
    pipeline_id int not null references microbatch.pipeline,
    topic_id uuid not null,
    partition int not null,
    "offset" bigint not null,
    batch_id bigint not null references microbatch.batch,
    reason text not null,
    primary key (pipeline_id, topic_id, partition, "offset")
);
comment on table microbatch.reject is 'One row per rejected offset; the message itself is in the dead-letter topic.';
create index reject_of_batch on microbatch.reject (batch_id);

create table microbatch.failure (
    failure_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    shard int not null,
    dag_id text,
    run_id text,
    ranges jsonb not null,
    messages bigint not null,
    rejected bigint not null,
    error text not null,
    failed_at timestamptz not null default clock_timestamp()
);
comment on table microbatch.failure is 'Batches that failed and stored nothing.';
create index failure_of_pipeline on microbatch.failure (pipeline_id, failure_id);

create table microbatch.merge (
    merge_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    dag_id text,
    run_id text,
    closed_until timestamptz not null,
    complete_from timestamptz not null,
    merged_at timestamptz not null
);
comment on table microbatch.merge is 'Merges that published something. History rows name theirs.';
create index merge_of_pipeline on microbatch.merge (pipeline_id, merge_id);

create table microbatch.outbox_segment (
    segment_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    -- What it comes from: a batch's range of a source partition, or a merge.
    batch_id bigint references microbatch.batch,
    topic_id uuid,
    partition int,
    start_offset bigint,
    merge_id bigint references microbatch.merge,
    -- Its place as a publication, given by merge. Null: it waits for merge, or for a gap below it.
    number bigint,
    messages int not null,
    payload bytea not null,
    unique (pipeline_id, number),
    check (num_nonnulls(batch_id, merge_id) = 1),
    check (num_nonnulls(batch_id, topic_id, partition, start_offset) in (0, 4))
);
comment on table microbatch.outbox_segment is 'Encoded messages that still have to reach Kafka.';
-- Payloads are sent once and deleted: compressing them costs more than it saves. Numbering leaves them where they are.
alter table microbatch.outbox_segment alter column payload set storage external;
create index outbox_segment_to_number on microbatch.outbox_segment (pipeline_id) where number is null;

create table microbatch.publisher (
    pipeline_id int primary key references microbatch.pipeline,
    -- The highest number given to a publication.
    last_publication bigint not null default 0,
    -- The last publication that is marked as sent.
    cursor bigint not null default 0,
    -- The last publication that is about to be sent.
    intent bigint,
    check (cursor <= last_publication),
    check (intent > cursor and intent <= last_publication)
);
comment on table microbatch.publisher is 'How far the outbox has been sent.';

create table microbatch.set_aside (
    pipeline_id int not null references microbatch.pipeline,
    publication bigint not null,
    position int not null,
    topic text not null,
    error text not null,
    -- The message, whole, encoded as in a segment.
    payload bytea not null,
    set_aside_at timestamptz not null default clock_timestamp(),
    primary key (pipeline_id, publication, position)
);
comment on table microbatch.set_aside is 'Messages that the broker refuses.';

create view microbatch.gap as
select
    p.deployment,
    p.name as pipeline,
    p.source_topic as topic,
    g.partition,
    lower(hole.offsets) as start_offset,
    upper(hole.offsets) as end_offset
from microbatch.partition_progress as g
join microbatch.pipeline as p using (pipeline_id)
cross join lateral (
    select
        int8multirange(int8range(g.covered_until, max(upper(r.offsets))))
        - range_agg(r.offsets) as holes
    from microbatch.offset_range as r
    where
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && int8range(g.covered_until, null)
) as uncovered
cross join lateral unnest(uncovered.holes) as hole (offsets);
comment on view microbatch.gap is 'Offsets that were stepped over below the highest covered one: the next run reads them.';

create view microbatch.freshness as
select
    p.deployment,
    p.name as pipeline,
    p.closed_until as complete_until,
    now() - p.closed_until as behind_by,
    f.failed_at as last_failure_at,
    f.error as last_error
from microbatch.pipeline as p
left join lateral (
    select
        failure.failed_at,
        failure.error
    from microbatch.failure
    where failure.pipeline_id = p.pipeline_id
    order by failure.failure_id desc
    limit 1
) as f on true;
comment on view microbatch.freshness is 'Up to when each pipeline is complete, and its last error.';
