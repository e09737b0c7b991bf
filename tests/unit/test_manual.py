"""The documentation as a whole: every block has a language and a test that runs it, every link leads somewhere."""

import re
from pathlib import Path
from typing import Final

import pytest

from local.home import REPOSITORY

PAGES: Final = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK: Final = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
SHOWN: Final = {"text", "console"}
"""Languages of what a machine printed, of drawings, and of what is only said: `console`."""

RUN_BY: Final[dict[str, str]] = {
    "README.md sh": "integration/test_new_pipeline.py e2e/test_make_up.py",
    "README.md python": "unit/test_manual.py",
    "containers.md sh": "unit/test_containers.py",
    "design.md python": "unit/test_manual.py",
    "existing-airflow.md dockerfile": "e2e/test_wheel.py",
    "existing-airflow.md ini": "integration/test_pgbouncer.py",
    "existing-airflow.md sh": "e2e/test_wheel.py",
    "existing-airflow.md sql": "e2e/test_wheel.py",
    "formats.md python": "unit/test_value_formats.py",
    "history.md python": "dags/test_assets.py",
    "kubernetes.md sh": "unit/test_kubernetes.py",
    "metrics.md sh": "ui/test_prometheus.py",
    "metrics.md yaml": "unit/test_alerts.py",
    "operations.md sh": "integration/test_operations.py",
    "operations.md yaml": "unit/test_operations.py",
    "scaling.md sh": "unit/test_scaling.py",
    "scaling.md sql": "integration/test_partitioned_tables.py",
    "security.md json": "security/test_servers_with_tls.py",
    "security.md sh": "security/test_servers_with_tls.py",
    "security.md sql": "security/test_least_rights.py",
    "sql.md python": "integration/test_sql_docs.py",
    "sql.md sh": "integration/test_sql_docs.py",
    "sql.md sql": "integration/test_sql_docs.py",
    "step-by-step.md sh": "integration/test_step_by_step.py",
    "tutorial.md sh": "integration/test_tutorial.py",
}
"""Which tests run the blocks of a language of a page; where that takes Docker or a cluster: compare them with files."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block of a page."""
    return [(language, text) for _, language, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """Where a page leads within the project."""
    found = LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_and_a_test_that_runs_it(page: Path) -> None:
    kinds = {language.split()[0] if language else "none" for language, _ in blocks(page)} - SHOWN

    assert sorted(kind for kind in kinds if f"{page.name} {kind}" not in RUN_BY) == []


def test_the_tests_that_run_the_blocks_are_there_and_read_the_page() -> None:
    for of, tests in RUN_BY.items():
        for test in tests.split():
            text = (REPOSITORY / "tests" / test).read_text(encoding="utf-8")
            assert of.split()[0].removesuffix(".md") in text, f"{test} does not name {of}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def test_the_index_leads_to_every_page() -> None:
    index = REPOSITORY / "docs" / "README.md"
    there = {(index.parent / link).resolve() for link in links(index)}

    assert [page.name for page in PAGES if page != index and page not in there] == []


def test_the_pipeline_that_is_shown_is_the_one_that_runs() -> None:
    code = (REPOSITORY / "dags" / "sales.py").read_text(encoding="utf-8")
    (shown,) = [text for language, text in blocks(REPOSITORY / "README.md") if language == "python"]

    assert shown.strip() in code
    assert [part for part in shown.split("\n\n\n") if part.strip() not in code] == []
