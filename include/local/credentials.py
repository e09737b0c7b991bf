"""The stack's generated secrets: drawn once, kept in one file that only its owner can read."""

import base64
import secrets
from pathlib import Path

import msgspec

from local.files import read_json, write_json

MOCK = "mock-"
"""How the key of the weather mock begins, which so is told from one of the real service."""


def _password() -> str:
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


class Credentials(msgspec.Struct, frozen=True):
    """Every secret of one stack; `repr` shows none of them."""

    superuser: str = msgspec.field(default_factory=_password)
    airflow_role: str = msgspec.field(default_factory=_password)
    microbatch_role: str = msgspec.field(default_factory=_password)
    reader_role: str = msgspec.field(default_factory=_password)
    airflow_admin: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(12))
    fernet_key: str = msgspec.field(default_factory=_fernet_key)
    jwt_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(48))
    weather_api_key: str = msgspec.field(default_factory=lambda: MOCK + _password())

    def __repr__(self) -> str:
        return "Credentials(...)"


def load_credentials(home: Path) -> Credentials:
    """The stack's secrets, drawn and stored (`credentials.json`, mode 0600) when they are first needed.

    A file of an earlier version lacks some of them: those are drawn and added.
    """
    path = home / "credentials.json"
    stored = read_json(path, dict[str, str]) or {}
    credentials = msgspec.convert(stored, Credentials)
    whole = stored | msgspec.structs.asdict(credentials)
    if whole != stored:
        write_json(path, whole)
    return credentials
