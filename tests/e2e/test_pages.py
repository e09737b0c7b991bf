"""The pages in Airflow's UI, as people see them: a real browser, and all that `make up` starts.

What a page shows is compared with SQL, for minutes that do not change any more. Times are deadlines that end a hang.
"""

import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Message, Producer
from playwright.sync_api import Browser, FrameLocator, Page, expect

from fix_browser import opened, picture
from limited_auth import ONE_DAG, VIEWER
from local import airflow_services, process, stack
from local.files import read_json, write_json
from local.home import REPOSITORY
from own_stack import own_stack, until

pytestmark = pytest.mark.timeout(900)
SCRIPT = "<script>document.title='broken in'</script><img src=x onerror=document.title='broken in'>"
PIPELINES = ("logins", "number_pairs", "orders", "sales", "weather")
PATHS = ("pipelines", "topics", "sql", "dag?dag_id=sales", "static/app.js", "metrics", "api/me", "api/pipelines")

Look = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A whole stack, started by `make up`, whose api-server knows two more people."""
    with own_stack() as folder:
        make = ["/usr/bin/env", "make", "up", f"PYTHON={sys.executable}"]
        subprocess.run(make, cwd=REPOSITORY, check=True)
        _let_in(folder)
        yield folder


def _let_in(home: Path) -> None:
    """Start the api-server anew, with an auth manager that knows people with fewer rights."""
    running, file = stack.find(home), home / "airflow" / "passwords.json"
    known = read_json(file, dict[str, str]) or {}
    write_json(file, known | {name: secrets.token_urlsafe(16) for name in (ONE_DAG, VIEWER)})
    path = os.pathsep.join([running.environment["PYTHONPATH"], str(REPOSITORY / "tests")])
    users = f"admin:admin,{ONE_DAG}:user,{VIEWER}:viewer"
    more = {
        "PYTHONPATH": path,
        "AIRFLOW__CORE__AUTH_MANAGER": "limited_auth.LimitedAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
    }
    process.stop(home, airflow_services.API_SERVER)
    port = running.ports.airflow
    started = airflow_services.start_airflow(home, airflow_services.API_SERVER, port, running.environment | more)
    airflow_services.wait_for_airflow(started, port)


@pytest.fixture(scope="module")
def addresses(home: Path) -> dict[str, str]:
    """By which variables programs find the stack."""
    return stack.addresses(stack.find(home))


@pytest.fixture(scope="module")
def tokens(home: Path, addresses: dict[str, str]) -> dict[str, str]:
    """What Airflow gives each person who logs in."""
    passwords = read_json(home / "airflow" / "passwords.json", dict[str, str]) or {}
    at = addresses["AIRFLOW_URL"] + "/auth/token"
    logins = {name: {"username": name, "password": password} for name, password in passwords.items()}
    return {name: str(_answer(at, None, login)["access_token"]) for name, login in logins.items()}


@pytest.fixture
def look(browser: Browser, tokens: dict[str, str], addresses: dict[str, str]) -> Look:
    """`look(who=…, size=…, theme=…)`: a page of somebody who is logged in."""
    return lambda who="admin", **how: opened(browser, tokens[who], addresses["AIRFLOW_URL"], **how)


def _answer(url: str, token: str | None, body: object = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        found: dict[str, Any] = json.load(answer)
    return found


def ask(addresses: dict[str, str], statement: str) -> list[tuple[Any, ...]]:
    """Rows from the warehouse, with the reading role."""
    with psycopg.connect(addresses["POSTGRES_DSN"], options="-c timezone=UTC") as reader:
        return reader.execute(statement.encode()).fetchall()


def cells(table: Any) -> list[list[str]]:
    """The texts of a table's rows, without thousands' commas."""
    rows = table.locator("tbody tr").all()
    return [[cell.inner_text().replace(",", "") for cell in row.locator("td").all()] for row in rows]


def frame_of(page: Page) -> FrameLocator:
    """Our page inside Airflow's."""
    return page.frame_locator("iframe")


def last_minute(addresses: dict[str, str]) -> datetime:
    """The newest minute of sales that is final."""
    ((found,),) = ask(addresses, "select max(window_start) from aggregated_sales where is_final")
    assert isinstance(found, datetime)
    return found


# -- what pages show ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "theme"), [("desk", "light"), ("desk", "dark"), ("phone", "light")])
def test_each_page_opens_in_airflows_look_on_any_screen(look: Look, size: str, theme: str) -> None:
    with look(size=size, theme=theme) as page:
        for name, heading in (("pipelines", "Pipelines"), ("topics", "Topics"), ("sql", "SQL")):
            page.goto(f"/microbatch/{name}")
            expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
            page.wait_for_load_state("networkidle")
            assert page.locator("html").get_attribute("data-theme") == theme
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
            picture(page, f"{name}-{size}-{theme}")


