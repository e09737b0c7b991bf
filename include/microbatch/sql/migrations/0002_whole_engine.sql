-- What streams, pairs, interval runs, redone batches and changed definitions need.

create schema if not exists microbatch_topic;
comment on schema microbatch_topic is 'State of outputs that go to a topic and have no table.';

-- Sinks: a table is named with its schema; all topics but those of dead letters have one owner.
drop index microbatch.sink_topic_has_one_owner;
alter table microbatch.sink drop constraint sink_kind_check;
update microbatch.sink
set name = 'public.' || name
where kind = 'table';
update microbatch.sink
set kind = 'messages'
where kind = 'results';
alter table microbatch.sink add constraint sink_kind_check check (kind in ('table', 'messages', 'dead letters'));
create unique index sink_topic_has_one_owner on microbatch.sink (name) where kind = 'messages';
comment on table microbatch.sink is
'What a pipeline writes. A table or topic belongs to one pipeline; only dead-letter topics are shared.';
comment on column microbatch.sink.name is 'of a topic, or of a table as schema.table';

-- messages = tombstones + rejected + repeated + filtered + those that passed
alter table microbatch.batch
add column repeated bigint not null default 0,
add column filtered bigint not null default 0,
add column attempt int not null default 1,
add column redone_at timestamptz,
add column redo_dag_id text,
add column redo_run_id text,
add column redo_clear_number int,
drop constraint batch_is_whole,
add constraint batch_is_whole check (rejected + repeated + filtered <= messages),
add constraint batch_is_redone_by_a_run check (
    num_nonnulls(redone_at, redo_dag_id, redo_run_id, redo_clear_number) = case when attempt > 1 then 4 else 0 end
);
comment on column microbatch.batch.kind is 'catch up or interval: the mode of the run that made it';
comment on column microbatch.batch.definition_hash is 'of the pipeline, at the last attempt';
comment on column microbatch.batch.repeated is 'messages that repeat an earlier one by the unique columns';
comment on column microbatch.batch.filtered is 'messages that a transform or a where clause left out';
comment on column microbatch.batch.attempt is '1, and 1 more for each time that it was redone';
comment on column microbatch.batch.redone_at is 'when it was redone last';
comment on column microbatch.batch.redo_run_id is 'the run that redid it last; its retry goes on with the others';
create index batch_of_run on microbatch.batch (pipeline_id, dag_id, run_id);

alter table microbatch.offset_range
add column repeated bigint not null default 0,
add column filtered bigint not null default 0;

-- Null: the whole window, all of its keys; what a redone batch has left there may be gone.
alter table microbatch.touched alter column batch_id drop not null;
comment on column microbatch.touched.batch_id is 'null: all keys of the window';

alter table microbatch.reject add column resolved boolean not null default false;
comment on column microbatch.reject.resolved is
'a redo accepted the message later: it counts as rejected no more; its dead letter stays in the topic';

alter table microbatch.partition_progress
add column complete_from timestamptz not null default '-infinity',
add column looked_at_end bigint,
add column looked_at timestamptz;
comment on column microbatch.partition_progress.complete_from is
'windows that start at or after it get nothing from below what was read; only goes back';
comment on column microbatch.partition_progress.looked_at_end is 'the high watermark, as a run saw it last';
comment on column microbatch.partition_progress.looked_at is 'when it did';

create index failure_of_pipeline_by_time on microbatch.failure (pipeline_id, failed_at);

-- Messages that were sent before a rename carry the name of then.
alter table microbatch.pipeline add column former_names text[] not null default '{}';
comment on column microbatch.pipeline.former_names is 'names that it had before it was renamed';

create view microbatch.lag as
select
    p.deployment,
    p.name as pipeline,
    p.source_topic as topic,
    g.partition,
    g.looked_at_end,
    g.covered_until,
    greatest(0, g.looked_at_end - g.covered_until) as behind,
    g.looked_at
from microbatch.partition_progress as g
join microbatch.pipeline as p using (pipeline_id);
comment on view microbatch.lag is 'How far each source partition is covered, and what the last look saw.';
comment on column microbatch.lag.behind is
'offsets from covered_until to looked_at_end; null: no run has looked yet';

drop view microbatch.freshness;
create view microbatch.freshness as
select
    p.deployment,
    p.name as pipeline,
    p.complete_from,
    p.closed_until as complete_until,
    now() - p.closed_until as behind_by,
    progress.behind,
    progress.looked_at,
    b.committed_at as last_batch_at,
    f.failed_at as last_failure_at,
    f.error as last_error,
    coalesce(since.failures, 0) as failures
from microbatch.pipeline as p
left join lateral (
    select
        sum(greatest(0, g.looked_at_end - g.covered_until))::bigint as behind,
        max(g.looked_at) as looked_at
    from microbatch.partition_progress as g
    where g.pipeline_id = p.pipeline_id
) as progress on true
left join lateral (
    select batch.committed_at
    from microbatch.batch
    where batch.pipeline_id = p.pipeline_id
    order by batch.batch_id desc
    limit 1
) as b on true
left join lateral (
    select
        failure.failed_at,
        failure.error
    from microbatch.failure
    where failure.pipeline_id = p.pipeline_id
    order by failure.failure_id desc
    limit 1
) as f on true
left join lateral (
    select count(*) as failures
    from microbatch.failure
    where
        failure.pipeline_id = p.pipeline_id
        and failure.failed_at > coalesce(b.committed_at, '-infinity')
) as since on true;
comment on view microbatch.freshness is 'From when and up to when each pipeline is complete, and what stops it.';
comment on column microbatch.freshness.behind is 'offsets that the last look saw and that are not covered';
comment on column microbatch.freshness.looked_at is 'when a run looked last at the source';
comment on column microbatch.freshness.failures is 'attempts that have failed since the last batch';

create view microbatch.batch_history as
select
    p.deployment,
    p.name as pipeline,
    b.batch_id,
    b.shard,
    b.kind,
    b.dag_id,
    b.run_id,
    b.interval_start,
    b.interval_end,
    r.ranges,
    b.messages,
    b.rejected,
    b.repeated,
    b.filtered,
    b.batch_time,
    b.committed_at,
    extract(epoch from b.committed_at - b.batch_time)::float as seconds,
    extract(epoch from now() - b.committed_at)::float as seconds_ago,
    b.attempt,
    b.redone_at,
    b.redo_dag_id,
    b.redo_run_id
from microbatch.batch as b
join microbatch.pipeline as p using (pipeline_id)
cross join lateral (
    select
        string_agg(
            format('[%s] %s..%s', o.partition, lower(o.offsets), upper(o.offsets) - 1),
            ', '
            order by o.partition, lower(o.offsets)
        ) as ranges
    from microbatch.offset_range as o
    where o.batch_id = b.batch_id
) as r;
comment on view microbatch.batch_history is 'Each batch: who made it, from which offsets, with what counts, redone by whom.';
comment on column microbatch.batch_history.ranges is 'as [partition] first..last offset';
comment on column microbatch.batch_history.seconds is 'how long it took';
comment on column microbatch.batch_history.seconds_ago is 'since its commit';
