"""Finding pipelines in the files of a DAGs folder."""

from pathlib import Path

import pytest

from microbatch.declared import find_pipeline, load_pipelines
from microbatch.errors import DagFileError, DeclarationError, PipelineNotFoundError

DECLARATION = """
from microbatch import Count, Event, KafkaTopic, Pipeline, PostgresTable, TumblingWindow


class Sale(Event):
    seller_id: str


window = TumblingWindow("1 minute", by=["seller_id"], measures={{"sales": Count()}}, to=[PostgresTable("sums")])
sales = Pipeline(name="{name}", source=KafkaTopic("sales-usd", Sale), outputs=[window])
"""


def declare(folder: Path, file: str, name: str) -> None:
    (folder / file).write_text(DECLARATION.format(name=name))


def test_pipelines_of_all_files_are_found_by_name(tmp_path: Path) -> None:
    declare(tmp_path, "first.py", "zebra")
    declare(tmp_path, "second.py", "ant")
    (tmp_path / "helper.py").write_text("answer = 42\n")
    (tmp_path / "notes.txt").write_text("no Python")

    assert [pipeline.name for pipeline in load_pipelines(tmp_path)] == ["ant", "zebra"]
    assert find_pipeline(tmp_path, "zebra").source.name == "sales-usd"


def test_an_empty_folder_declares_nothing(tmp_path: Path) -> None:
    assert load_pipelines(tmp_path) == []
    with pytest.raises(PipelineNotFoundError, match="declared there: nothing"):
        find_pipeline(tmp_path, "sales")


def test_an_unknown_name_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    declare(tmp_path, "first.py", "zebra")
    declare(tmp_path, "second.py", "ant")

    with pytest.raises(PipelineNotFoundError, match=r"no pipeline 'sales' in .*; declared there: ant, zebra"):
        find_pipeline(tmp_path, "sales")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1 / 0\n", "ZeroDivisionError: division by zero"), ("import nowhere\n", "nowhere"), ("def\n", "SyntaxError")],
)
def test_a_file_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path, text: str, shown: str) -> None:
    (tmp_path / "broken.py").write_text(text)

    with pytest.raises(DagFileError, match=rf"broken\.py cannot be imported: .*{shown}"):
        load_pipelines(tmp_path)


def test_a_mistake_in_a_declaration_keeps_its_own_text(tmp_path: Path) -> None:
    declare(tmp_path, "wrong.py", "Not A Name")

    with pytest.raises(DeclarationError, match="'Not A Name'"):
        load_pipelines(tmp_path)


def test_two_files_that_declare_one_name_are_refused(tmp_path: Path) -> None:
    declare(tmp_path, "first.py", "sales")
    declare(tmp_path, "second.py", "sales")

    with pytest.raises(DeclarationError, match="'sales'"):
        load_pipelines(tmp_path)
