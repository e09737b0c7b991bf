"""What the pages ask for: a module for each of them, a router in each module."""

from typing import Final

from fastapi import APIRouter

from microbatch_ui.routes import me, plans, sql, topics

ROUTERS: Final[tuple[APIRouter, ...]] = (
    me.router,
    plans.router,
    sql.router,
    topics.router,
)
