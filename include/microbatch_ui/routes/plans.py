"""What an action would do. The action itself is a run of the DAG, which the page asks Airflow's own API for."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, status

from microbatch.errors import RunParamsError
from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.database import reading
from microbatch_ui.pipelines import pipeline_of
from microbatch_ui.plans import plan_of

router: Final = APIRouter(prefix="/api")


@router.get("/pipelines/{name}/plan")
def plan(
    name: str,
    viewer: ViewerDep,
    mode: str,
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
) -> Answer:
    """What a manual run with these params would do; for those who may start one."""
    with reading() as connection:
        pipeline = pipeline_of(connection, viewer, name)
        if not viewer.may_trigger(pipeline.dag_id):
            raise HTTPException(
                status.HTTP_403_FORBIDDEN,
                f"You may not start runs of DAG {pipeline.dag_id!r}: ask who manages Airflow's roles",
            )
        try:
            return Answer(plan_of(connection, pipeline, mode, start, end, datetime.now(UTC)))
        except RunParamsError as error:
            raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
