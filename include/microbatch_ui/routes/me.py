"""Who is logged in."""

from typing import Final

from fastapi import APIRouter

from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer

router: Final = APIRouter(prefix="/api")


@router.get("/me")
def me(viewer: ViewerDep) -> Answer:
    """The person's name, and which pages are for that person."""
    return Answer({"name": viewer.name, "may_read_sql": viewer.may_read_sql, "may_read_topics": viewer.may_read_topics})
