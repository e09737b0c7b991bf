-- History: how far back it is complete, rebuilt definitions, late data, and what is kept how long.

-- Backfills, in any order: what each of their intervals said of a partition, until first_offset is reached from there.
create table microbatch.reach (
    pipeline_id int not null,
    topic_id uuid not null,
    partition int not null,
    -- Windows that start at or after it get nothing from below start_offset.
    complete_from timestamptz not null,
    start_offset bigint not null,
    primary key (pipeline_id, topic_id, partition, complete_from),
    foreign key (pipeline_id, topic_id, partition) references microbatch.partition_progress on update cascade
);
comment on table microbatch.reach is
'From where on a partition is complete once nothing from start_offset to its first_offset is uncovered.';

create or replace view microbatch.gap as
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
    union all
    select
        int8multirange(int8range(min(lower(r.offsets)), g.first_offset))
        - range_agg(r.offsets) as holes
    from microbatch.offset_range as r
    where
        r.pipeline_id = g.pipeline_id
        and r.topic_id = g.topic_id
        and r.partition = g.partition
        and r.offsets && int8range(null, g.first_offset)
) as uncovered
cross join lateral unnest(uncovered.holes) as hole (offsets)
where g.retired_by is null;
comment on view microbatch.gap is
'Offsets between those that were read: the next run reads those above first_offset, a run of an interval those below.';

-- Rebuild: batches of a definition that is no more, until they are redone.
alter table microbatch.pipeline add column generation int not null default 1;
comment on column microbatch.pipeline.generation is '1, and 1 more for each rebuild; one that only adds is none';
alter table microbatch.batch add column generation int not null default 1;
comment on column microbatch.batch.generation is 'of the pipeline, at the last attempt';
create index batch_of_generation on microbatch.batch (pipeline_id, generation, batch_id);
alter table microbatch.decision
drop constraint decision_kind_check,
add constraint decision_kind_check check (
    kind in ('accept-loss', 'accept-rejects', 'recover', 'redrive', 'rebuild')
);

-- A redo accepts what was rejected: its row goes to the stream's topic then, once.
alter table microbatch.reject add column row_sent boolean not null default false;
comment on column microbatch.reject.row_sent is 'a redo accepted it and sent its row to the topic of the stream';

-- Late data: how much of it, and how late.
create table microbatch.late (
    batch_id bigint not null references microbatch.batch on delete cascade,
    -- The result table of the output, as in touched.
    output text not null,
    window_start timestamptz not null,
    messages bigint not null,
    lateness interval not null,
    primary key (output, window_start, batch_id)
);
comment on table microbatch.late is
'Messages that reached Kafka after the end of their window, by its timestamp, as each batch has counted them.';
comment on column microbatch.late.lateness is 'of the latest one: Kafka''s timestamp less the end of the window';
create index late_of_batch on microbatch.late (batch_id);

-- Keeping: old batches are folded into archives, old revisions and rows go.
alter table microbatch.batch
add column batch_ids int8range,
add constraint batch_of_an_archive check ((kind = 'archive') = (batch_ids is not null));
comment on column microbatch.batch.kind is
'catch up or interval: the mode of the run that made it; loss: its offsets were lost, and a person has accepted that; '
'archive: it stands for old ones and cannot be redone';
comment on column microbatch.batch.batch_ids is 'of an archive: the batches of its pipeline that it stands for';
alter table microbatch.pipeline
add column keep_contributions interval,
add column keep_history interval,
add column keep_rows interval,
add column history_from timestamptz not null default '-infinity',
add column rows_from timestamptz not null default '-infinity',
add column views int not null default 0;
comment on column microbatch.pipeline.keep_contributions is 'how long a batch can be redone; null: for ever';
comment on column microbatch.pipeline.keep_history is 'how long a revision is kept that holds no more; null: for ever';
comment on column microbatch.pipeline.keep_rows is 'how long rows of its stream are kept; null: for ever';
comment on column microbatch.pipeline.history_from is 'the history knows what held at any time since then';
comment on column microbatch.pipeline.rows_from is 'rows of batches from before are gone';
comment on column microbatch.pipeline.views is 'which edition of views and functions stands over its tables';
