"""Where the command line finds Kafka, Postgres and Airflow."""

import importlib
import os
from typing import Any, Final

from microbatch.settings import KAFKA_BOOTSTRAP_SERVERS, POSTGRES_OWNER_DSN

ADDRESSES: Final = (KAFKA_BOOTSTRAP_SERVERS, "POSTGRES_DSN", POSTGRES_OWNER_DSN, "AIRFLOW_URL")


def find_stack() -> dict[str, str]:
    """Where Kafka and Postgres are: what the environment says, else where the embedded stack runs.

    Returns the variables of `microbatch env`, as far as they are known, and sets them for this process, so
    that `microbatch.settings.connections()` finds them too.
    """
    if not all(os.environ.get(name) for name in ADDRESSES[:3]) and (stack := embedded_stack()):
        for name, value in stack.addresses_if_running().items():
            os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in ADDRESSES if os.environ.get(name)}


def embedded_stack() -> Any:
    """The commands of the embedded stack; None where it is not installed, as from the wheel."""
    try:
        return importlib.import_module("microbatch.cli_stack")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "local":
            raise
        return None
