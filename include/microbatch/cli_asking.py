"""Asking before a decision is carried out: what was shown above is what the person agrees to."""

import sys

import typer

from microbatch.deciding import Why
from microbatch.errors import NotDecidedError


def agreed(question: str, reason: str | None, *, yes: bool) -> Why:
    """Ask whether to go on and why, unless both were given on the command line.

    Args:
        question: such as "Accept the loss of these 100 offsets?"
        reason: what `--reason` says.
        yes: `--yes` was given.

    Raises:
        NotDecidedError: the answer was no, or nobody is there to answer. Nothing was changed.
    """
    if not (yes and reason) and not sys.stdin.isatty():
        missing = [*([] if yes else ["--yes"]), *([] if reason else ["--reason"])]
        raise NotDecidedError(missing=" and ".join(missing))
    if not yes and not typer.confirm(question):
        raise NotDecidedError(missing="a yes")
    return Why.of(reason or typer.prompt("Why? (kept on record)"))
