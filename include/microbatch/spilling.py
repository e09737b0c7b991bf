"""Folders for what outgrows memory. A process that is killed leaves its own; the next one takes it away."""

import fcntl
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import IO, Final

PREFIX: Final = "microbatch-spill-"
# Locked while its process lives; the kernel lets go when it dies, also in another container.
_LOCK: Final = "lock"


class SpillFolder:
    """A folder of this process's own, in the system's temporary folder."""

    def __init__(self) -> None:
        _remove_abandoned(Path(gettempdir()))
        self._folder = TemporaryDirectory(prefix=PREFIX)
        self._lock = _lock(self.path)

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._folder.name)

    def close(self) -> None:
        """Delete it with all that is in it."""
        self._folder.cleanup()
        self._lock.close()


def _lock(folder: Path) -> IO[bytes]:
    """Locked before it has its name: whoever finds it unlocked knows that its process is gone."""
    made = folder / f"{_LOCK}.new"
    lock = made.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    made.rename(folder / _LOCK)
    return lock


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*/{_LOCK}"):
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its process lives, or somebody else removes it, or it is another user's
        shutil.rmtree(path.parent, ignore_errors=True)
