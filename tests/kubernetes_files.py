"""The manifests of deploy/kubernetes, and the Secrets that its script draws, as values."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = REPOSITORY / "deploy" / "kubernetes"
KUSTOMIZATION: Final = "kustomization.yaml"
VALUES: Final = "airflow-values.yaml"

Manifest = dict[str, Any]


@cache
def manifests() -> list[Manifest]:
    """All objects that `kubectl apply -k` makes."""
    names = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text(encoding="utf-8"))["resources"]
    return [found for name in names for found in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))]


def of_kind(kind: str) -> dict[str, Manifest]:
    """Those of one kind, by name."""
    return {manifest["metadata"]["name"]: manifest for manifest in manifests() if manifest["kind"] == kind}


@cache
def airflow_values() -> dict[str, Any]:
    """The values of Airflow's chart."""
    values: dict[str, Any] = yaml.safe_load((FOLDER / VALUES).read_text(encoding="utf-8"))
    return values


def draw_secrets() -> list[Manifest]:
    """The Secrets of one run of the script."""
    done = subprocess.run(["/bin/sh", str(FOLDER / "make-secrets.sh")], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document, the outer ones first."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from parts(part)
    if isinstance(value, list):
        for part in value:
            yield from parts(part)
