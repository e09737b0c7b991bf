-- Named queries of pruning: what is older than it is kept. What stands in braces is composed in pruning.py. Each
-- statement takes a part, so that no transaction is long.

-- name: raise_history_from
-- Before anything goes, so that nobody gets a wrong answer about a time of which something is gone.
update microbatch.pipeline
set history_from = greatest(history_from, %(before)s)
where pipeline_id = %(pipeline_id)s;

-- name: next_window
select min(h.window_start) as window_start
from {history} as h
where h.window_start > coalesce(%(after)s::timestamptz, '-infinity');

-- name: prune_revisions
-- Superseded ones of some windows. The newest of each key holds, or is a retraction that holds: it stays, for revisions
-- are numbered by it.
delete from {history} as h
where
    h.window_start between %(first)s and %(last)s
    and h.valid_to < %(before)s
    and exists (
        select
        from {history} as newer
        where
            ({newer_key}) = ({h_key})
            and newer.revision > h.revision
    );

-- name: raise_rows_from
update microbatch.pipeline
set rows_from = greatest(rows_from, %(before)s)
where pipeline_id = %(pipeline_id)s;

-- name: archived_ranges
-- What archives have read whose batches are all older: nobody can redo them, so no row comes back.
select
    r.partition,
    lower(r.offsets) as start_offset,
    upper(r.offsets) as end_offset
from microbatch.batch as b
join microbatch.offset_range as r using (batch_id)
where
    b.pipeline_id = %(pipeline_id)s
    and b.kind = 'archive'
    and b.batch_time < %(before)s
order by
    b.batch_id,
    r.partition,
    start_offset;

-- name: prune_rows
-- By key, not by place: somebody may have partitioned the table, and each of its parts has the same places.
delete from {rows}
where
    source_partition = %(partition)s
    and source_offset = any(
        array(
            select o.source_offset
            from {rows} as o
            where
                o.source_partition = %(partition)s
                and o.source_offset >= %(start_offset)s
                and o.source_offset < %(end_offset)s
            limit %(limit)s
        )
    );

-- name: prune_runs
delete from microbatch.run
where ctid = any(
    array(
        select r.ctid
        from microbatch.run as r
        where
            r.pipeline_id = %(pipeline_id)s
            and r.completed_at < %(before)s
        limit %(limit)s
    )
);

-- name: prune_failures
delete from microbatch.failure
where ctid = any(
    array(
        select f.ctid
        from microbatch.failure as f
        where
            f.pipeline_id = %(pipeline_id)s
            and f.failed_at < %(before)s
        limit %(limit)s
    )
);

-- name: old_merges
select m.merge_id
from microbatch.merge as m
where
    m.pipeline_id = %(pipeline_id)s
    and m.merge_id > %(after)s
    and m.merged_at < %(before)s
    and m.decision_id is null
    and not exists (
        select
        from microbatch.outbox_segment as s
        where s.merge_id = m.merge_id
    )
order by m.merge_id
limit %(limit)s;

-- name: named_merges
select distinct merge_id
from {history}
where merge_id = any(%(merges)s);

-- name: prune_merges
delete from microbatch.merge
where merge_id = any(%(merges)s);
