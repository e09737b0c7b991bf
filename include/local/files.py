"""Small files that are read by several processes: written whole, readable by their owner only."""

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from local.errors import StateDamagedError

T = TypeVar("T")


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 so that a reader sees the old content or the new, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, mode 0600."""
    write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, kind: type[T]) -> T | None:
    """Read a value of the given type; None if there is no such file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise StateDamagedError(file=path, reason=error) from error
