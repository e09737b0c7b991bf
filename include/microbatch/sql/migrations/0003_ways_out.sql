-- What a person decides when a pipeline cannot go on by itself, and what follows from it.

create table microbatch.decision (
    decision_id bigint primary key generated always as identity,
    pipeline_id int not null references microbatch.pipeline,
    kind text not null check (kind in ('accept-loss', 'accept-rejects', 'recover', 'redrive')),
    -- What was shown and agreed to.
    details jsonb not null,
    reason text not null,
    decided_by text not null,
    decided_at timestamptz not null default clock_timestamp()
);
comment on table microbatch.decision is 'What people have decided: who, when and why.';
comment on column microbatch.decision.kind is 'the command of microbatch';
comment on column microbatch.decision.details is 'what it was about';
comment on column microbatch.decision.decided_by is 'user and host';
create index decision_of_pipeline on microbatch.decision (pipeline_id, decision_id);

-- accept-loss: a batch without messages has the ranges that nobody can read any more.
alter table microbatch.batch add column decision_id bigint references microbatch.decision;
alter table microbatch.batch add constraint batch_of_a_loss_is_empty check (
    (kind = 'loss') = (decision_id is not null) and (kind <> 'loss' or messages = 0)
);
comment on column microbatch.batch.kind is
'catch up or interval: the mode of the run that made it; loss: its offsets were lost, and a person has accepted that';
comment on column microbatch.batch.decision_id is 'of a loss: who has accepted it';

-- accept-rejects: messages of these ranges do not count towards the share of rejects that a batch may have.
create table microbatch.accepted_rejects (
    decision_id bigint not null references microbatch.decision,
    pipeline_id int not null references microbatch.pipeline,
    topic_id uuid not null,
    partition int not null,
    offsets int8range not null check (not isempty(offsets))
);
comment on table microbatch.accepted_rejects is 'Offsets whose rejects do not count towards max_rejected.';
create index accepted_rejects_of_pipeline on microbatch.accepted_rejects (pipeline_id, topic_id, partition);

alter table microbatch.failure add column topic_id uuid;
comment on column microbatch.failure.topic_id is 'of the source, to which the ranges belong; null: written by an earlier engine';

-- redrive: dead letters that go back to their topic, by way of the outbox.
create table microbatch.redriven (
    pipeline_id int not null,
    topic_id uuid not null,
    partition int not null,
    "offset" bigint not null,
    decision_id bigint not null references microbatch.decision,
    primary key (pipeline_id, topic_id, partition, "offset"),
    -- A truncated log gets another id.
    foreign key (pipeline_id, topic_id, partition, "offset") references microbatch.reject on update cascade
);
comment on table microbatch.redriven is 'Rejected messages that were sent to their topic again: each at most once.';
create index redriven_by_decision on microbatch.redriven (decision_id);

alter table microbatch.outbox_segment
add column decision_id bigint references microbatch.decision,
drop constraint outbox_segment_check,
add constraint outbox_segment_has_one_origin check (num_nonnulls(batch_id, merge_id, decision_id) = 1);

-- recover: a log that is no more keeps its coverage, but nothing waits for it.
alter table microbatch.partition_progress add column retired_by bigint references microbatch.decision;
comment on column microbatch.partition_progress.retired_by is
'the decision by which its log is no more read: it was recreated or truncated; null: it is read';

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
) as uncovered
cross join lateral unnest(uncovered.holes) as hole (offsets)
where g.retired_by is null;

create or replace view microbatch.lag as
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
join microbatch.pipeline as p using (pipeline_id)
where g.retired_by is null;

create or replace view microbatch.freshness as
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
    where
        g.pipeline_id = p.pipeline_id
        and g.retired_by is null
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

-- recover: results that were adopted from their topic, and the ledgers that had published them.
alter table microbatch.merge add column decision_id bigint references microbatch.decision;
comment on column microbatch.merge.decision_id is
'its revisions were adopted from the topic, by that decision; null: it has computed them';
alter table microbatch.pipeline add column former_ledgers uuid[] not null default '{}';
comment on column microbatch.pipeline.former_ledgers is 'other ledgers whose messages this one has adopted as its own';

-- recover: what Kafka has of messages that this ledger has not sent, as it was restored or made anew.
create table microbatch.already_sent (
    pipeline_id int not null references microbatch.pipeline,
    topic text not null,
    topic_id uuid not null,
    partition int not null,
    "offset" bigint not null,
    decision_id bigint not null references microbatch.decision,
    primary key (pipeline_id, topic, topic_id, partition, "offset")
);
comment on table microbatch.already_sent is
'Source messages whose row or dead letter is on the topic already: a batch does not send it again.';
comment on column microbatch.already_sent.topic is 'the output or dead-letter topic';

-- Whoever may read by default what is made here (`alter default privileges`) may read about the messages that wait or
-- were refused, and not the messages themselves.
do $$
declare
    reader record;
begin
    for reader in
        select
            c.oid::regclass as name,
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role,
            (
                select string_agg(quote_ident(t.attname), ', ')
                from pg_attribute as t
                where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped and t.attname <> 'payload'
            ) as columns
        from pg_class as c
        cross join lateral aclexplode(c.relacl) as a
        where
            c.oid in ('microbatch.outbox_segment'::regclass, 'microbatch.set_aside'::regclass)
            and a.grantee <> c.relowner
            and a.privilege_type = 'SELECT'
    loop
        execute format('revoke select on %s from %s', reader.name, reader.role);
        execute format('grant select (%s) on %s to %s', reader.columns, reader.name, reader.role);
    end loop;
end $$;
