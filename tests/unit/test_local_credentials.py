"""The generated secrets."""

from pathlib import Path

import msgspec
import pytest

from local.credentials import Credentials, load_credentials
from local.errors import StateDamagedError
from local.files import write_json


def test_secrets_are_drawn_once_and_kept_for_the_owner_only(tmp_path: Path) -> None:
    drawn = load_credentials(tmp_path)

    assert load_credentials(tmp_path) == drawn
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_secrets_of_an_earlier_version_are_kept_and_those_that_it_lacks_are_drawn(tmp_path: Path) -> None:
    drawn = msgspec.structs.asdict(load_credentials(tmp_path))
    earlier = {name: secret for name, secret in drawn.items() if name != "weather_api_key"}
    write_json(tmp_path / "credentials.json", earlier)

    now = msgspec.structs.asdict(load_credentials(tmp_path))

    assert now.items() > earlier.items()
    assert now["weather_api_key"] not in ("", drawn["weather_api_key"])
    assert msgspec.structs.asdict(load_credentials(tmp_path)) == now, "drawn once"


def test_every_secret_is_another_one_and_fits_into_a_url() -> None:
    secrets = [*msgspec.structs.astuple(Credentials()), *msgspec.structs.astuple(Credentials())]

    assert len(set(secrets)) == len(secrets)
    assert all(secret.replace("-", "").replace("_", "").replace("=", "").isalnum() for secret in secrets)


def test_no_secret_is_shown_by_accident() -> None:
    credentials = Credentials()

    assert not any(secret in f"{credentials} {credentials!r}" for secret in msgspec.structs.astuple(credentials))


def test_a_damaged_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("{", encoding="ascii")

    with pytest.raises(StateDamagedError, match=r"credentials\.json cannot be read .*`make reset`"):
        load_credentials(tmp_path)
