"""Kafka's jars, fetched once by their coordinates and held against locked checksums.

`kafka.lock.toml` was made by jgo 3.2.0 from these coordinates (kafka-tools brings the command-line tools):
`org.apache.kafka:kafka_2.13:4.3.1+org.apache.kafka:kafka-tools:4.3.1+org.slf4j:slf4j-simple:1.7.36`.
log4j's binding must not be in that list: it makes jgo choose kafka-clients 3.9.1, with which the broker dies.
"""

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jgo.env import LockFile
from jgo.maven import MavenContext

from local.errors import JarError

LOCKFILE = Path(__file__).with_name("kafka.lock.toml")
ATTEMPTS = 3


def class_path(lockfile: Path = LOCKFILE) -> str:
    """All jars that a lockfile names, by default Kafka's, as Java takes them."""
    return os.pathsep.join(str(jar) for jar in locked_jars(lockfile))


def locked_jars(lockfile: Path) -> list[Path]:
    """The paths of all jars that a lockfile names, in Maven's local repository; missing ones are downloaded."""
    repository = MavenContext().repo_cache
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda jar: _locked(repository, jar), LockFile.load(lockfile).dependencies))


def kafka_version() -> str:
    """The version of the locked broker."""
    jars = LockFile.load(LOCKFILE).dependencies
    return next(str(jar.version) for jar in jars if jar.artifactId == "kafka_2.13")


def _locked(repository: Path, jar: Any) -> Path:
    path = Path(_artifact(MavenContext(repo_cache=repository), jar).cached_path)
    if not path.exists() or _sha256(path) != jar.sha256:
        _download(path, jar)
    return path


def _download(path: Path, jar: Any) -> None:
    """Fetch a jar beside its place and move it there only if it is the locked one.

    jgo writes in place, so a broken connection, or a second process, would leave a part of a jar.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        fetched = _fetch(Path(folder), jar)
        found = _sha256(fetched)
        if found != jar.sha256:
            what = f"fetched a file with sha256 {found}, locked is {jar.sha256}"
            raise JarError(coordinates=_name(jar), what=what, remedy="try again, and distrust the mirror if it stays")
        fetched.replace(path)


def _fetch(folder: Path, jar: Any) -> Path:
    for attempt in range(1, ATTEMPTS + 1):
        context = MavenContext(repo_cache=folder / str(attempt), timeout=60)
        try:
            return Path(_artifact(context, jar).resolve())
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors, jgo's own RuntimeErrors
            reason = error
    raise JarError(
        coordinates=_name(jar),
        what=f"cannot be fetched ({reason})",
        remedy="check the connection to Maven Central and try again",
    ) from reason


def _artifact(context: MavenContext, jar: Any) -> Any:
    component = context.project(jar.groupId, jar.artifactId).at_version(jar.version)
    return component.artifact(jar.classifier or "", jar.packaging)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(jar: Any) -> str:
    return f"{jar.groupId}:{jar.artifactId}:{jar.version}"