def test_all_pipelines_stand_in_airflows_navigation(look: Look) -> None:
    with look() as page:
        page.goto("/plugin/microbatch-pipelines")
        for name in PIPELINES:
            expect(frame_of(page).get_by_role("article", name=name)).to_be_visible()
        picture(page, "pipelines-in-airflow")


def test_a_reload_of_airflows_page_leads_to_the_same_place(look: Look) -> None:
    with look() as page:
        page.goto("/plugin/microbatch-pipelines")
        frame_of(page).get_by_role("link", name="sales", exact=True).click()
        expect(frame_of(page).get_by_role("heading", name="sales", level=1)).to_be_visible()
        frame_of(page).get_by_role("tab", name="Batches").click()
        expect(frame_of(page).get_by_role("tab", name="Batches")).to_have_attribute("aria-selected", "true")

        page.reload()

        expect(frame_of(page).get_by_role("heading", name="sales", level=1)).to_be_visible()
        expect(frame_of(page).get_by_role("tab", name="Batches")).to_have_attribute("aria-selected", "true")


def test_the_tab_on_a_dag_shows_its_pipeline_and_leads_to_runs(look: Look) -> None:
    with look() as page:
        page.goto("/dags/sales/plugin/microbatch-pipeline")
        expect(frame_of(page).get_by_role("heading", name="sales", level=1)).to_be_visible()
        picture(page, "tab-of-a-dag")
        frame_of(page).get_by_role("tab", name="Batches").click()
        frame_of(page).get_by_role("link", name="run").first.click()
        page.wait_for_url("**/dags/sales/runs/*")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_pipelines_rows_are_those_of_the_table(home: Path, look: Look, addresses: dict[str, str], theme: str) -> None:
    minute = last_minute(addresses)
    query = f"select seller_id, amount_usd::int, sales::int from aggregated_sales where window_start = '{minute}'"
    with look(theme=theme) as page:
        start, end = (at.isoformat().replace("+00:00", "Z") for at in (minute, minute + timedelta(minutes=1)))
        page.goto(f"/microbatch/pipelines#/sales?from={start}&to={end}")
        rows = page.get_by_role("region", name="Rows of aggregated_sales").get_by_role("table")

        def agree() -> bool:
            # Late events may correct the minute between the two looks.
            page.reload()
            expect(rows.locator("tbody tr").first).to_be_visible()
            shown = {(row[2], int(row[3]), int(row[4])) for row in cells(rows)}
            return shown == set(ask(addresses, query))

        until(home, "the page shows what the table has", agree)
        picture(page, f"pipeline-{theme}")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_all_parts_of_each_pipeline_open(look: Look, pipeline: str) -> None:
    with look() as page:
        page.goto(f"/microbatch/pipelines#/{pipeline}")
        for tab in ("Batches", "Flow", "Late data", "Dead letters", "Partitions"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_load_state("networkidle")
            expect(page.get_by_role("alert")).to_have_count(0)
            if pipeline == "logins":
                picture(page, tab.lower().replace(" ", "-"))


def test_a_number_leads_to_its_revisions_and_offsets(look: Look, addresses: dict[str, str]) -> None:
    minute = last_minute(addresses)
    query = f"select seller_id, amount_usd::int from aggregated_sales where window_start = '{minute}' limit 1"
    ((seller, amount),) = ask(addresses, query)
    with look() as page:
        at = minute.isoformat().replace("+00:00", "Z")
        page.goto(f"/microbatch/pipelines#/sales/number/aggregated_sales?window={at}&key={seller}")
        expect(page.get_by_role("main")).to_contain_text(f"{amount:,}")
        page.wait_for_load_state("networkidle")
        expect(page.get_by_role("alert")).to_have_count(0)
        picture(page, "number")


# -- topics and SQL ----------------------------------------------------------------------------------------------------


def test_a_dead_letter_with_a_script_in_it_is_text(home: Path, look: Look, addresses: dict[str, str]) -> None:
    producer = Producer({"bootstrap.servers": addresses["KAFKA_BOOTSTRAP_SERVERS"]})
    sent: list[Message] = []
    value = json.dumps({"seller_id": SCRIPT})
    producer.produce("sales-usd", value, SCRIPT, headers={"from": SCRIPT}, on_delivery=lambda _, at: sent.append(at))
    assert producer.flush(120) == 0
    place = f'partition = {sent[0].partition()} and "offset" = {sent[0].offset()}'
    query = f"select count(*) from microbatch.reject join microbatch.pipeline using (pipeline_id) where {place}"
    until(home, "its reject", lambda: ask(addresses, f"{query} and name = 'sales'") == [(1,)])

    with look() as page:
        page.goto("/microbatch/topics#/sales-usd-dlq")
        page.get_by_role("button", name="Follow").click()
        page.get_by_role("searchbox").fill("broken in")
        expect(page.get_by_role("main")).to_contain_text("<script>")
        picture(page, "topic")
        page.goto("/microbatch/pipelines#/sales?tab=rejects")
        expect(page.get_by_role("table").first).to_be_visible()
        assert "broken in" not in page.title()
        assert page.locator("main script, main img").count() == 0


def run_sql(page: Page, statement: str) -> None:
    """Put a statement into the address, and run it."""
    page.goto("about:blank")
    page.goto(f"/microbatch/sql#/?{urllib.parse.urlencode({'query': statement})}")
    page.get_by_role("button", name="Run").click()


def test_sql_gives_what_postgres_gives(home: Path, look: Look, addresses: dict[str, str]) -> None:
    minute = last_minute(addresses)
    statement = f"select seller_id, amount_usd from aggregated_sales where window_start = '{minute}' order by 1"
    with look() as page:
        table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="amount_usd"))

        def agree() -> bool:
            run_sql(page, statement)
            expect(table.locator("tbody tr").first).to_be_visible()
            shown = [(row[0], int(row[1])) for row in cells(table)]
            return shown == [(seller, int(amount)) for seller, amount in ask(addresses, statement)]

        until(home, "the page shows what PostgreSQL gives", agree)
        picture(page, "sql")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("delete from aggregated_sales", "This is no query"),
        ("with gone as (delete from aggregated_sales returning *) select * from gone", "data-modifying statement"),
        ("select payload from microbatch.outbox_segment", "permission denied"),
        ("select pg_sleep(60)", "timeout"),
        ("select 1; select 2", "cannot insert multiple commands"),
        ("select * from nothing", "does not exist"),
    ],
)
def test_sql_that_may_not_be_is_refused_or_cut_off(look: Look, statement: str, told: str) -> None:
    with look(may_fail=True) as page:
        run_sql(page, statement)
        expect(page.get_by_role("alert")).to_contain_text(told)


