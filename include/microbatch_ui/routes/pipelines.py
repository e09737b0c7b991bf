"""The list of pipelines, and all about one of them."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter

from microbatch.postgres import Connection
from microbatch.settings import deployment
from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.cards import cards
from microbatch_ui.database import queries, reading, rows
from microbatch_ui.flow import flow
from microbatch_ui.pipelines import Registered, pipeline_of, visible
from microbatch_ui.window_outputs import window_outputs

router: Final = APIRouter(prefix="/api")
_STATES: Final = queries("states")


@router.get("/pipelines")
def pipelines(viewer: ViewerDep) -> Answer:
    """A card for each pipeline that the person may see."""
    with reading() as connection:
        return Answer(cards(connection, viewer, visible(connection, viewer)))


@router.get("/pipelines/{name}")
def pipeline(viewer: ViewerDep, name: str) -> Answer:
    """The pipeline's card, what it computes, how far it is, and what has failed."""
    with reading() as connection:
        found = pipeline_of(connection, viewer, name)
        (card,) = cards(connection, viewer, [found])
        return Answer({**msgspec.structs.asdict(card), **_details(connection, found)})


def _details(connection: Connection, found: Registered) -> dict[str, Any]:
    facts = {"deployment": deployment(), "pipeline": found.name, "pipeline_id": found.pipeline_id}
    outputs = _outputs(connection, found)
    return {
        "outputs": [_shown(output) for output in outputs],
        "flow": flow({**found.definition, "outputs": outputs}),
        "deadletters_topic": found.definition["dead_letters"],
        **{name: rows(connection, _STATES[name], facts) for name in ("partitions", "gaps", "last_failures")},
    }


def _outputs(connection: Connection, found: Registered) -> list[dict[str, Any]]:
    """As the definition has them, with measures in their order."""
    measures = {each.ledger_name: each.measures for each in window_outputs(connection, found)}
    names = [f"{output['schema']}.{output['table']}" for output in found.outputs]
    return [
        {**output, "measures": measures[name]} if name in measures else output
        for output, name in zip(found.outputs, names, strict=True)
    ]


def _shown(output: dict[str, Any]) -> dict[str, Any]:
    """What the page needs. When a window's results are shown (`emit`) is not part of a definition."""
    plain = {name: output[name] for name in ("kind", "schema", "table", "topic")}
    if output["kind"] != "tumbling_window":
        return plain
    facts = {name: output[name] for name in ("by", "size_s", "timezone")}
    return {**plain, **facts, "measures": list(output["measures"]), "emit": None}
