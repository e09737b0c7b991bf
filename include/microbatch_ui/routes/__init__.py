"""What the pages ask for: a module for each of them, a router in each module."""

from typing import Final

from fastapi import APIRouter

from microbatch_ui.routes import batches, me, metrics, numbers, pipelines, plans, results, sql, topics, troubles

ROUTERS: Final[tuple[APIRouter, ...]] = (
    batches.router,
    me.router,
    metrics.router,
    numbers.router,
    pipelines.router,
    plans.router,
    results.router,
    sql.router,
    topics.router,
    troubles.router,
)
