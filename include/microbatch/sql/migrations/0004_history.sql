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
comment on column microbatch.reject.row_sent is
'its row is on the topic of the stream: a redo accepted it and sent it, or it was sent before a redo rejected it';

-- The same of a message that passed, and that a redo leaves out.
alter table microbatch.already_sent alter column decision_id drop not null;
comment on column microbatch.already_sent.decision_id is
'null: this ledger has sent it, before a redo left it out';

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
add column runs text[],
add constraint batch_of_an_archive check (num_nonnulls(batch_ids, runs) = case kind when 'archive' then 2 else 0 end),
-- A number of a batch that is no more stands for one archive.
add constraint batch_is_archived_once exclude using gist (pipeline_id with =, batch_ids with &&)
where (kind = 'archive');
comment on column microbatch.batch.kind is
'catch up or interval: the mode of the run that made it; loss: its offsets were lost, and a person has accepted that; '
'archive: it stands for old ones and cannot be redone';
comment on column microbatch.batch.batch_ids is 'of an archive: the batches of its pipeline that it stands for';
comment on column microbatch.batch.runs is 'of an archive: the runs that made them, each as its DAG, a space and its id';

create or replace view microbatch.batch_history as
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
    case
        when b.kind <> 'archive' then extract(epoch from b.committed_at - b.batch_time)::float
    end as seconds,
    extract(epoch from now() - b.committed_at)::float as seconds_ago,
    b.attempt,
    b.redone_at,
    b.redo_dag_id,
    b.redo_run_id,
    b.batch_ids
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
comment on column microbatch.batch_history.seconds is 'how long it took; of an archive: null';
comment on column microbatch.batch_history.batch_ids is 'of an archive: the batches of its pipeline that it stands for';
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

-- What analysts ask: results as they were published then, and how late data comes.
create function microbatch.history_reaches(output text, moment timestamptz) returns boolean
language plpgsql stable parallel safe
as $$
declare
    since timestamptz;
begin
    select p.history_from
    into since
    from microbatch.sink as s
    join microbatch.pipeline as p using (pipeline_id)
    where
        s.kind = 'table'
        and s.name = output;
    if moment < since then
        raise exception '% is not known as of %: what was superseded before % is pruned', output, moment, since
            using errcode = 'invalid_parameter_value', hint = format('Ask for %s or later.', since);
    end if;
    return true;
end;
$$;
comment on function microbatch.history_reaches is
'True, or an error if revisions of that result table that held at that time are pruned.';

create view microbatch.lateness as
select
    p.deployment,
    p.name as pipeline,
    l.output,
    (l.window_start at time zone 'UTC')::date as day,
    count(distinct l.window_start) as windows,
    sum(l.messages)::bigint as messages,
    max(l.lateness) as latest
from microbatch.late as l
join microbatch.batch as b using (batch_id)
join microbatch.pipeline as p using (pipeline_id)
group by
    p.deployment,
    p.name,
    l.output,
    day;
comment on view microbatch.lateness is 'How much data was late, by result table and day of its windows.';
comment on column microbatch.lateness.output is 'the result table';
comment on column microbatch.lateness.day is 'in UTC, on which the windows begin';
comment on column microbatch.lateness.windows is 'that had late messages';
comment on column microbatch.lateness.latest is 'Kafka''s timestamp of the latest one less the end of its window';

-- Days that are final: what Airflow has still to be told.
create table microbatch.final_day (
    pipeline_id int not null references microbatch.pipeline on delete cascade,
    -- The result table of the output, as in touched.
    output text not null,
    day date not null,
    told uuid,
    told_at timestamptz,
    primary key (pipeline_id, output, day),
    constraint final_day_is_told_at_a_time check ((told is null) = (told_at is null))
);
comment on table microbatch.final_day is
'Days that have become final, or that were corrected since, until Airflow is known to have the asset event that says so.';
comment on column microbatch.final_day.day is 'in the time zone of the window; of a week its Monday';
comment on column microbatch.final_day.told is 'the event that was to tell it: a task that is killed does not send it';

create index batch_of_redo on microbatch.batch (pipeline_id, redo_dag_id, redo_run_id)
where redo_run_id is not null;
