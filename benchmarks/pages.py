"""Pages: how soon a large one is there, in a real browser.

`python -m benchmarks.pages` fills a pipeline with 1,440 windows of 1,000 keys, serves the app of the pages (without
Airflow around it, whose own page has its own time) and opens the pipeline's page in Chromium until chart and first rows
are on the screen.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
import uvicorn
from benchmarks.own_stack import own_stack
from benchmarks.past import Past, fill
from benchmarks.reporting import Report, save, show, verdict
from benchmarks.worlds import World, make_world
from playwright.sync_api import sync_playwright
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from starlette.types import ASGIApp

from local.ports import HOST, random_free

WINDOWS: Final = 1_440
KEYS: Final = 1_000
OPENED: Final = 10
BAR_S: Final = 2.0
_WHAT: Final = ("first rows are there", "the chart is there too")


class Anybody:
    """Who asks, and Airflow's auth manager, as far as the pages ask them: everybody may see everything."""

    def get_name(self) -> str:
        """Of the person."""
        return "anybody"

    def is_authorized_dag(self, **_: Any) -> bool:
        """Always."""
        return True

    is_authorized_custom_view = is_authorized_connection = is_authorized_dag


def main() -> None:
    """Fill, open and tell."""
    console = Console()
    with own_stack(console) as stack:
        world = make_world(stack, "pages")
        with psycopg.connect(stack.superuser("pages"), autocommit=True) as superuser:
            fill(superuser, _past(world), console.print)
            superuser.execute("vacuum analyze")
        with _served(world) as url:
            seconds = sorted(_opened(url) for _ in range(OPENED))
    title = f"A pipeline's page with {WINDOWS:,} windows of {KEYS:,} keys, opened {OPENED} times in Chromium"
    columns = ["until", "median s", "most s"]
    rows = [[what, median(each), max(each)] for what, each in zip(_WHAT, zip(*seconds, strict=True), strict=True)]
    bar = verdict("the last of these, s", max(each[-1] for each in seconds), BAR_S)
    report = Report("pages", title, columns, rows, [bar])
    show(report, console)
    save(report)


def _past(world: World) -> Past:
    ours = world.registration
    return Past(
        pipeline_id=ours.pipeline_id,
        topic=world.pipeline.source.name,
        topic_id=ours.topic_id,
        definition_hash=ours.definition_hash,
        first=datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=WINDOWS),
        minutes=WINDOWS,
        keys=KEYS,
        partitions=4,
        offsets=1,
    )


@contextmanager
def _served(world: World) -> Iterator[str]:
    """The address of the app, over an empty Airflow."""
    home = Path(tempfile.mkdtemp(prefix="microbatch-pages-"))
    server = uvicorn.Server(uvicorn.Config(_app(world, home), host=HOST, port=random_free(), log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://{HOST}:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()
        shutil.rmtree(home)


def _app(world: World, home: Path) -> ASGIApp:
    at = conninfo_to_dict(world.connections.postgres)
    postgres = {
        "conn_type": "postgres",
        "host": at["host"],
        "port": int(str(at["port"])),
        "login": at["user"],
        "password": at["password"],
        "schema": at["dbname"],
    }
    # Airflow reads them when it is imported.
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW_CONN_POSTGRES_READER": json.dumps(postgres),
        "MICROBATCH_DEPLOYMENT": world.connections.deployment,
    }
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415
    from airflow.utils.db import initdb  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415

    from microbatch_ui import access, app  # noqa: PLC0415

    initdb()
    made, root = app.make_app(), FastAPI()
    access.get_auth_manager = Anybody  # type: ignore[assignment, attr-defined]
    made.dependency_overrides[get_user] = Anybody
    root.mount("/microbatch", made)
    return root


def _opened(url: str) -> tuple[float, float]:
    """Seconds from the address to the first rows, and to the chart, with nothing in the browser's cache."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        began_s = time.monotonic()
        page.goto(f"{url}/microbatch/pipelines#/sales?span=24h")
        page.get_by_role("region", name="Rows of sales").locator("tbody tr").first.wait_for()
        rows_s = time.monotonic() - began_s
        page.locator("canvas").first.wait_for()
        chart_s = time.monotonic() - began_s
        browser.close()
    return rows_s, chart_s


if __name__ == "__main__":
    main()