# -- actions -----------------------------------------------------------------------------------------------------------


def test_an_action_is_shown_first_and_then_a_run_of_airflow(home: Path, look: Look, addresses: dict[str, str]) -> None:
    query = "select count(*) from microbatch.run where dag_id = 'sales' and run_id like 'manual%'"
    before = ask(addresses, query)
    with look() as page:
        page.goto("/microbatch/pipelines#/sales")
        page.get_by_role("button", name="Catch up now").click()
        page.get_by_role("button", name="Show what it would do").click()
        page.get_by_role("button", name="Start a run of sales").click()
        expect(page.get_by_role("status").filter(has_text="Airflow has queued")).to_be_visible()
    until(home, "the run", lambda: ask(addresses, query) != before)


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_nothing_is_answered(addresses: dict[str, str], path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _answer(f"{addresses['AIRFLOW_URL']}/microbatch/{path}", None)


def test_who_may_see_one_dag_sees_that_pipeline_only(look: Look) -> None:
    with look(ONE_DAG, may_fail=True) as page:
        page.goto("/microbatch/pipelines")
        expect(page.get_by_role("article")).to_have_count(1)
        expect(page.get_by_role("article", name="sales")).to_be_visible()
        page.goto("/microbatch/pipelines#/orders")
        expect(page.get_by_role("alert")).to_contain_text("no pipeline 'orders' that you may see")


@pytest.mark.parametrize(
    "path", ["api/pipelines/orders", "api/pipelines/orders/batches", "api/topics", "api/sql/catalog"]
)
def test_who_may_see_one_dag_is_refused_the_rest(addresses: dict[str, str], tokens: dict[str, str], path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
        _answer(f"{addresses['AIRFLOW_URL']}/microbatch/{path}", tokens[ONE_DAG])


def test_viewers_see_pipelines_and_no_data_and_start_nothing(look: Look) -> None:
    with look(VIEWER, may_fail=True) as page:
        page.goto("/microbatch/pipelines")
        expect(page.get_by_role("article")).to_have_count(len(PIPELINES))
        page.goto("/microbatch/pipelines#/sales")
        expect(page.get_by_role("heading", name="sales", level=1)).to_be_visible()
        expect(page.get_by_role("button", name="Catch up now")).to_have_count(0)
        for name in ("topics", "sql"):
            page.goto(f"/microbatch/{name}")
            expect(page.get_by_role("alert")).to_contain_text("You need the right")
