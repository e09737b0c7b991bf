"""Free SQL: what there is to ask, examples, and the answer to a query. Only for who may read all."""

from itertools import groupby
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Body, HTTPException, status

from microbatch_ui.access import SqlReaderDep
from microbatch_ui.answers import Answer
from microbatch_ui.asking import QueryRefusedError, ask
from microbatch_ui.database import queries, reading, rows
from microbatch_ui.examples import examples_of
from microbatch_ui.pipelines import visible

router: Final = APIRouter(prefix="/api/sql")
MAX_QUERY: Final = 100_000
"""Characters."""
_MOST_RELATIONS: Final = 5_000
_CATALOG: Final = queries("catalog")

# Text of SQL has no NUL: behind one, PostgreSQL would not see anything.
Query = Annotated[str, Body(embed=True, min_length=1, max_length=MAX_QUERY, pattern=r"\A[^\x00]*\z")]


@router.get("/catalog")
def catalog(_viewer: SqlReaderDep) -> Answer:
    """The schemas that the reading role sees, `public` first, with tables, views, functions and their columns."""
    with reading() as connection:
        found = rows(connection, _CATALOG["relations"], {"most": _MOST_RELATIONS})
    found.sort(key=lambda row: (row["schema"] != "public", row["schema"], row["name"]))
    schemas = [
        {"name": schema, "tables": [_without_schema(row) for row in tables]}
        for schema, tables in groupby(found, key=lambda row: row["schema"])
    ]
    return Answer({"schemas": schemas})


def _without_schema(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "schema"}


@router.get("/examples")
def examples(viewer: SqlReaderDep) -> Answer:
    """Queries that work, for each pipeline that the person may see."""
    with reading() as connection:
        found = [each for pipeline in visible(connection, viewer) for each in examples_of(connection, pipeline)]
    return Answer(found)


@router.post("/run")
def run(_viewer: SqlReaderDep, query: Query) -> Answer:
    """The answer to a query; 400 with PostgreSQL's message, detail, hint and position if it refuses."""
    try:
        return Answer(ask(query))
    except QueryRefusedError as error:
        refusal = msgspec.to_builtins(error.refusal)
        raise HTTPException(status.HTTP_400_BAD_REQUEST, refusal) from error
