"""Results of a window output: as lines over time, and as rows."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query

from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.database import reading
from microbatch_ui.pipelines import pipeline_of
from microbatch_ui.result_rows import rows_of
from microbatch_ui.series import MOST_KEYS, series
from microbatch_ui.window_outputs import window_output
from microbatch_ui.windows import Span

router: Final = APIRouter(prefix="/api/pipelines/{name}/results/{table}")

Since = Annotated[datetime | None, Query(alias="from")]
Until = Annotated[datetime | None, Query(alias="to")]


@router.get("/series")
def series_of_results(
    viewer: ViewerDep,
    name: str,
    table: str,
    since: Since = None,
    until: Until = None,
    measure: str | None = None,
    key: Annotated[list[str] | None, Query(max_length=MOST_KEYS)] = None,
) -> Answer:
    """A measure over the newest windows of a span, for these keys or for the largest ones; see `series.Series`."""
    with reading() as connection:
        output = window_output(connection, pipeline_of(connection, viewer, name), table)
        return Answer(series(connection, output, Span(since, until), measure, key or []))


@router.get("/rows")
def rows_of_results(
    viewer: ViewerDep,
    name: str,
    table: str,
    since: Since = None,
    until: Until = None,
    key: str | None = None,
    before: str | None = None,
) -> Answer:
    """A page of results, the newest first; see `result_rows.Page`."""
    with reading() as connection:
        output = window_output(connection, pipeline_of(connection, viewer, name), table)
        return Answer(rows_of(connection, output, Span(since, until), key, before))
