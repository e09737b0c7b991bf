"""What `make` does first: see that this machine has what is needed, and install it into `.venv`.

Runs with whatever `python3` is there, so it uses the standard library alone and syntax that Python 3.8 reads.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "microbatch-installed"
VERSIONS = ((3, 11), (3, 12), (3, 13))
NEEDED_GB = 4
LOCKS = ("requirements-dev.txt", "pyproject.toml", "include/local/uv.txt")
PORTS = {
    "MICROBATCH_KAFKA_PORT": 9092,
    "MICROBATCH_POSTGRES_PORT": 5432,
    "MICROBATCH_AIRFLOW_PORT": 8080,
    "MICROBATCH_WEATHER_PORT": 8090,
}


def main() -> int:
    """Check, install what is missing, return the exit status."""
    wrong = problems()
    if wrong:
        print("microbatch cannot run here yet:")
        for line in wrong:
            print("  - " + line)
        return 1
    for line in notes():
        print(line)
    try:
        install()
    except subprocess.CalledProcessError as error:
        print(f"installing failed: `{' '.join(error.cmd)}` ended with status {error.returncode}")
        return 1
    return 0


def problems() -> list[str]:
    """What is missing, each with what to do about it; empty if all is there."""
    found = [
        None if python() else "Python 3.11, 3.12 or 3.13 with venv and pip: install one (Debian: python3-venv too)",
        _platform_problem(sys.platform, platform.machine(), platform.libc_ver()[0]),
        _disk_problem(shutil.disk_usage(REPOSITORY).free),
    ]
    return [line for line in found if line]


def notes() -> list[str]:
    """Ports that somebody else has; nothing to worry about, the next free one is used."""
    home = Path(os.environ.get("MICROBATCH_HOME") or REPOSITORY / ".microbatch")
    if list(home.glob("run/*.json")):
        return []  # it may well be our own stack that has them
    wanted = {name: os.environ.get(name, str(port)) for name, port in PORTS.items()}
    return [
        f"port {port} is taken by another program; the next free one will be used ({name} chooses another)"
        for name, port in wanted.items()
        if port.isdigit() and _is_taken(int(port))
    ]


def python() -> str | None:
    """A Python that microbatch runs on: this one, or the newest that is on the PATH."""
    candidates = [sys.executable, *(shutil.which(f"python{major}.{minor}") for major, minor in reversed(VERSIONS))]
    return next((candidate for candidate in candidates if candidate and _is_fit(candidate)), None)


def install() -> None:
    """Bring `.venv` to what the lockfiles say; does nothing if they have not changed since."""
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text(encoding="ascii") == wanted:
        return
    print("installing into .venv (the first time this takes a minute or two)", flush=True)
    if not PYTHON.exists():
        _run(str(python()), "-m", "venv", str(VENV))
    if not (VENV / "bin" / "pip").exists():
        _run(str(PYTHON), "-m", "ensurepip")
    _run(str(PYTHON), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(REPOSITORY / LOCKS[2]))
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "-q", "--python", str(PYTHON)]
    _run(*uv, "--require-hashes", "-r", str(REPOSITORY / LOCKS[0]))
    _run(*uv, "--no-deps", "-e", str(REPOSITORY))
    STAMP.write_text(wanted, encoding="ascii")


def _platform_problem(system: str, machine: str, libc: str) -> str | None:
    if system not in ("linux", "darwin") or machine.lower() not in ("x86_64", "amd64", "arm64", "aarch64"):
        return f"{system} on {machine}: the embedded stack has no build for it; use docker-compose.yaml"
    if system == "linux" and libc != "glibc":
        return "this Linux has no glibc (Alpine?), which the packages need; use docker-compose.yaml"
    return None


def _disk_problem(free: int) -> str | None:
    if free >= NEEDED_GB * 10**9:
        return None
    return f"{free / 10**9:.1f} GB are free in {REPOSITORY}; {NEEDED_GB} GB are needed"


def _is_taken(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _is_fit(candidate: str) -> bool:
    code = "import sys, venv, ensurepip; print(sys.version_info[:2])"
    done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() in [str(version) for version in VERSIONS]


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for lock in LOCKS:
        digest.update((REPOSITORY / lock).read_bytes())
    return digest.hexdigest()


def _run(*command: str) -> None:
    subprocess.run(command, cwd=str(REPOSITORY), check=True)


if __name__ == "__main__":
    sys.exit(main())
