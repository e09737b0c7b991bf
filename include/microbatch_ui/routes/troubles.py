"""What was not as it should be: late messages and what they have corrected, and rejects with their reasons."""

from typing import Any, Final

from fastapi import APIRouter

from microbatch.postgres import Connection
from microbatch_ui.access import ViewerDep
from microbatch_ui.answers import Answer
from microbatch_ui.database import queries, reading, rows
from microbatch_ui.pipelines import pipeline_of
from microbatch_ui.window_outputs import WindowOutput, window_outputs

router: Final = APIRouter(prefix="/api/pipelines/{name}")
_TROUBLES: Final = queries("troubles")
_RESULTS: Final = queries("results")
_REJECTS: Final = 10_000
_SAMPLES: Final = 50


@router.get("/late")
def late(viewer: ViewerDep, name: str) -> Answer:
    """Of each table, the newest 100 windows that had late messages; and 30 days of them, by the day of UTC.

    `lateness_s` is that of the latest message. `corrections` counts those of a window by whatever they came.
    """
    with reading() as connection:
        outputs = window_outputs(connection, pipeline_of(connection, viewer, name))
        windows = [window for output in outputs for window in _late_windows(connection, output)]
        days = [day for output in outputs for day in _of_output(connection, output, "late_days")]
    return Answer({"windows": windows, "days": days})


@router.get("/rejects")
def rejects(viewer: ViewerDep, name: str) -> Answer:
    """How often which reason was given, among the newest 10,000 rejects; and where the newest 50 are."""
    with reading() as connection:
        facts = {"pipeline_id": pipeline_of(connection, viewer, name).pipeline_id}
        reasons = rows(connection, _TROUBLES["reasons"], {**facts, "limit": _REJECTS})
        samples = rows(connection, _TROUBLES["samples"], {**facts, "limit": _SAMPLES})
    return Answer({"reasons": reasons, "samples": samples})


def _late_windows(connection: Connection, output: WindowOutput) -> list[dict[str, Any]]:
    found = _of_output(connection, output, "late_windows")
    facts = {"windows": [row["window_start"] for row in found]}
    corrected = rows(connection, output.compose(_RESULTS["corrections_of_windows"]), facts)
    return [{**row, **corrections} for row, corrections in zip(found, corrected, strict=True)]


def _of_output(connection: Connection, output: WindowOutput, query: str) -> list[dict[str, Any]]:
    found = rows(connection, _TROUBLES[query], {"output": output.ledger_name})
    return [{"table": output.table, **row} for row in found]
