SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA microbatch;
CREATE SCHEMA microbatch_topic;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA microbatch;
CREATE TABLE microbatch.accepted_rejects (
    decision_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    offsets int8range NOT NULL,
    CONSTRAINT accepted_rejects_offsets_check CHECK ((NOT isempty(offsets)))
);
CREATE TABLE microbatch.already_sent (
    pipeline_id integer NOT NULL,
    topic text NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    decision_id bigint NOT NULL
);
CREATE TABLE microbatch.batch (
    batch_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    shard integer NOT NULL,
    kind text NOT NULL,
    dag_id text,
    run_id text,
    interval_start timestamp with time zone,
    interval_end timestamp with time zone,
    batch_time timestamp with time zone NOT NULL,
    definition_hash text NOT NULL,
    messages bigint DEFAULT 0 NOT NULL,
    rejected bigint DEFAULT 0 NOT NULL,
    committed_at timestamp with time zone,
    repeated bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    redone_at timestamp with time zone,
    redo_dag_id text,
    redo_run_id text,
    redo_clear_number integer,
    decision_id bigint,
    CONSTRAINT batch_is_redone_by_a_run CHECK ((num_nonnulls(redone_at, redo_dag_id, redo_run_id, redo_clear_number) =
CASE
    WHEN (attempt > 1) THEN 4
    ELSE 0
END)),
    CONSTRAINT batch_is_whole CHECK ((((rejected + repeated) + filtered) <= messages)),
    CONSTRAINT batch_of_a_loss_is_empty CHECK ((((kind = 'loss'::text) = (decision_id IS NOT NULL)) AND ((kind <> 'loss'::text) OR (messages = 0))))
);
ALTER TABLE microbatch.batch ALTER COLUMN batch_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.batch_batch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE microbatch.offset_range (
    batch_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    topic text NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    offsets int8range NOT NULL,
    messages bigint DEFAULT 0 NOT NULL,
    rejected bigint DEFAULT 0 NOT NULL,
    repeated bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    CONSTRAINT offset_range_offsets_check CHECK ((NOT isempty(offsets)))
);
CREATE TABLE microbatch.pipeline (
    pipeline_id integer NOT NULL,
    deployment text NOT NULL,
    name text NOT NULL,
    ledger uuid DEFAULT gen_random_uuid() NOT NULL,
    cluster_id text NOT NULL,
    source_topic text NOT NULL,
    definition jsonb NOT NULL,
    definition_hash text NOT NULL,
    closed_until timestamp with time zone,
    complete_from timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    former_names text[] DEFAULT '{}'::text[] NOT NULL,
    former_ledgers uuid[] DEFAULT '{}'::uuid[] NOT NULL
);
CREATE VIEW microbatch.batch_history AS
 SELECT p.deployment,
    p.name AS pipeline,
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
    (EXTRACT(epoch FROM (b.committed_at - b.batch_time)))::double precision AS seconds,
    (EXTRACT(epoch FROM (now() - b.committed_at)))::double precision AS seconds_ago,
    b.attempt,
    b.redone_at,
    b.redo_dag_id,
    b.redo_run_id
   FROM ((microbatch.batch b
     JOIN microbatch.pipeline p USING (pipeline_id))
     CROSS JOIN LATERAL ( SELECT string_agg(format('[%s] %s..%s'::text, o.partition, lower(o.offsets), (upper(o.offsets) - 1)), ', '::text ORDER BY o.partition, (lower(o.offsets))) AS ranges
           FROM microbatch.offset_range o
          WHERE (o.batch_id = b.batch_id)) r);
CREATE TABLE microbatch.decision (
    decision_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    kind text NOT NULL,
    details jsonb NOT NULL,
    reason text NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT decision_kind_check CHECK ((kind = ANY (ARRAY['accept-loss'::text, 'accept-rejects'::text, 'recover'::text, 'redrive'::text])))
);
ALTER TABLE microbatch.decision ALTER COLUMN decision_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.decision_decision_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE microbatch.failure (
    failure_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    shard integer NOT NULL,
    dag_id text,
    run_id text,
    ranges jsonb NOT NULL,
    messages bigint NOT NULL,
    rejected bigint NOT NULL,
    error text NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    topic_id uuid
);
ALTER TABLE microbatch.failure ALTER COLUMN failure_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.failure_failure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE microbatch.partition_progress (
    pipeline_id integer NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    covered_until bigint NOT NULL,
    caught_up_to timestamp with time zone,
    complete_from timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    looked_at_end bigint,
    looked_at timestamp with time zone,
    retired_by bigint,
    CONSTRAINT partition_progress_check CHECK ((covered_until >= first_offset))
);
CREATE VIEW microbatch.freshness AS
 SELECT p.deployment,
    p.name AS pipeline,
    p.complete_from,
    p.closed_until AS complete_until,
    (now() - p.closed_until) AS behind_by,
    progress.behind,
    progress.looked_at,
    b.committed_at AS last_batch_at,
    f.failed_at AS last_failure_at,
    f.error AS last_error,
    COALESCE(since.failures, (0)::bigint) AS failures
   FROM ((((microbatch.pipeline p
     LEFT JOIN LATERAL ( SELECT (sum(GREATEST((0)::bigint, (g.looked_at_end - g.covered_until))))::bigint AS behind,
            max(g.looked_at) AS looked_at
           FROM microbatch.partition_progress g
          WHERE ((g.pipeline_id = p.pipeline_id) AND (g.retired_by IS NULL))) progress ON (true))
     LEFT JOIN LATERAL ( SELECT batch.committed_at
           FROM microbatch.batch
          WHERE (batch.pipeline_id = p.pipeline_id)
          ORDER BY batch.batch_id DESC
         LIMIT 1) b ON (true))
     LEFT JOIN LATERAL ( SELECT failure.failed_at,
            failure.error
           FROM microbatch.failure
          WHERE (failure.pipeline_id = p.pipeline_id)
          ORDER BY failure.failure_id DESC
         LIMIT 1) f ON (true))
     LEFT JOIN LATERAL ( SELECT count(*) AS failures
           FROM microbatch.failure
          WHERE ((failure.pipeline_id = p.pipeline_id) AND (failure.failed_at > COALESCE(b.committed_at, '-infinity'::timestamp with time zone)))) since ON (true));
