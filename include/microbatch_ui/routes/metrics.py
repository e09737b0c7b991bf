"""What Prometheus scrapes."""

from typing import Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from microbatch_ui.access import ViewerDep
from microbatch_ui.database import reading
from microbatch_ui.exposition import exposed, measure
from microbatch_ui.pipelines import visible

router: Final = APIRouter()


@router.get("/metrics")
def metrics(viewer: ViewerDep) -> Response:
    """The metrics of all pipelines that the asking person may see; docs/metrics.md says what they mean."""
    with reading() as connection:
        text = exposed(measure(connection, visible(connection, viewer)))
    return Response(text, media_type=CONTENT_TYPE_LATEST)
