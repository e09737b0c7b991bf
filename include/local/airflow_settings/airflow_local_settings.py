"""Airflow imports this module when it starts, because its folder is on the stack's PYTHONPATH.

Tasks are forked from the scheduler's workers or from those of Celery, and so is what reads a DAG file from the
dag-processor: what those have imported, they have. Without it every task would spend about a second on these imports.
"""

import contextlib
import importlib
import sys

HEAVY = (
    *("confluent_kafka", "confluent_kafka.admin", "duckdb", "msgspec", "pandas", "psycopg", "pyarrow"),
    # What making a DAG imports.
    *("airflow.timetables.base", "airflow.serialization.definitions.assets"),
    *("microbatch.airflow", "microbatch.consume", "microbatch.publish"),
    *("producers.airflow", "producers.polling", "producers.registry", "producers.sending"),
    # What the libraries import only when they are used.
    *("airflow.sdk.execution_time.cache", "anyio._backends._asyncio", "jinja2.ext", "pyarrow.vendored.version"),
)

__all__: list[str] = []  # nothing here overrides a setting of Airflow

if sys.argv[1:2] in (["scheduler"], ["dag-processor"]) or sys.argv[1:3] == ["celery", "worker"]:
    for name in HEAVY:
        with contextlib.suppress(ImportError):  # a task that needs it will say so
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        importlib.import_module("microbatch.expressions").duckdb_functions()
