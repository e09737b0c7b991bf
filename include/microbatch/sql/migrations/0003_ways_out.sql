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

-- redrive: dead letters that go back to their topic, by way of the outbox.
create table microbatch.redriven (
    pipeline_id int not null,
    topic_id uuid not null,
    partition int not null,
    "offset" bigint not null,
    decision_id bigint not null references microbatch.decision,
    primary key (pipeline_id, topic_id, partition, "offset"),
    foreign key (pipeline_id, topic_id, partition, "offset") references microbatch.reject
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
