"""Which port a component gets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from free_ports import random_free
from local.errors import PortError
from local.ports import HOST, POSTGRES, Wanted, choose_port, is_free, wanted_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind((HOST, random_free()))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture
def postgres(taken: int, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """A component whose port is wanted by variable, and taken."""
    monkeypatch.setenv(POSTGRES.variable, str(taken))
    return POSTGRES


def test_a_port_that_somebody_listens_on_is_not_free(taken: int) -> None:
    assert not is_free(taken)


def test_the_default_is_wanted_unless_the_variable_says_otherwise() -> None:
    assert wanted_port(POSTGRES, {}) == 5432
    assert wanted_port(POSTGRES, {"MICROBATCH_POSTGRES_PORT": "15432"}) == 15432


@pytest.mark.parametrize("text", ["http", "80", "70000", "-5432", "5432.0"])
def test_a_variable_that_is_no_port_is_named_with_its_value(text: str) -> None:
    with pytest.raises(PortError, match=r"MICROBATCH_POSTGRES_PORT='.*' is no port"):
        wanted_port(POSTGRES, {"MICROBATCH_POSTGRES_PORT": text})


def test_where_the_wanted_port_is_taken_the_next_free_one_is_kept_from_then_on(
    tmp_path: Path, postgres: Wanted, taken: int
) -> None:
    first = choose_port(tmp_path, postgres)

    assert first.wanted == taken
    assert first.port > taken
    assert choose_port(tmp_path, postgres) == first


def test_the_kept_port_stays_although_the_wanted_one_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind((HOST, random_free()))
        other.listen()
        monkeypatch.setenv(POSTGRES.variable, str(other.getsockname()[1]))
        kept = choose_port(tmp_path, POSTGRES)

    assert choose_port(tmp_path, POSTGRES) == kept


def test_a_running_component_keeps_its_port_whatever_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES.variable, str(random_free()))
    kept = choose_port(tmp_path, POSTGRES)
    monkeypatch.setenv(POSTGRES.variable, "5433")

    assert choose_port(tmp_path, POSTGRES, running=True) == kept


def test_no_two_components_get_the_same_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(random_free())
    other = Wanted("other", "MICROBATCH_OTHER_PORT", int(port))
    monkeypatch.setenv(POSTGRES.variable, port)

    assert choose_port(tmp_path, POSTGRES).port != choose_port(tmp_path, other).port
