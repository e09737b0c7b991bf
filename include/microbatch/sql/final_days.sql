-- Named queries over final days: what Airflow has still to be told.

-- name: told_before
-- Tellings that may not have arrived.
select
    f.output,
    f.told,
    min(f.told_at) as since
from microbatch.final_day as f
join microbatch.pipeline as p using (pipeline_id)
where
    p.name = %(pipeline)s
    and p.deployment = %(deployment)s
    and f.told is not null
group by
    f.output,
    f.told;

-- name: forget_final_days
-- Their events have arrived. A day that was corrected meanwhile has lost its mark, and stays.
delete from microbatch.final_day
where told = any(%(heard)s);

-- name: tell_final_days
-- The oldest ones, whoever was about to tell them before.
update microbatch.final_day as f
set
    told = %(telling)s,
    told_at = clock_timestamp()
from (
    select
        pipeline_id,
        output,
        day
    from microbatch.final_day
    where pipeline_id = (
        select pipeline_id
        from microbatch.pipeline
        where
            name = %(pipeline)s
            and deployment = %(deployment)s
    )
    order by
        day,
        output
    limit %(most)s
) as oldest
where (f.pipeline_id, f.output, f.day) = (oldest.pipeline_id, oldest.output, oldest.day)
returning
    f.output,
    f.day;
