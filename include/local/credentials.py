"""The stack's generated secrets: drawn once, kept in one file that only its owner can read."""

import base64
import secrets
from pathlib import Path

import msgspec

from local.files import read_json, write_json


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

    def __repr__(self) -> str:
        return "Credentials(...)"


def load_credentials(home: Path) -> Credentials:
    """The stack's secrets, drawn and stored (`credentials.json`, mode 0600) the first time."""
    path = home / "credentials.json"
    stored = read_json(path, Credentials)
    if stored is not None:
        return stored
    drawn = Credentials()
    write_json(path, drawn)
    return drawn