CREATE VIEW microbatch.gap AS
 SELECT p.deployment,
    p.name AS pipeline,
    p.source_topic AS topic,
    g.partition,
    lower(hole.offsets) AS start_offset,
    upper(hole.offsets) AS end_offset
   FROM (((microbatch.partition_progress g
     JOIN microbatch.pipeline p USING (pipeline_id))
     CROSS JOIN LATERAL ( SELECT (int8multirange(int8range(g.covered_until, max(upper(r.offsets)))) - range_agg(r.offsets)) AS holes
           FROM microbatch.offset_range r
          WHERE ((r.pipeline_id = g.pipeline_id) AND (r.topic_id = g.topic_id) AND (r.partition = g.partition) AND (r.offsets && int8range(g.covered_until, NULL::bigint)))) uncovered)
     CROSS JOIN LATERAL unnest(uncovered.holes) hole(offsets))
  WHERE (g.retired_by IS NULL);
CREATE VIEW microbatch.lag AS
 SELECT p.deployment,
    p.name AS pipeline,
    p.source_topic AS topic,
    g.partition,
    g.looked_at_end,
    g.covered_until,
    GREATEST((0)::bigint, (g.looked_at_end - g.covered_until)) AS behind,
    g.looked_at
   FROM (microbatch.partition_progress g
     JOIN microbatch.pipeline p USING (pipeline_id))
  WHERE (g.retired_by IS NULL);
