"""What a person may ask of a run: a mode, an interval, a bound. One set of rules for every way to ask.

Airflow's form and the command line give the same four values under the same names (`mode`, `from`, `to`,
`max_records`), and get the same `Run` or the same refusal.
"""

from datetime import UTC, datetime

from microbatch.errors import RunParamsError
from microbatch.runs import MODES, Run

_EXAMPLE = "2026-11-21T10:00:00Z"


def run_in_mode(  # noqa: PLR0913 - who asks is three values, what is asked is four
    dag_id: str,
    run_id: str,
    clear_number: int,
    *,
    mode: str,
    start: str | None,
    end: str | None,
    max_records: int | None,
    now: datetime,
) -> Run:
    """The run that somebody asks for, checked.

    Args:
        dag_id: the DAG, or the command, that runs the pipeline.
        run_id: names the run within it.
        clear_number: how often the run was cleared.
        mode: one of `runs.MODES`.
        start: `from`, ISO 8601 with an offset; for the modes that work on an interval, and only for them.
        end: `to`, likewise; not included, and not later than `now`.
        max_records: bounds a batch; None: as the pipeline says.
        now: the time, aware.

    Raises:
        RunParamsError: a value that cannot be meant; its facts name the parameter.
    """
    if max_records is not None and max_records < 1:
        raise RunParamsError(param="max_records", value=max_records, remedy="give 1 or more, or leave it out")
    if mode == "catch up":
        _refuse_interval(start, end)
        return Run(dag_id, run_id, clear_number, "catch up", None, max_records)
    for known in MODES:
        if known == mode:
            return Run(dag_id, run_id, clear_number, known, _interval(known, start, end, now), max_records)
    raise RunParamsError(param="mode", value=mode, remedy=f"choose one of {', '.join(MODES)}")


def _refuse_interval(start: str | None, end: str | None) -> None:
    """Whoever gives an interval means it: it is not ignored."""
    for param, value in (("from", start), ("to", end)):
        if value is not None:
            remedy = (
                "mode catch up reads all that is uncovered and has no interval: leave it out, or choose another mode"
            )
            raise RunParamsError(param=param, value=value, remedy=remedy)


def _interval(mode: str, start: str | None, end: str | None, now: datetime) -> tuple[datetime, datetime]:
    first, last = _time("from", start, mode), _time("to", end, mode)
    refuse_backwards((first, last), start, end)
    if last > now:
        remedy = (
            f"what has not happened yet cannot be read: give {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} at the latest"
        )
        raise RunParamsError(param="to", value=end, remedy=remedy)
    return first, last


def _time(param: str, value: str | None, mode: str) -> datetime:
    """A bound of an interval."""
    if value is None:
        remedy = f"mode {mode} works on an interval: give a time such as {_EXAMPLE}"
        raise RunParamsError(param=param, value=value, remedy=remedy)
    return moment_of(param, value)


def refuse_backwards(interval: tuple[datetime, datetime], start: str | None, end: str | None) -> None:
    """Raise for an interval that does not begin before it ends.

    Args:
        interval: its bounds.
        start: `from`, as it was given.
        end: `to`, likewise.

    Raises:
        RunParamsError: names both.
    """
    if interval[0] >= interval[1]:
        raise RunParamsError(param="from", value=start, remedy=f"give a time before `to`, which is {end}")


def bounds_of(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """`from` and `to`, of which either may be left out, as instants in UTC; see `moment_of`."""
    return (
        None if start is None else moment_of("from", start),
        None if end is None else moment_of("to", end),
    )


def moment_of(param: str, value: str) -> datetime:
    """An instant, in UTC, from what a person gave for a parameter.

    Raises:
        RunParamsError: it is no time, or has no offset.
    """
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            remedy = f"without an offset it is any of many times: give one such as {_EXAMPLE}"
            raise RunParamsError(param=param, value=value, remedy=remedy)
        return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        remedy = f"that is no time of ISO 8601: give one such as {_EXAMPLE}"
        raise RunParamsError(param=param, value=value, remedy=remedy) from error
