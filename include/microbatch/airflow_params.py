"""What Airflow's trigger form asks for, and the run that comes of it.

Only scheduled runs and backfills work on the interval that Airflow gives them. For any other run Airflow makes one up,
from the time at which somebody clicked: there only the params count.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from airflow.sdk import Param
from airflow.sdk.types import DagRunProtocol

from microbatch.errors import RunParamsError
from microbatch.modes import run_in_mode
from microbatch.runs import MODES, Run

_MODE: Final = """\
- **catch up** reads all that no run has read yet, as every scheduled run does. It has no interval.
- **interval** reads what no run has read yet of the messages from `from` until `to`, by Kafka's timestamps: for \
history from before the pipeline's start. More than a few minutes of work is for *Backfill*, which leaves the \
schedule alone.
- **reprocess** does all batches again that hold messages from `from` until `to`, with the code of today, and \
corrects their results. What had been published to a stream's topic stays there. Batches that are older than the \
pipeline keeps them cannot be done again, and the run names them.

Airflow's own logical date and data interval of the run count for none of them.
"""
_FROM: Final = (
    "The first time of the interval, for the modes `interval` and `reprocess`. The form takes the time zone that you "
    "chose in Airflow; a program sends an offset along, such as `2026-11-21T10:00:00Z`."
)
_TO: Final = "The end of the interval, itself not included; not in the future. For `interval` and `reprocess`."
_MAX_RECORDS: Final = (
    "The most messages in a batch, instead of what the pipeline says: fewer for less memory. A run has as many "
    "batches as it needs."
)


def run_params() -> dict[str, Param]:
    """The params of a pipeline's DAG; `description_md`, for the form shows it only where there is no description."""
    time: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
    return {
        "mode": Param(MODES[0], type="string", enum=list(MODES), title="Mode", description_md=_MODE),
        "from": Param(None, **time, title="From", description_md=_FROM),
        "to": Param(None, **time, title="To", description_md=_TO),
        "max_records": Param(
            None, type=["integer", "null"], minimum=1, title="Messages in a batch", description_md=_MAX_RECORDS
        ),
    }


_DEFAULTS: Final[dict[str, Any]] = {name: param.value for name, param in run_params().items()}


def run_of(dag_run: DagRunProtocol, params: Mapping[str, Any], now: datetime) -> Run:
    """What a DAG run is to do.

    Args:
        dag_run: of Airflow.
        params: its params, defaults included; Airflow has checked their types, and lets unknown ones pass.
        now: the time, aware; no interval ends later.

    Raises:
        RunParamsError: it cannot be meant; the text names the param, its value and the remedy.
    """
    _refuse_unknown(params)
    if dag_run.run_type == "scheduled":
        _refuse_changed("a scheduled run catches up", params)
        return msgspec.structs.replace(_asked(dag_run, params, now), interval=_data_interval(dag_run))
    if dag_run.run_type == "backfill":
        _refuse_changed("a backfill reads the interval of each of its runs", params)
        return _asked(dag_run, {**params, **_as_params(_data_interval(dag_run))}, now)
    return _asked(dag_run, params, now)


def _asked(dag_run: DagRunProtocol, params: Mapping[str, Any], now: datetime) -> Run:
    max_records = params["max_records"]
    return run_in_mode(
        dag_run.dag_id,
        dag_run.run_id,
        dag_run.clear_number or 0,
        mode=params["mode"],
        start=params["from"],
        end=params["to"],
        # 2.0 is an integer of JSON Schema, and so of Airflow.
        max_records=None if max_records is None else int(max_records),
        now=now,
    )


def _refuse_unknown(params: Mapping[str, Any]) -> None:
    """A misspelt param would be ignored in silence."""
    for name in sorted(params.keys() - _DEFAULTS.keys()):
        raise RunParamsError(param=name, value=params[name], remedy=f"there are only {', '.join(_DEFAULTS)}")


def _refuse_changed(why: str, params: Mapping[str, Any]) -> None:
    for name in ("mode", "from", "to"):
        if params[name] != _DEFAULTS[name]:
            remedy = f"{why}: leave {name} out, or trigger a run of its own"
            raise RunParamsError(param=name, value=params[name], remedy=remedy)


def _data_interval(dag_run: DagRunProtocol) -> tuple[datetime, datetime] | None:
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    return (start.astimezone(UTC), end.astimezone(UTC)) if start and end else None


def _as_params(interval: tuple[datetime, datetime] | None) -> dict[str, str]:
    if interval is None or interval[0] == interval[1]:
        # So it is with a plain cron string: the backfill would read nothing, and succeed.
        remedy = "a backfill reads it: give the DAG a schedule with intervals, such as CronDataIntervalTimetable"
        raise RunParamsError(param="data interval", value=interval and interval[0].isoformat(), remedy=remedy)
    start, end = interval
    return {"mode": "interval", "from": start.isoformat(), "to": end.isoformat()}
