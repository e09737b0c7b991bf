"""Airflow imports this module when it starts, because its folder is on the stack's PYTHONPATH.

Tasks are forked from the scheduler's workers: what the scheduler has imported, they have. Without it every
task would spend about a second on these imports.
"""

import contextlib
import importlib
import sys

HEAVY = (
    *("confluent_kafka", "duckdb", "msgspec", "pandas", "psycopg", "pyarrow", "microbatch.airflow"),
    *("httpx", "tenacity"),  # the weather's poller
)

__all__: list[str] = []  # nothing here overrides a setting of Airflow

if "scheduler" in sys.argv[1:2]:
    for name in HEAVY:
        with contextlib.suppress(ImportError):  # a task that needs it will say so
            importlib.import_module(name)
