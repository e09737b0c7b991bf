"""What `make` looks at before it installs anything."""

import ast
from pathlib import Path

import pytest

from local import preflight


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("machine", ["x86_64", "arm64", "aarch64"])
def test_linux_and_macos_on_both_architectures_are_fine(system: str, machine: str) -> None:
    assert preflight._platform_problem(system, machine, "glibc") is None


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [("win32", "AMD64", ""), ("linux", "riscv64", "glibc"), ("linux", "x86_64", "")],
)
def test_other_platforms_are_named_with_a_way_out(system: str, machine: str, libc: str) -> None:
    problem = preflight._platform_problem(system, machine, libc)

    assert problem is not None
    assert "docker-compose.yaml" in problem


def test_too_little_space_is_told_with_what_is_needed() -> None:
    assert preflight._disk_problem(5 * 10**9) is None
    assert "1.2 GB are free" in str(preflight._disk_problem(1_200_000_000))


def test_the_running_python_is_fit() -> None:
    assert preflight.python() is not None


def test_it_is_read_by_python_3_8() -> None:
    ast.parse(Path(preflight.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
