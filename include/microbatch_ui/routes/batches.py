"""The batches of a pipeline, the newest first, and the runs that made them."""

from typing import Annotated, Final

from fastapi import APIRouter, Query

from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.database import queries, reading, rows
from microbatch_ui.pipelines import pipeline_of

router: Final = APIRouter(prefix="/api/pipelines/{name}")
_BATCHES: Final = queries("batches")
_PAGE: Final = 50


@router.get("/batches")
def batches(viewer: ViewerDep, name: str, before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None) -> Answer:
    """A page of batches below the number `before`; `next` is that of the next page, or null.

    Ranges are `[start, end)`. A batch without a run is a loss that a person has accepted, or an archive of old ones.
    """
    with reading() as connection:
        pipeline = pipeline_of(connection, viewer, name)
        facts = {"pipeline_id": pipeline.pipeline_id, "before": before, "limit": _PAGE + 1}
        found = rows(connection, _BATCHES["page"], facts)
    shown = found[:_PAGE]
    return Answer({"batches": shown, "next": shown[-1]["batch_id"] if len(found) > _PAGE else None})