CREATE TABLE microbatch.merge (
    merge_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    dag_id text,
    run_id text,
    closed_until timestamp with time zone NOT NULL,
    complete_from timestamp with time zone NOT NULL,
    merged_at timestamp with time zone NOT NULL,
    decision_id bigint
);
ALTER TABLE microbatch.merge ALTER COLUMN merge_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.merge_merge_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE microbatch.migration (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE microbatch.outbox_segment (
    segment_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    batch_id bigint,
    topic_id uuid,
    partition integer,
    start_offset bigint,
    merge_id bigint,
    number bigint,
    messages integer NOT NULL,
    payload bytea NOT NULL,
    decision_id bigint,
    CONSTRAINT outbox_segment_check1 CHECK ((num_nonnulls(batch_id, topic_id, partition, start_offset) = ANY (ARRAY[0, 4]))),
    CONSTRAINT outbox_segment_has_one_origin CHECK ((num_nonnulls(batch_id, merge_id, decision_id) = 1))
);
ALTER TABLE ONLY microbatch.outbox_segment ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE microbatch.outbox_segment ALTER COLUMN segment_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.outbox_segment_segment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE microbatch.pipeline ALTER COLUMN pipeline_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.pipeline_pipeline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE microbatch.publisher (
    pipeline_id integer NOT NULL,
    last_publication bigint DEFAULT 0 NOT NULL,
    cursor bigint DEFAULT 0 NOT NULL,
    intent bigint,
    CONSTRAINT publisher_check CHECK ((cursor <= last_publication)),
    CONSTRAINT publisher_check1 CHECK (((intent > cursor) AND (intent <= last_publication)))
);
CREATE TABLE microbatch.redriven (
    pipeline_id integer NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    decision_id bigint NOT NULL
);
CREATE TABLE microbatch.reject (
    pipeline_id integer NOT NULL,
    topic_id uuid NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    batch_id bigint NOT NULL,
    reason text NOT NULL,
    resolved boolean DEFAULT false NOT NULL
);
CREATE TABLE microbatch.run (
    pipeline_id integer NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    shard integer NOT NULL,
    clear_number integer NOT NULL,
    behind bigint NOT NULL,
    completed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE microbatch.set_aside (
    pipeline_id integer NOT NULL,
    publication bigint NOT NULL,
    "position" integer NOT NULL,
    topic text NOT NULL,
    error text NOT NULL,
    payload bytea NOT NULL,
    set_aside_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE microbatch.sink (
    pipeline_id integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    partitions integer,
    CONSTRAINT sink_kind_check CHECK ((kind = ANY (ARRAY['table'::text, 'messages'::text, 'dead letters'::text])))
);
CREATE TABLE microbatch.touched (
    touched_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    output text NOT NULL,
    batch_id bigint,
    window_start timestamp with time zone NOT NULL
);
ALTER TABLE microbatch.touched ALTER COLUMN touched_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME microbatch.touched_touched_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.old_minute (
    window_start timestamp with time zone NOT NULL,
    window_end timestamp with time zone NOT NULL,
    seller text NOT NULL,
    amount numeric,
    sales bigint,
    mean numeric(50,2),
    most bigint,
    is_final boolean NOT NULL,
    revision integer NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.old_minute_contribution (
    batch_id bigint NOT NULL,
    window_start timestamp with time zone NOT NULL,
    window_end timestamp with time zone NOT NULL,
    seller text NOT NULL,
    amount numeric,
    amount__count bigint,
    sales bigint,
    mean__sum numeric,
    mean__count bigint,
    most bigint,
    most__count bigint
);
CREATE TABLE public.old_minute_history (
    window_start timestamp with time zone NOT NULL,
    window_end timestamp with time zone NOT NULL,
    seller text NOT NULL,
    amount numeric,
    sales bigint,
    mean numeric(50,2),
    most bigint,
    is_final boolean NOT NULL,
    revision integer NOT NULL,
    retracted boolean NOT NULL,
    batches bigint[] NOT NULL,
    merge_id bigint NOT NULL,
    valid_from timestamp with time zone NOT NULL,
    valid_to timestamp with time zone
);
CREATE TABLE public.old_pair (
    first_value bigint NOT NULL,
    first_partition integer NOT NULL,
    first_offset bigint NOT NULL,
    first_batch_id bigint NOT NULL,
    second_value bigint NOT NULL,
    second_partition integer NOT NULL,
    second_offset bigint NOT NULL,
    batch_id bigint NOT NULL
);
CREATE TABLE public.old_pair_waiting (
    value bigint NOT NULL,
    batch_id bigint NOT NULL,
    kafka_timestamp timestamp with time zone NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL
);
CREATE TABLE public.old_sale (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    batch_id bigint NOT NULL,
    seller text,
    amount bigint,
    sold_at timestamp with time zone
);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (1, 1, 0, 'catch up', 'old_sales', 'scheduled 0', '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', '2026-11-22 09:45:17.08314+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 2, 0, '2026-11-22 09:45:17.624349+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (2, 1, 1, 'catch up', 'old_sales', 'scheduled 0', '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', '2026-11-22 09:45:17.827182+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 2, 1, '2026-11-22 09:45:17.972502+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (3, 2, 0, 'catch up', 'old_pairs', 'scheduled 0', '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', '2026-11-22 09:45:19.573564+00', '8561b8955d685a62c4f8ac3896a406ac77c0803420f25a875a4f8ee434cd1d57', 1, 0, '2026-11-22 09:45:19.757551+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (4, 1, 0, 'catch up', 'old_sales', 'scheduled 1', '2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', '2026-11-22 09:45:20.741442+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 1, 0, '2026-11-22 09:45:21.013203+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (5, 1, 1, 'catch up', 'old_sales', 'scheduled 1', '2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', '2026-11-22 09:45:21.242183+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 1, 0, '2026-11-22 09:45:21.570657+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (6, 2, 0, 'catch up', 'old_pairs', 'scheduled 1', '2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', '2026-11-22 09:45:22.118444+00', '8561b8955d685a62c4f8ac3896a406ac77c0803420f25a875a4f8ee434cd1d57', 3, 1, '2026-11-22 09:45:22.391107+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (7, 1, 0, 'catch up', 'old_sales', 'scheduled 2', '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', '2026-11-22 09:45:28.098588+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 1, 0, '2026-11-22 09:45:28.305884+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (8, 1, 1, 'catch up', 'old_sales', 'scheduled 2', '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', '2026-11-22 09:45:28.37982+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 1, 0, '2026-11-22 09:45:28.546576+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (9, 2, 0, 'catch up', 'old_pairs', 'scheduled 2', '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', '2026-11-22 09:45:32.105282+00', '8561b8955d685a62c4f8ac3896a406ac77c0803420f25a875a4f8ee434cd1d57', 2, 0, '2026-11-22 09:45:32.309509+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (10, 1, 0, 'catch up', 'old_sales', 'scheduled 3', '2026-11-21 10:03:00+00', '2026-11-21 10:04:00+00', '2026-11-22 09:45:36.178063+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 2, 1, '2026-11-22 09:45:36.32957+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (11, 1, 1, 'catch up', 'old_sales', 'scheduled 3', '2026-11-21 10:03:00+00', '2026-11-21 10:04:00+00', '2026-11-22 09:45:36.400332+00', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', 1, 0, '2026-11-22 09:45:36.586405+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.batch OVERRIDING SYSTEM VALUE VALUES (12, 2, 0, 'catch up', 'old_pairs', 'scheduled 3', '2026-11-21 10:03:00+00', '2026-11-21 10:04:00+00', '2026-11-22 09:45:39.644331+00', '8561b8955d685a62c4f8ac3896a406ac77c0803420f25a875a4f8ee434cd1d57', 1, 0, '2026-11-22 09:45:39.926308+00', 0, 0, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO microbatch.merge OVERRIDING SYSTEM VALUE VALUES (1, 1, 'old_sales', 'scheduled 0', '2026-11-21 10:01:00+00', '-infinity', '2026-11-22 09:45:18.040852+00', NULL);
INSERT INTO microbatch.merge OVERRIDING SYSTEM VALUE VALUES (2, 1, 'old_sales', 'scheduled 1', '2026-11-21 10:02:00+00', '-infinity', '2026-11-22 09:45:21.656146+00', NULL);
INSERT INTO microbatch.merge OVERRIDING SYSTEM VALUE VALUES (3, 1, 'old_sales', 'scheduled 2', '2026-11-21 10:03:00+00', '-infinity', '2026-11-22 09:45:28.682824+00', NULL);
INSERT INTO microbatch.migration VALUES (1, '0001_ledger.sql', '01cace70c1b52c0df8450b59a00c26ee30b403ca65f2834f66d6244c1f9a2980', '2026-11-22 09:45:16.629644+00');
INSERT INTO microbatch.migration VALUES (2, '0002_whole_engine.sql', '34ac51048aac890b86b721a3dd72f42babba3012cfdd4ffdf1e90b88f8330f81', '2026-11-22 09:45:16.629644+00');
INSERT INTO microbatch.migration VALUES (3, '0003_ways_out.sql', 'ce7014d67a5236e01397c826dab1c4897197f9c6bd91004817f6ebd419d9a49f', '2026-11-22 09:45:16.629644+00');
INSERT INTO microbatch.offset_range VALUES (1, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 0, '[0,2)', 2, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (2, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 1, '[0,2)', 2, 1, 0, 0);
INSERT INTO microbatch.offset_range VALUES (3, 2, 'old-numbers', '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, '[0,1)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (4, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 0, '[2,3)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (5, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 1, '[2,3)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (6, 2, 'old-numbers', '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, '[1,4)', 3, 1, 0, 0);
INSERT INTO microbatch.offset_range VALUES (7, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 0, '[3,4)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (8, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 1, '[3,4)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (9, 2, 'old-numbers', '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, '[4,6)', 2, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (10, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 0, '[4,6)', 2, 1, 0, 0);
INSERT INTO microbatch.offset_range VALUES (11, 1, 'old-sales-usd', '122f7b86-db3a-4663-96d6-477396bb5478', 1, '[4,5)', 1, 0, 0, 0);
INSERT INTO microbatch.offset_range VALUES (12, 2, 'old-numbers', '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, '[6,7)', 1, 0, 0, 0);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (10, 1, 7, '122f7b86-db3a-4663-96d6-477396bb5478', 0, 3, NULL, 8, 1, '\x9196a86f6c642d73616c6500c403636964c43c7b2273656c6c6572223a22434944222c22616d6f756e74223a362c22736f6c645f6174223a22323032362d31312d32315431303a30323a30365a227dcf000001a1fd8e55309592b06d6963726f62617463682e746f706963c40d6f6c642d73616c65732d75736492b46d6963726f62617463682e706172746974696f6ec4013092b16d6963726f62617463682e6f6666736574c4013392b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b06d6963726f62617463682e6261746368c40137', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (11, 1, 8, '122f7b86-db3a-4663-96d6-477396bb5478', 1, 3, NULL, 9, 1, '\x9196a86f6c642d73616c6501c403616461c43c7b2273656c6c6572223a22414441222c22616d6f756e74223a312c22736f6c645f6174223a22323032362d31312d32315431303a30303a33365a227dcf000001a1fd8eca609592b06d6963726f62617463682e746f706963c40d6f6c642d73616c65732d75736492b46d6963726f62617463682e706172746974696f6ec4013192b16d6963726f62617463682e6f6666736574c4013392b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b06d6963726f62617463682e6261746368c40138', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (12, 1, NULL, NULL, NULL, NULL, 3, 10, 2, '\x9296aa6f6c642d6d696e757465c0c4367b2277696e646f775f7374617274223a22323032362d31312d32315431303a30303a30305a222c2273656c6c6572223a22414441227dc4a37b2277696e646f775f7374617274223a22323032362d31312d32315431303a30303a30305a222c2273656c6c6572223a22414441222c2277696e646f775f656e64223a22323032362d31312d32315431303a30313a30305a222c22616d6f756e74223a382c2273616c6573223a332c226d65616e223a22322e3637222c226d6f7374223a342c2269735f66696e616c223a747275652c227265766973696f6e223a327dcf000001a1fd8d53609292b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b36d6963726f62617463682e7265766973696f6ec4013296aa6f6c642d6d696e757465c0c4367b2277696e646f775f7374617274223a22323032362d31312d32315431303a30323a30305a222c2273656c6c6572223a22434944227dc4a37b2277696e646f775f7374617274223a22323032362d31312d32315431303a30323a30305a222c2273656c6c6572223a22434944222c2277696e646f775f656e64223a22323032362d31312d32315431303a30333a30305a222c22616d6f756e74223a362c2273616c6573223a312c226d65616e223a22362e3030222c226d6f7374223a362c2269735f66696e616c223a747275652c227265766973696f6e223a317dcf000001a1fd8f28209292b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b36d6963726f62617463682e7265766973696f6ec40131', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (13, 2, 9, '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, 4, NULL, 3, 1, '\x9196a86f6c642d7061697200c0c46f7b2266697273745f76616c7565223a31322c2266697273745f706172746974696f6e223a302c2266697273745f6f6666736574223a332c227365636f6e645f76616c7565223a302c227365636f6e645f706172746974696f6e223a302c227365636f6e645f6f6666736574223a357dcf000001a1fd8e6ca09592b06d6963726f62617463682e746f706963c40b6f6c642d6e756d6265727392b46d6963726f62617463682e706172746974696f6ec4013092b16d6963726f62617463682e6f6666736574c4013592b36d6963726f62617463682e706970656c696e65c4096f6c645f706169727392b06d6963726f62617463682e6261746368c40139', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (14, 1, 10, '122f7b86-db3a-4663-96d6-477396bb5478', 0, 4, NULL, NULL, 1, '\x9196b16f6c642d73616c65732d7573642d646c7100c403657665c43c7b2273656c6c65725f6964223a2022657665222c2022616d6f756e745f757364223a20302c202273616c655f7473223a20313739353235353339327dcf000001a1fd8f57009692b16d6963726f62617463682e726561736f6ec40c6e6f7468696e6720736f6c6492b06d6963726f62617463682e746f706963c40d6f6c642d73616c65732d75736492b46d6963726f62617463682e706172746974696f6ec4013092b16d6963726f62617463682e6f6666736574c4013592b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b06d6963726f62617463682e6261746368c4023130', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (15, 1, 10, '122f7b86-db3a-4663-96d6-477396bb5478', 0, 4, NULL, NULL, 1, '\x9196a86f6c642d73616c6500c403636964c43c7b2273656c6c6572223a22434944222c22616d6f756e74223a372c22736f6c645f6174223a22323032362d31312d32315431303a30333a30365a227dcf000001a1fd8f3f909592b06d6963726f62617463682e746f706963c40d6f6c642d73616c65732d75736492b46d6963726f62617463682e706172746974696f6ec4013092b16d6963726f62617463682e6f6666736574c4013492b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b06d6963726f62617463682e6261746368c4023130', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (16, 1, 11, '122f7b86-db3a-4663-96d6-477396bb5478', 1, 4, NULL, NULL, 1, '\x9196a86f6c642d73616c6501c403626f62c43c7b2273656c6c6572223a22424f42222c22616d6f756e74223a382c22736f6c645f6174223a22323032362d31312d32315431303a30323a31325a227dcf000001a1fd8f57009592b06d6963726f62617463682e746f706963c40d6f6c642d73616c65732d75736492b46d6963726f62617463682e706172746974696f6ec4013192b16d6963726f62617463682e6f6666736574c4013492b36d6963726f62617463682e706970656c696e65c4096f6c645f73616c657392b06d6963726f62617463682e6261746368c4023131', NULL);
INSERT INTO microbatch.outbox_segment OVERRIDING SYSTEM VALUE VALUES (17, 2, 12, '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, 6, NULL, NULL, 1, '\x9196a86f6c642d7061697200c0c46f7b2266697273745f76616c7565223a312c2266697273745f706172746974696f6e223a302c2266697273745f6f6666736574223a342c227365636f6e645f76616c7565223a31312c227365636f6e645f706172746974696f6e223a302c227365636f6e645f6f6666736574223a367dcf000001a1fd8f3f909592b06d6963726f62617463682e746f706963c40b6f6c642d6e756d6265727392b46d6963726f62617463682e706172746974696f6ec4013092b16d6963726f62617463682e6f6666736574c4013692b36d6963726f62617463682e706970656c696e65c4096f6c645f706169727392b06d6963726f62617463682e6261746368c4023132', NULL);
INSERT INTO microbatch.partition_progress VALUES (1, '122f7b86-db3a-4663-96d6-477396bb5478', 0, 0, 6, '2026-11-21 10:04:00+00', '-infinity', 6, '2026-11-22 09:45:36.171033+00', NULL);
INSERT INTO microbatch.partition_progress VALUES (1, '122f7b86-db3a-4663-96d6-477396bb5478', 1, 0, 5, '2026-11-21 10:04:00+00', '-infinity', 5, '2026-11-22 09:45:36.39705+00', NULL);
INSERT INTO microbatch.partition_progress VALUES (2, '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, 0, 7, '2026-11-21 10:04:00+00', '-infinity', 7, '2026-11-22 09:45:39.617822+00', NULL);
INSERT INTO microbatch.pipeline OVERRIDING SYSTEM VALUE VALUES (1, 'the-old-one', 'old_sales', 'c0d958ff-9ae9-474d-b8da-40f09ef384f5', 'DhNbkAA8QZmiKTzLo6ZTFw', 'old-sales-usd', '{"name": "old_sales", "source": {"event": {"sale_ts": {"kind": "epoch_seconds"}, "seller_id": {"kind": "str"}, "amount_usd": {"kind": "int"}}, "topic": "old-sales-usd", "event_time": "sale_ts"}, "outputs": [{"kind": "stream", "table": "old_sale", "topic": "old-sale", "where": null, "reject": [["nothing sold", "amount_usd = 0"]], "schema": "public", "unique": [], "columns": [["seller", "upper(seller_id)", "text"], ["amount", "amount_usd", "bigint"], ["sold_at", "_event_time", "timestamptz"]]}, {"by": [["seller", "text"]], "kind": "tumbling_window", "table": "old_minute", "topic": "old-minute", "schema": "public", "size_s": 60, "measures": {"mean": {"of": "bigint", "field": "amount", "scale": 2, "measure": "mean"}, "most": {"of": "bigint", "field": "amount", "measure": "max"}, "sales": {"measure": "count"}, "amount": {"of": "bigint", "field": "amount", "measure": "sum"}}, "timezone": "UTC"}], "transform": null, "dead_letters": "old-sales-usd-dlq", "max_future_s": 3600.0, "allowed_lateness_s": null}', 'fb84cc502b5b5ce68be8a3b182633e33ad85cd1a861468b449130d3d88779186', '2026-11-21 10:03:00+00', '-infinity', '2026-11-22 09:45:16.844307+00', '{}', '{}');
INSERT INTO microbatch.pipeline OVERRIDING SYSTEM VALUE VALUES (2, 'the-old-one', 'old_pairs', '7e7dc1dc-f37b-470d-9d07-d71d3a7058b1', 'DhNbkAA8QZmiKTzLo6ZTFw', 'old-numbers', '{"name": "old_pairs", "source": {"event": {"number": {"kind": "int"}}, "topic": "old-numbers", "event_time": null}, "outputs": [{"sum": 12, "kind": "pairs", "field": "number", "table": "old_pair", "topic": "old-pair", "schema": "public"}], "transform": null, "dead_letters": "old-numbers-dlq", "max_future_s": 3600.0, "allowed_lateness_s": null}', '8561b8955d685a62c4f8ac3896a406ac77c0803420f25a875a4f8ee434cd1d57', '2026-11-21 10:03:00+00', '-infinity', '2026-11-22 09:45:19.384501+00', '{}', '{}');
INSERT INTO microbatch.publisher VALUES (1, 10, 7, 10);
INSERT INTO microbatch.publisher VALUES (2, 3, 2, 3);
INSERT INTO microbatch.reject VALUES (1, '122f7b86-db3a-4663-96d6-477396bb5478', 1, 1, 2, 'nothing sold', false);
INSERT INTO microbatch.reject VALUES (2, '1133c2ba-3159-4379-9f74-ba4d25d53924', 0, 2, 6, 'Expected `int`, got `str` - at `$.number`', false);
INSERT INTO microbatch.reject VALUES (1, '122f7b86-db3a-4663-96d6-477396bb5478', 0, 5, 10, 'nothing sold', false);
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 0', 0, 0, 0, '2026-11-22 09:45:17.669936+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 0', 1, 0, 0, '2026-11-22 09:45:17.981246+00');
INSERT INTO microbatch.run VALUES (2, 'old_pairs', 'scheduled 0', 0, 0, 0, '2026-11-22 09:45:19.774553+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 1', 0, 0, 0, '2026-11-22 09:45:21.044211+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 1', 1, 0, 0, '2026-11-22 09:45:21.586454+00');
INSERT INTO microbatch.run VALUES (2, 'old_pairs', 'scheduled 1', 0, 0, 0, '2026-11-22 09:45:22.448728+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 2', 0, 0, 0, '2026-11-22 09:45:28.314499+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 2', 1, 0, 0, '2026-11-22 09:45:28.576836+00');
INSERT INTO microbatch.run VALUES (2, 'old_pairs', 'scheduled 2', 0, 0, 0, '2026-11-22 09:45:32.322202+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 3', 0, 0, 0, '2026-11-22 09:45:36.338383+00');
INSERT INTO microbatch.run VALUES (1, 'old_sales', 'scheduled 3', 1, 0, 0, '2026-11-22 09:45:36.602526+00');
INSERT INTO microbatch.run VALUES (2, 'old_pairs', 'scheduled 3', 0, 0, 0, '2026-11-22 09:45:39.944997+00');
INSERT INTO microbatch.sink VALUES (1, 'table', 'public.old_sale', NULL);
INSERT INTO microbatch.sink VALUES (1, 'table', 'public.old_minute', NULL);
INSERT INTO microbatch.sink VALUES (1, 'table', 'public.old_minute_contribution', NULL);
INSERT INTO microbatch.sink VALUES (1, 'table', 'public.old_minute_history', NULL);
INSERT INTO microbatch.sink VALUES (1, 'messages', 'old-sale', 2);
INSERT INTO microbatch.sink VALUES (1, 'messages', 'old-minute', 2);
INSERT INTO microbatch.sink VALUES (1, 'dead letters', 'old-sales-usd-dlq', 2);
INSERT INTO microbatch.sink VALUES (2, 'table', 'public.old_pair', NULL);
INSERT INTO microbatch.sink VALUES (2, 'table', 'public.old_pair_waiting', NULL);
INSERT INTO microbatch.sink VALUES (2, 'messages', 'old-pair', 1);
INSERT INTO microbatch.sink VALUES (2, 'dead letters', 'old-numbers-dlq', 1);
INSERT INTO microbatch.touched OVERRIDING SYSTEM VALUE VALUES (7, 1, 'public.old_minute', 10, '2026-11-21 10:03:00+00');
INSERT INTO microbatch.touched OVERRIDING SYSTEM VALUE VALUES (8, 1, 'public.old_minute', 11, '2026-11-21 10:02:00+00');
INSERT INTO public.old_minute VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'BOB', 7, 2, 3.50, 5, true, 2, '2026-11-22 09:45:21.656146+00');
INSERT INTO public.old_minute VALUES ('2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', 'ADA', 10, 1, 10.00, 10, true, 1, '2026-11-22 09:45:21.656146+00');
INSERT INTO public.old_minute VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'ADA', 8, 3, 2.67, 4, true, 2, '2026-11-22 09:45:28.682824+00');
INSERT INTO public.old_minute VALUES ('2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', 'CID', 6, 1, 6.00, 6, true, 1, '2026-11-22 09:45:28.682824+00');
INSERT INTO public.old_minute_contribution VALUES (1, '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'ADA', 7, 2, 2, 7, 2, 4, 2);
INSERT INTO public.old_minute_contribution VALUES (2, '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'BOB', 5, 1, 1, 5, 1, 5, 1);
INSERT INTO public.old_minute_contribution VALUES (4, '2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', 'ADA', 10, 1, 1, 10, 1, 10, 1);
INSERT INTO public.old_minute_contribution VALUES (5, '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'BOB', 2, 1, 1, 2, 1, 2, 1);
INSERT INTO public.old_minute_contribution VALUES (7, '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', 'CID', 6, 1, 1, 6, 1, 6, 1);
INSERT INTO public.old_minute_contribution VALUES (8, '2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'ADA', 1, 1, 1, 1, 1, 1, 1);
INSERT INTO public.old_minute_contribution VALUES (10, '2026-11-21 10:03:00+00', '2026-11-21 10:04:00+00', 'CID', 7, 1, 1, 7, 1, 7, 1);
INSERT INTO public.old_minute_contribution VALUES (11, '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', 'BOB', 8, 1, 1, 8, 1, 8, 1);
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'BOB', 7, 2, 3.50, 5, true, 2, false, '{2,5}', 2, '2026-11-22 09:45:21.656146+00', NULL);
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:01:00+00', '2026-11-21 10:02:00+00', 'ADA', 10, 1, 10.00, 10, true, 1, false, '{4}', 2, '2026-11-22 09:45:21.656146+00', NULL);
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'BOB', 5, 1, 5.00, 5, true, 1, false, '{2}', 1, '2026-11-22 09:45:18.040852+00', '2026-11-22 09:45:21.656146+00');
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'ADA', 8, 3, 2.67, 4, true, 2, false, '{1,8}', 3, '2026-11-22 09:45:28.682824+00', NULL);
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', 'CID', 6, 1, 6.00, 6, true, 1, false, '{7}', 3, '2026-11-22 09:45:28.682824+00', NULL);
INSERT INTO public.old_minute_history VALUES ('2026-11-21 10:00:00+00', '2026-11-21 10:01:00+00', 'ADA', 7, 2, 3.50, 4, true, 1, false, '{1}', 1, '2026-11-22 09:45:18.040852+00', '2026-11-22 09:45:28.682824+00');
INSERT INTO public.old_pair VALUES (5, 0, 0, 3, 7, 0, 1, 6);
INSERT INTO public.old_pair VALUES (12, 0, 3, 6, 0, 0, 5, 9);
INSERT INTO public.old_pair VALUES (1, 0, 4, 9, 11, 0, 6, 12);
INSERT INTO public.old_sale VALUES (0, 0, 1, 'ADA', 3, '2026-11-21 10:00:06+00');
INSERT INTO public.old_sale VALUES (0, 1, 1, 'ADA', 4, '2026-11-21 10:00:18+00');
INSERT INTO public.old_sale VALUES (1, 0, 2, 'BOB', 5, '2026-11-21 10:00:12+00');
INSERT INTO public.old_sale VALUES (0, 2, 4, 'ADA', 10, '2026-11-21 10:01:06+00');
INSERT INTO public.old_sale VALUES (1, 2, 5, 'BOB', 2, '2026-11-21 10:00:30+00');
INSERT INTO public.old_sale VALUES (0, 3, 7, 'CID', 6, '2026-11-21 10:02:06+00');
INSERT INTO public.old_sale VALUES (1, 3, 8, 'ADA', 1, '2026-11-21 10:00:36+00');
INSERT INTO public.old_sale VALUES (0, 4, 10, 'CID', 7, '2026-11-21 10:03:06+00');
INSERT INTO public.old_sale VALUES (1, 4, 11, 'BOB', 8, '2026-11-21 10:02:12+00');
SELECT pg_catalog.setval('microbatch.batch_batch_id_seq', 12, true);
SELECT pg_catalog.setval('microbatch.decision_decision_id_seq', 1, false);
SELECT pg_catalog.setval('microbatch.failure_failure_id_seq', 1, false);
SELECT pg_catalog.setval('microbatch.merge_merge_id_seq', 3, true);
SELECT pg_catalog.setval('microbatch.outbox_segment_segment_id_seq', 17, true);
SELECT pg_catalog.setval('microbatch.pipeline_pipeline_id_seq', 2, true);
SELECT pg_catalog.setval('microbatch.touched_touched_id_seq', 8, true);
ALTER TABLE ONLY microbatch.already_sent
    ADD CONSTRAINT already_sent_pkey PRIMARY KEY (pipeline_id, topic, topic_id, partition, "offset");
ALTER TABLE ONLY microbatch.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (batch_id);
ALTER TABLE ONLY microbatch.decision
    ADD CONSTRAINT decision_pkey PRIMARY KEY (decision_id);
ALTER TABLE ONLY microbatch.failure
    ADD CONSTRAINT failure_pkey PRIMARY KEY (failure_id);
ALTER TABLE ONLY microbatch.merge
    ADD CONSTRAINT merge_pkey PRIMARY KEY (merge_id);
ALTER TABLE ONLY microbatch.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);
ALTER TABLE ONLY microbatch.offset_range
    ADD CONSTRAINT offset_counts_once EXCLUDE USING gist (pipeline_id WITH =, topic_id WITH =, partition WITH =, offsets WITH &&);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_pipeline_id_number_key UNIQUE (pipeline_id, number);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_pkey PRIMARY KEY (segment_id);
ALTER TABLE ONLY microbatch.partition_progress
    ADD CONSTRAINT partition_progress_pkey PRIMARY KEY (pipeline_id, topic_id, partition);
ALTER TABLE ONLY microbatch.pipeline
    ADD CONSTRAINT pipeline_deployment_name_key UNIQUE (deployment, name);
ALTER TABLE ONLY microbatch.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY microbatch.publisher
    ADD CONSTRAINT publisher_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY microbatch.redriven
    ADD CONSTRAINT redriven_pkey PRIMARY KEY (pipeline_id, topic_id, partition, "offset");
ALTER TABLE ONLY microbatch.reject
    ADD CONSTRAINT reject_pkey PRIMARY KEY (pipeline_id, topic_id, partition, "offset");
ALTER TABLE ONLY microbatch.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (pipeline_id, dag_id, run_id, shard, clear_number);
ALTER TABLE ONLY microbatch.set_aside
    ADD CONSTRAINT set_aside_pkey PRIMARY KEY (pipeline_id, publication, "position");
ALTER TABLE ONLY microbatch.sink
    ADD CONSTRAINT sink_pkey PRIMARY KEY (pipeline_id, kind, name);
ALTER TABLE ONLY microbatch.touched
    ADD CONSTRAINT touched_pkey PRIMARY KEY (touched_id);
ALTER TABLE ONLY public.old_minute_contribution
    ADD CONSTRAINT old_minute_contribution_pkey PRIMARY KEY (batch_id, window_start, seller);
ALTER TABLE ONLY public.old_minute_history
    ADD CONSTRAINT old_minute_history_pkey PRIMARY KEY (window_start, seller, revision);
ALTER TABLE ONLY public.old_minute
    ADD CONSTRAINT old_minute_pkey PRIMARY KEY (window_start, seller);
ALTER TABLE ONLY public.old_pair
    ADD CONSTRAINT old_pair_first_partition_first_offset_key UNIQUE (first_partition, first_offset);
ALTER TABLE ONLY public.old_pair
    ADD CONSTRAINT old_pair_pkey PRIMARY KEY (second_partition, second_offset);
ALTER TABLE ONLY public.old_pair_waiting
    ADD CONSTRAINT old_pair_waiting_pkey PRIMARY KEY (value, batch_id, kafka_timestamp, source_partition, source_offset);
ALTER TABLE ONLY public.old_sale
    ADD CONSTRAINT old_sale_pkey PRIMARY KEY (source_partition, source_offset);
CREATE INDEX accepted_rejects_of_pipeline ON microbatch.accepted_rejects USING btree (pipeline_id, topic_id, partition);
CREATE INDEX batch_of_pipeline ON microbatch.batch USING btree (pipeline_id, batch_id);
CREATE INDEX batch_of_run ON microbatch.batch USING btree (pipeline_id, dag_id, run_id);
CREATE INDEX decision_of_pipeline ON microbatch.decision USING btree (pipeline_id, decision_id);
CREATE INDEX failure_of_pipeline ON microbatch.failure USING btree (pipeline_id, failure_id);
CREATE INDEX failure_of_pipeline_by_time ON microbatch.failure USING btree (pipeline_id, failed_at);
CREATE INDEX merge_of_pipeline ON microbatch.merge USING btree (pipeline_id, merge_id);
CREATE INDEX offset_range_of_batch ON microbatch.offset_range USING btree (batch_id);
CREATE INDEX outbox_segment_to_number ON microbatch.outbox_segment USING btree (pipeline_id) WHERE (number IS NULL);
CREATE INDEX redriven_by_decision ON microbatch.redriven USING btree (decision_id);
CREATE INDEX reject_of_batch ON microbatch.reject USING btree (batch_id);
CREATE UNIQUE INDEX sink_table_has_one_owner ON microbatch.sink USING btree (name) WHERE (kind = 'table'::text);
CREATE UNIQUE INDEX sink_topic_has_one_owner ON microbatch.sink USING btree (name) WHERE (kind = 'messages'::text);
CREATE INDEX touched_of_pipeline ON microbatch.touched USING btree (pipeline_id);
CREATE INDEX old_minute_contribution_window_start_seller_idx ON public.old_minute_contribution USING btree (window_start, seller);
CREATE INDEX old_minute_history_merge_id_idx ON public.old_minute_history USING btree (merge_id);
CREATE INDEX old_pair_batch_id_idx ON public.old_pair USING btree (batch_id);
CREATE INDEX old_pair_first_batch_id_idx ON public.old_pair USING btree (first_batch_id);
CREATE INDEX old_pair_waiting_batch_id_idx ON public.old_pair_waiting USING btree (batch_id);
ALTER TABLE ONLY microbatch.accepted_rejects
    ADD CONSTRAINT accepted_rejects_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.accepted_rejects
    ADD CONSTRAINT accepted_rejects_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.already_sent
    ADD CONSTRAINT already_sent_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.already_sent
    ADD CONSTRAINT already_sent_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.batch
    ADD CONSTRAINT batch_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.batch
    ADD CONSTRAINT batch_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.decision
    ADD CONSTRAINT decision_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.failure
    ADD CONSTRAINT failure_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.merge
    ADD CONSTRAINT merge_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.merge
    ADD CONSTRAINT merge_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.offset_range
    ADD CONSTRAINT offset_range_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES microbatch.batch(batch_id);
ALTER TABLE ONLY microbatch.offset_range
    ADD CONSTRAINT offset_range_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES microbatch.batch(batch_id);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_merge_id_fkey FOREIGN KEY (merge_id) REFERENCES microbatch.merge(merge_id);
ALTER TABLE ONLY microbatch.outbox_segment
    ADD CONSTRAINT outbox_segment_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.partition_progress
    ADD CONSTRAINT partition_progress_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.partition_progress
    ADD CONSTRAINT partition_progress_retired_by_fkey FOREIGN KEY (retired_by) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.publisher
    ADD CONSTRAINT publisher_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.redriven
    ADD CONSTRAINT redriven_decision_id_fkey FOREIGN KEY (decision_id) REFERENCES microbatch.decision(decision_id);
ALTER TABLE ONLY microbatch.redriven
    ADD CONSTRAINT redriven_pipeline_id_topic_id_partition_offset_fkey FOREIGN KEY (pipeline_id, topic_id, partition, "offset") REFERENCES microbatch.reject(pipeline_id, topic_id, partition, "offset") ON UPDATE CASCADE;
ALTER TABLE ONLY microbatch.reject
    ADD CONSTRAINT reject_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES microbatch.batch(batch_id);
ALTER TABLE ONLY microbatch.reject
    ADD CONSTRAINT reject_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.run
    ADD CONSTRAINT run_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.set_aside
    ADD CONSTRAINT set_aside_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.sink
    ADD CONSTRAINT sink_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
ALTER TABLE ONLY microbatch.touched
    ADD CONSTRAINT touched_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES microbatch.batch(batch_id);
ALTER TABLE ONLY microbatch.touched
    ADD CONSTRAINT touched_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES microbatch.pipeline(pipeline_id);
