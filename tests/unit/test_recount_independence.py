"""The check shares no code with what it checks."""

import ast
import subprocess
import sys
from pathlib import Path

import recount

FOLDER = Path(recount.__file__).parent
# `google` is Protobuf: what Kafka's client gives for a value in it.
ALLOWED = {"confluent_kafka", "duckdb", "google", "psycopg", "pyarrow", "recount"} | sys.stdlib_module_names


def test_it_imports_clients_duckdb_arrow_and_the_standard_library_only() -> None:
    imported = set()
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name} has a relative import"
                imported.add((node.module or "").split(".")[0])

    assert "psycopg" in imported
    assert imported <= ALLOWED


def test_nothing_of_the_engine_is_loaded_with_it() -> None:
    code = "import sys, recount.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"microbatch", "msgspec"} & {name.split(".")[0] for name in loaded}
